"""A part by itself: in its own colours within a line of its part class's, the rest dimmed."""

import numpy as np
from jaxtyping import Bool, UInt8

from partdistillation.pictures.overlays import spotlight
from partdistillation.pictures.sizes import fit, framed, resize_mask


def part_tile(
    image: UInt8[np.ndarray, "height width 3"],
    part: Bool[np.ndarray, "height width"],
    color: UInt8[np.ndarray, " 3"],
    around: Bool[np.ndarray, "height width"] | None = None,
    *,
    side: int,
) -> UInt8[np.ndarray, "tile_height tile_width 3"]:
    """A part on a crop around its object, as high or wide as that is.

    Args:
        image: the whole image.
        part: the part's mask.
        color: of the line, for example `colors.color_of(part_id)`.
        around: the part's object, which is shown whole and dimmed less; without it the part alone is.
        side: the tile's longer side, in pixels.
    """
    window = framed(part if around is None else part | around)
    return lit_part(image[window], part[window], color, None if around is None else around[window], side=side)


def lit_part(
    image: UInt8[np.ndarray, "height width 3"],
    part: Bool[np.ndarray, "height width"],
    color: UInt8[np.ndarray, " 3"],
    around: Bool[np.ndarray, "height width"] | None = None,
    *,
    side: int,
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """A part on all of an image, whose longer side becomes that long; otherwise as `part_tile`."""
    large = fit(image, side)
    height, width, _ = large.shape
    return spotlight(
        large,
        resize_mask(part, height, width),
        color,
        None if around is None else resize_mask(around, height, width),
    )
