"""Masks as paths that a browser draws: SVG's own letters, pieces and holes in one."""

from itertools import pairwise
from typing import cast

import contourpy
import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from partdistillation.functional.masks import box

_FINENESS = 2
"""Digits after the point are halves: a border runs between two pixels' centres."""

_Filled = tuple[list[NDArray[np.float64]], list[NDArray[np.uint32]]]


def path_of(mask: Bool[np.ndarray, "height width"], step: int = 1) -> str:
    """The mask's border as `d` of an SVG path, to be filled by `evenodd`; "" where nothing is left of it.

    Args:
        mask: of an image; coordinates are the image's, counted from the edge of its first pixel.
        step: every which row and column is looked at, of large images.
    """
    if not mask.any():
        return ""
    x0, y0, x1, y1 = (int(edge) for edge in box(mask))
    small = mask[y0:y1:step, x0:x1:step]
    heights = np.pad(small.astype(np.float64), 1)
    contours = contourpy.contour_generator(z=heights, fill_type=contourpy.FillType.OuterOffset)
    polygons, offsets = cast(_Filled, contours.filled(0.5, np.inf))
    return "".join(
        _ring((points[start:end] - 0.5) * step + (x0, y0))
        for points, ends in zip(polygons, offsets, strict=True)
        for start, end in pairwise(ends)
    )


def _ring(points: NDArray[np.float64]) -> str:
    """A closed ring: where it begins, and steps from there; points on the way straight on are left out."""
    halves = np.rint(points * _FINENESS).astype(np.int64)[:-1]
    before, after = halves - np.roll(halves, 1, axis=0), np.roll(halves, -1, axis=0) - halves
    corners = halves[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    steps = np.diff(corners, axis=0)
    moves = " ".join(f"{x / _FINENESS:g},{y / _FINENESS:g}" for x, y in steps.tolist())
    x, y = corners[0].tolist()
    return f"M{x / _FINENESS:g},{y / _FINENESS:g}l{moves}z"
