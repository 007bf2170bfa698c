"""Legends: names behind dots of their colours, wrapped to a width."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from partdistillation.pictures.text import CaptionFont, caption_font, fitted

Color = UInt8[np.ndarray, " 3"]


class LegendRow(NamedTuple):
    """A line of a legend: a title, then names with their colours."""

    title: str
    entries: tuple[tuple[str, Color], ...]


class LegendEntry(NamedTuple):
    """A text of a legend, `left` from its edge on a line counted from 0; a title has no colour."""

    left: float
    line: int
    text: str
    color: Color | None


def placed_entries(
    rows: Sequence[LegendRow], *, width: float, indents: Sequence[float], extent: Callable[[str], float]
) -> tuple[list[LegendEntry], int]:
    """Place titles at the left and names behind them; return them with the number of lines that they take.

    Args:
        rows: of the legend; those that are longer than a line go on below.
        width: of a line.
        indents: where each row's names begin.
        extent: the width that a name takes, with its dot and the gap behind it.
    """
    entries, line = [], 0
    for row, indent in zip(rows, indents, strict=True):
        entries.append(LegendEntry(0.0, line, row.title, None))
        left = indent
        for name, color in row.entries:
            if left + extent(name) > width and left > indent:
                left, line = indent, line + 1
            entries.append(LegendEntry(left, line, name, color))
            left += extent(name)
        line += 1
    return entries, line


def fitted_rows(rows: Sequence[LegendRow], font: CaptionFont, width: float) -> list[LegendRow]:
    """Rows as they can be written: titles take a third of the width at most, names what is left of it."""
    room = width * 2 / 3 - 3.2 * font.size
    return [
        LegendRow(
            fitted(row.title, font, width / 3),
            tuple((fitted(name, font, room), color) for name, color in row.entries),
        )
        for row in rows
    ]


def with_legend(image: Image.Image, rows: Sequence[LegendRow]) -> Image.Image:
    """Put a legend under an image, on white."""
    font = caption_font(max(13, image.width // 40))
    step, pad = round(1.9 * font.size), round(0.9 * font.size)
    rows = fitted_rows(rows, font, image.width - 2 * pad)
    entries, lines = placed_entries(
        rows,
        width=image.width - 2 * pad,
        indents=[font.width(row.title) + font.size for row in rows],
        extent=lambda name: font.width(name) + 2.2 * font.size,
    )
    below = lines * step + 2 * pad - step // 2 if rows else 0
    picture = Image.new("RGB", (image.width, image.height + below), "white")
    picture.paste(image)
    draw = ImageDraw.Draw(picture)
    for left, line, text, color in entries:
        x, middle = left + pad, image.height + pad + line * step + font.size / 2
        if color is not None:
            radius = 0.42 * font.size
            draw.circle((x + radius, middle), radius, fill=tuple(color.tolist()))
            x += round(1.2 * font.size)
        ink = "#000000" if color is None else "#30343b"
        font.write(draw, (x, middle), text, ink)
    return picture
