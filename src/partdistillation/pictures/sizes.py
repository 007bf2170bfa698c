"""Images and label maps at other sizes, what of an image to show, and contact sheets of many."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, UInt8
from PIL import Image, ImageFilter

_THINNEST = 4
"""The longer side of an enlarged image has at most so many times the pixels that the shorter one should."""
_LONGEST = 16_384
"""Pixels of a picture's side; text beside it grows with it, and a legend is as wide."""


def resized(
    image: UInt8[np.ndarray, "_ _ 3"], height: int, width: int
) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """An image at another size (Lanczos)."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def enlarge(
    image: UInt8[np.ndarray, "height width 3"], shorter_side: int
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Upscale a small image (Lanczos) so that its shorter side has at least this many pixels.

    Thin images stay thinner than that, as their longer side would have no bound. Larger images are returned
    as they are; only one that is longer than any picture should be is made smaller.
    """
    height, width = _enlarged_size(image.shape[0], image.shape[1], shorter_side)
    if (height, width) == image.shape[:2]:
        return image
    return resized(image, height, width)


def enlarge_labels(
    label_map: Int[np.ndarray, "height width"], shorter_side: int
) -> Int[np.ndarray, "new_height new_width"]:
    """Upscale a label map as `enlarge` its image."""
    height, width = _enlarged_size(label_map.shape[0], label_map.shape[1], shorter_side)
    return resize_labels(label_map, height, width)


def resize_labels(
    label_map: Int[np.ndarray, "_ _"], height: int, width: int
) -> Int[np.ndarray, "{height} {width}"]:
    """A label map at another size; borders are smooth, as the strongest label wins."""
    if (height, width) == label_map.shape:
        return label_map
    # It rounds the corners of enlarged pixels.
    rounding = ImageFilter.GaussianBlur(0.5 * height / label_map.shape[0])
    best = np.full((height, width), -1, dtype=np.int16)
    resized = np.zeros((height, width), dtype=label_map.dtype)
    for label in np.unique(label_map):
        plane = Image.fromarray(label_map == label).convert("L")
        strength = np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR).filter(rounding))
        stronger = strength > best
        resized[stronger], best[stronger] = label, strength[stronger]
    return resized


def resize_mask(
    mask: Bool[np.ndarray, "_ _"], height: int, width: int
) -> Bool[np.ndarray, "{height} {width}"]:
    """A mask at another size; borders are smooth."""
    return resize_labels(mask.astype(np.int64), height, width) > 0


def _enlarged_size(height: int, width: int, shorter_side: int) -> tuple[int, int]:
    """Height and width after `enlarge`."""
    wanted = min(shorter_side / min(height, width), _THINNEST * shorter_side / max(height, width))
    scale = min(max(1.0, wanted), _LONGEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def shrink(
    image: UInt8[np.ndarray, "height width 3"], longer_side: int
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Downscale an image so that its longer side has at most this many pixels."""
    return image if longer_side >= max(image.shape[:2]) else fit(image, longer_side)


def fit(
    image: UInt8[np.ndarray, "height width 3"], longer_side: int
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Scale an image up or down so that its longer side has this many pixels."""
    scale = longer_side / max(image.shape[:2])
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    return resized(image, height, width)


def framed(mask: Bool[np.ndarray, "height width"], margin: float = 0.1) -> tuple[slice, slice]:
    """Rows and columns of the box around a mask, with a margin: as high or wide as the mask is, not square.

    A box more than twice as long as it is wide is widened, as far as the image goes.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    height, width = 1 + int(np.ptp(rows)), 1 + int(np.ptp(columns))
    border = 2 * round(margin * max(height, width))
    height, width = height + border, width + border
    return (
        _window(rows, max(height, width // 2), mask.shape[0]),
        _window(columns, max(width, height // 2), mask.shape[1]),
    )


def _window(positions: Int[np.ndarray, " n"], side: int, length: int) -> slice:
    side = min(side, length)
    start = (int(positions[0]) + int(positions[-1]) + 1 - side) // 2
    start = min(max(start, 0), length - side)
    return slice(start, start + side)


def contact_sheet(
    pictures: Sequence[Image.Image], *, columns: int, gap: int, margin: int = 0, background: str = "white"
) -> Image.Image:
    """Pictures in a grid, from the left in columns of one width; a row is as high as its highest picture.

    Args:
        pictures: at least one.
        columns: places in a row; the last row's may stay empty.
        gap: pixels between pictures.
        margin: pixels around all of them.
        background: between pictures.
    """
    width = max(picture.width for picture in pictures)
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    size = (columns * (width + gap) - gap + 2 * margin, sum(heights) + (len(rows) - 1) * gap + 2 * margin)
    sheet = Image.new("RGB", size, background)
    top = margin
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            sheet.paste(picture, (margin + column * (width + gap), top))
        top += height + gap
    return sheet
