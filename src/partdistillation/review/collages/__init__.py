"""Collages by which people judge part classes: images at random, the part in red (supplement, Fig. 4)."""

from partdistillation.review.collages.drawing import (
    LOOK,
    draw_collage,
    draw_image,
    draw_large,
    draw_sheet,
    draw_tile,
    draw_tiles,
)
from partdistillation.review.collages.folder import FOLDER, Collage, summary, write_collages
from partdistillation.review.collages.sampling import PER_PART, PartSample, Tile, sample_parts

__all__ = [
    "FOLDER",
    "LOOK",
    "PER_PART",
    "Collage",
    "PartSample",
    "Tile",
    "draw_collage",
    "draw_image",
    "draw_large",
    "draw_sheet",
    "draw_tile",
    "draw_tiles",
    "sample_parts",
    "summary",
    "write_collages",
]
