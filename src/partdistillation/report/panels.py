"""The pictures of a report: panels of an image's label maps, tiles of a part's mask."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Int, UInt8

from partdistillation.pictures.colors import color_of
from partdistillation.pictures.overlays import overlay, spotlight
from partdistillation.pictures.sheets import fit_square
from partdistillation.pictures.sizes import enlarge, enlarge_labels, shrink, square_crop
from partdistillation.report.data import Panel, PictureRow

PANEL_SIDE = 400
TILE_SIDE = 144


def picture_row(
    title: str,
    image: UInt8[np.ndarray, "height width 3"],
    layers: Mapping[str, Int[np.ndarray, "height width"]],
) -> PictureRow:
    """The image, then each layer (caption: label map, 0 = background) in colours over it."""
    enlarged = enlarge(image, PANEL_SIDE)
    panels = [Panel("image", shrink(enlarged, 2 * PANEL_SIDE))]
    for caption, labels in layers.items():
        colored = overlay(enlarged, enlarge_labels(labels, PANEL_SIDE), contours=2)
        panels.append(Panel(caption, shrink(colored, 2 * PANEL_SIDE)))
    return PictureRow(title, tuple(panels))


def part_tile(
    image: UInt8[np.ndarray, "height width 3"],
    part: Bool[np.ndarray, "height width"],
    around: Bool[np.ndarray, "height width"],
    part_id: int,
) -> UInt8[np.ndarray, "side side 3"]:
    """A square tile for a gallery: the part outlined in its id's colour, all else dimmed.

    Args:
        image: the whole image.
        part: the part's mask.
        around: the part's object, which the tile shows whole.
        part_id: 0, 1, ...; the same id has the same colour in `picture_row`, as label id + 1.

    """
    rows, columns = square_crop(around | part)
    crop = enlarge(image[rows, columns], 2 * TILE_SIDE)
    part, around = (
        enlarge_labels(mask[rows, columns].astype(np.int64), 2 * TILE_SIDE) > 0 for mask in (part, around)
    )
    lit = spotlight(crop, part, around, color_of(part_id), contours=max(3, round(len(crop) / 90)))
    return np.asarray(fit_square(lit, TILE_SIDE))
