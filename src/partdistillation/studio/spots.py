"""Pictures of single parts: the part in its colours, outlined in the part class's; the rest dimmed."""

import threading
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from partdistillation.pictures.colors import color_of
from partdistillation.pictures.sizes import shrink
from partdistillation.pictures.text import note_picture
from partdistillation.pictures.tiles import lit_part, part_tile
from partdistillation.review.collages.drawing import read_image
from partdistillation.runs.records import Row
from partdistillation.studio.gallery import Gallery

TILE = 360
"""Longer side of a tile, in pixels."""
LARGE = 1600
"""Longer side of a photograph that is looked at closely, in pixels."""
_LEAST = 900
"""To which small photographs are enlarged, so that lines on them are fine."""
_GREY = 150
_drawing_tiles = threading.Semaphore(2)  # a photograph of 64 megapixels takes 200 MB while it is drawn
_drawing_wholes = threading.Semaphore(1)  # which needn't wait for tiles

Picture = UInt8[np.ndarray, "height width 3"]


def tile(gallery: Gallery, number: int, color: int) -> Picture:
    """A part on what is around its object, `TILE` pixels long, in the colour of a part class."""
    part = gallery.part(number)
    with _drawing_tiles:
        return part_tile(_read(gallery.images, part.row), part.mask, color_of(color), part.around, side=TILE)


def whole(gallery: Gallery, number: int, color: int) -> Picture:
    """A part on its whole photograph, in the colour of a part class."""
    part = gallery.part(number)
    with _drawing_wholes:
        pixels = _read(gallery.images, part.row)
        side = min(LARGE, max(_LEAST, *part.mask.shape))
        return lit_part(pixels, part.mask, color_of(color), part.around, side=side)


def photograph(gallery: Gallery, image: int) -> Picture:
    """A photograph as it is, at most `LARGE` pixels long; where it can't be read, why."""
    row = gallery.row(image)
    with _drawing_wholes:
        return shrink(_read(gallery.images, row), LARGE)


def _read(images: Path | None, row: Row) -> Picture:
    if row.status == "rejected":
        return note_picture("image was rejected", 400, 300)
    if images is None:  # shapes alone, then
        return np.full((row.height, row.width, 3), _GREY, np.uint8)
    picture = read_image(images / row.file_name, row.width, row.height)
    return note_picture(picture, row.width, row.height) if isinstance(picture, str) else picture
