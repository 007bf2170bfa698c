"""Figures in print: panels in rows and columns, captions above, a legend below; PNG at 300 dpi or PDF.

Text in a PDF is text, and panels are kept pixel by pixel, at 300 to an inch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from partdistillation.pictures.colors import PALETTE
from partdistillation.pictures.fonts import families, lettering
from partdistillation.pictures.legends import LegendEntry, LegendRow, fitted_rows, placed_entries
from partdistillation.pictures.overlays import overlay
from partdistillation.pictures.sizes import resize_labels
from partdistillation.pictures.text import CaptionFont, fitted

DPI = 300
WIDTH = 7.0
"""Inches: the text width of a page with two columns."""
_GAP, _TEXT, _LINE = 14, 7.5, 46
"""Pixels between panels, points of a letter, pixels from line to line."""
_TALLEST = 1.4
"""Of a panel, in its widths: taller images are shown smaller, not to fill a page each."""
_LONGEST = 1.6
"""Of a caption, in widths of its column: it is written smaller to fit."""
_FONT = CaptionFont(_TEXT * DPI / 72)
_INK, _FADED = "#14171c", "#30343b"


@dataclass(frozen=True, eq=False)
class Page:
    """A figure: what is above each column, rows of panels, and the legend below."""

    captions: tuple[str, ...]
    rows: tuple[tuple[UInt8[np.ndarray, "_ _ 3"], ...], ...]
    legend: tuple[LegendRow, ...] = ()


class Size(NamedTuple):
    """Of a panel, in pixels."""

    height: int
    width: int


def panel_size(height: int, width: int, columns: int) -> Size:
    """How large an image of this size is on a page of so many columns."""
    wide = _column_width(columns)
    scale = min(wide / width, _TALLEST * wide / height)
    return Size(max(1, round(scale * height)), max(1, round(scale * width)))


def colored(
    panel: UInt8[np.ndarray, "height width 3"],
    label_map: Int[np.ndarray, "_ _"],
    palette: UInt8[np.ndarray, "color 3"] = PALETTE,
) -> UInt8[np.ndarray, "height width 3"]:
    """Labels in colours over an image that is as large as its panel; label i has colour i - 1."""
    return overlay(panel, resize_labels(label_map, *panel.shape[:2]), palette, alpha=0.62, contours=2)


def page_bytes(page: Page, suffix: str) -> bytes:
    """A page as a PNG (".png") or PDF (".pdf") that says neither when nor by what it was made."""
    heights = [max(len(panel) for panel in row) for row in page.rows]
    captions = [
        fitted(caption, _FONT, _LONGEST * _column_width(len(page.captions))) for caption in page.captions
    ]
    legend, lines = _placed(fitted_rows(page.legend, _FONT, WIDTH * DPI))
    names = families(" ".join([*captions, *(entry.text for entry in legend)]))
    with rc_context({"pdf.fonttype": 42, "font.family": names}):
        below = round((lines + 0.4) * _LINE) if lines else 0
        total = Size(_LINE + sum(heights) + _GAP * len(heights) + below, round(WIDTH * DPI))
        figure = Figure(figsize=(total.width / DPI, total.height / DPI), dpi=DPI)
        FigureCanvasAgg(figure)
        _write_captions(figure, total, captions)
        top = _LINE
        for row, height in zip(page.rows, heights, strict=True):
            _add_row(figure, total, row, top, height)
            top += height + _GAP
        for entry in legend:
            _add_entry(figure, total, entry, top)
        metadata = {"Software": None} if suffix == ".png" else {"CreationDate": None}
        buffer = BytesIO()
        figure.savefig(buffer, format=suffix.removeprefix("."), dpi=DPI, metadata=metadata)
    return buffer.getvalue()


def _column_width(columns: int) -> int:
    return (round(WIDTH * DPI) - _GAP * (columns - 1)) // columns


def _add_row(
    figure: Figure, total: Size, row: Sequence[UInt8[np.ndarray, "_ _ 3"]], top: int, height: int
) -> None:
    """Panels beside each other, each in the middle of its place."""
    wide = _column_width(len(row))
    for column, panel in enumerate(row):
        left = column * (wide + _GAP) + (wide - panel.shape[1]) // 2
        upper = top + (height - len(panel)) // 2
        place = (
            left / total.width,
            1 - (upper + len(panel)) / total.height,
            panel.shape[1] / total.width,
            len(panel) / total.height,
        )
        axes = figure.add_axes(place)
        axes.imshow(panel, interpolation="none", aspect="auto")
        axes.set_axis_off()


def _write_captions(figure: Figure, total: Size, captions: Sequence[str]) -> None:
    wide = _column_width(len(captions))
    for column, caption in enumerate(captions):
        middle = column * (wide + _GAP) + wide / 2
        points = _TEXT * min(1.0, wide / max(1.0, _FONT.width(caption)))
        _write(figure, total, middle, _LINE / 2, caption, _INK, "center", points)


def _write(
    figure: Figure, total: Size, x: float, y: float, text: str, color: str, side: str, points: float = _TEXT
) -> None:
    # Names are no formulas, whatever dollar signs they have.
    figure.text(
        x / total.width,
        1 - y / total.height,
        lettering(text).text,
        fontsize=points,
        color=color,
        ha=side,
        va="center_baseline",
        parse_math=False,
    )


# ---------------------------------------------------------------------- legend


def _placed(rows: Sequence[LegendRow]) -> tuple[list[LegendEntry], int]:
    """The legend's entries, all rows' names beginning at the same place; and the number of lines."""
    indent = max((_FONT.width(row.title) for row in rows), default=0.0) + _LINE
    return placed_entries(
        rows,
        width=WIDTH * DPI,
        indents=[indent] * len(rows),
        extent=lambda name: _FONT.width(name) + 1.5 * _LINE,
    )


def _add_entry(figure: Figure, total: Size, entry: LegendEntry, top: int) -> None:
    y = top + (entry.line + 0.7) * _LINE
    if entry.color is None:
        _write(figure, total, entry.left, y, entry.text, _INK, "left")
        return
    color = f"#{bytes(entry.color).hex()}"
    place = (entry.left + 0.25 * _LINE) / total.width, 1 - y / total.height
    figure.add_artist(
        Line2D([place[0]], [place[1]], marker="o", markersize=5.5, color=color, markeredgewidth=0)
    )
    _write(figure, total, entry.left + 0.7 * _LINE, y, entry.text, _FADED, "left")
