"""One static HTML page about a run, with pictures: fill a `ReportData`, call `build_report`."""

from partdistillation.pictures.curves import read_curves
from partdistillation.report.build import build_report
from partdistillation.report.data import (
    Chart,
    ClassGallery,
    Curve,
    Headline,
    Panel,
    PartGallery,
    PictureRow,
    ReportData,
    Spread,
    StageSummary,
    Table,
    TableRow,
)
from partdistillation.report.panels import part_tile, picture_row

__all__ = [
    "Chart",
    "ClassGallery",
    "Curve",
    "Headline",
    "Panel",
    "PartGallery",
    "PictureRow",
    "ReportData",
    "Spread",
    "StageSummary",
    "Table",
    "TableRow",
    "build_report",
    "part_tile",
    "picture_row",
    "read_curves",
]
