"""What a report shows. All texts are plain text: they are escaped where they enter the page."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from partdistillation.pictures.curves import Chart

Pixels = UInt8[np.ndarray, "height width 3"]


class Headline(NamedTuple):
    """A large number at the top: `value` as it is to be read, for example "41.2"."""

    label: str
    value: str
    note: str = ""


class StageSummary(NamedTuple):
    """A stage that ran: what it made and how long it took."""

    name: str
    made: str
    seconds: float


class TableRow(NamedTuple):
    """A row of a table; None or NaN = not measured. Controls and baselines are set apart from our results."""

    label: str
    values: tuple[float | str | None, ...]
    kind: Literal["result", "control", "baseline"] = "result"


class Table(NamedTuple):
    """A table; `columns` are the headers of the values (the labels' header is `label`)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    label: str = ""
    note: str = ""
    better: Literal["high", "none"] = "none"
    """Whether to mark the best number of a column and draw bars."""


class Panel(NamedTuple):
    """A picture and what it is."""

    caption: str
    pixels: Pixels


class PictureRow(NamedTuple):
    """Panels of one image, the image itself first."""

    title: str
    panels: tuple[Panel, ...]


class PartGallery(NamedTuple):
    """A discovered part class: example tiles (9 make a square) in the colour of its id."""

    name: str
    color: tuple[int, int, int]
    tiles: tuple[Pixels, ...]
    note: str = ""
    """For example how many there are, or the true part it was mapped to."""


class ClassGallery(NamedTuple):
    """An object class and its discovered part classes."""

    category: str
    parts: tuple[PartGallery, ...]


class ReportData(NamedTuple):
    """A whole report. Empty parts are left out of the page."""

    title: str
    summary: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    """What ran, on what: (name, value), for example ("torch", "2.13.0")."""
    headlines: tuple[Headline, ...] = ()
    stages: tuple[StageSummary, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    pictures: tuple[PictureRow, ...] = ()
    galleries: tuple[ClassGallery, ...] = ()
    config: str = ""
    """The resolved settings, as YAML."""
