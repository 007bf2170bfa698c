"""Contact sheets: many pictures on one, in rows and columns."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from partdistillation.pictures.sizes import resized


def contact_sheet(
    pictures: Sequence[Image.Image],
    *,
    columns: int,
    gap: int,
    margin: int = 0,
    background: str | None = "white",
) -> Image.Image:
    """Pictures in a grid, from the left in columns of one width; a row is as high as its highest picture.

    Args:
        pictures: at least one.
        columns: places in a row; the last row's may stay empty.
        gap: pixels between pictures.
        margin: pixels around all of them.
        background: between pictures; None = transparent.

    """
    width = max(picture.width for picture in pictures)
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    size = (columns * (width + gap) - gap + 2 * margin, sum(heights) + (len(rows) - 1) * gap + 2 * margin)
    sheet = _canvas(size, background)
    top = margin
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            sheet.paste(picture, (margin + column * (width + gap), top))
        top += height + gap
    return sheet


def fit_square(image: UInt8[np.ndarray, "_ _ 3"], side: int, background: str | None = "white") -> Image.Image:
    """Scale an image so that its longer side has this many pixels, in the middle of a square."""
    scale = side / max(image.shape[:2])
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    square = _canvas((side, side), background)
    square.paste(Image.fromarray(resized(image, height, width)), ((side - width) // 2, (side - height) // 2))
    return square


def _canvas(size: tuple[int, int], background: str | None) -> Image.Image:
    return Image.new("RGBA", size) if background is None else Image.new("RGB", size, background)
