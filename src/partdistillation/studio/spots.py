"""Pictures of single parts: the part in its colours, outlined in the part class's; the rest dimmed."""

import threading
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageFilter

from partdistillation.pictures.colors import color_of
from partdistillation.pictures.overlays import spotlight
from partdistillation.pictures.sizes import framed, resized
from partdistillation.pictures.text import note_picture
from partdistillation.review.collages.drawing import read_image
from partdistillation.runs.records import Row
from partdistillation.studio.gallery import Gallery, Shown

TILE = 360
"""Longer side of a tile, in pixels."""
LARGE = 1600
"""Longer side of a photograph that is looked at closely, in pixels."""
_LEAST = 900
"""To which small photographs are enlarged, so that lines on them are fine."""
_MARGIN = 0.12
_HALF = 128
_GREY = 150
_drawing_tiles = threading.Semaphore(2)  # a photograph of 64 megapixels takes 200 MB while it is drawn
_drawing_wholes = threading.Semaphore(1)  # which needn't wait for tiles

Picture = UInt8[np.ndarray, "height width 3"]


def tile(gallery: Gallery, number: int, color: int) -> Picture:
    """A part on what is around its object, `TILE` pixels long, in the colour of a part class."""
    part = gallery.part(number)
    crop = framed(part.mask if part.around is None else part.mask | part.around, _MARGIN)
    with _drawing_tiles:
        return _lit(gallery.images, part, color, crop, TILE)


def whole(gallery: Gallery, number: int, color: int) -> Picture:
    """A part on its whole photograph, in the colour of a part class."""
    part = gallery.part(number)
    with _drawing_wholes:
        size = min(LARGE, max(_LEAST, *part.mask.shape))
        return _lit(gallery.images, part, color, (slice(None), slice(None)), size)


def photograph(gallery: Gallery, image: int) -> Picture:
    """A photograph as it is, at most `LARGE` pixels long; where it can't be read, why."""
    row = gallery.row(image)
    with _drawing_wholes:
        pixels = _read(gallery.images, row)
        return _sized(pixels, min(LARGE, max(pixels.shape)))


def _lit(images: Path | None, part: Shown, color: int, crop: tuple[slice, slice], longest: int) -> Picture:
    pixels = _sized(_read(images, part.row)[crop], longest)
    size = pixels.shape[:2]
    mask = _grown(part.mask[crop], *size)
    around = None if part.around is None else _grown(part.around[crop], *size)
    return spotlight(pixels, mask, color_of(color), around, contours=max(2, longest // 300))


def _read(images: Path | None, row: Row) -> Picture:
    if row.status == "rejected":
        return note_picture("image was rejected", 400, 300)
    if images is None:  # shapes alone, then
        return np.full((row.height, row.width, 3), _GREY, np.uint8)
    picture = read_image(images / row.file_name, row.width, row.height)
    return note_picture(picture, row.width, row.height) if isinstance(picture, str) else picture


def _sized(pixels: UInt8[np.ndarray, "_ _ 3"], longest: int) -> Picture:
    scale = longest / max(pixels.shape)
    height, width = (max(1, round(scale * side)) for side in pixels.shape[:2])
    return resized(pixels, height, width)


def _grown(mask: Bool[np.ndarray, "_ _"], height: int, width: int) -> Bool[np.ndarray, "{height} {width}"]:
    """A mask at another size, with smooth borders."""
    plane = Image.fromarray(mask).convert("L").resize((width, height), Image.Resampling.BILINEAR)
    rounding = ImageFilter.GaussianBlur(0.5 * height / len(mask))  # the corners of enlarged pixels
    return np.asarray(plane.filter(rounding)) >= _HALF
