"""A mask as one polygon: its pieces and holes joined by seams, for formats that hold one polygon a mask.

Corners are centres of pixels on the border, which is how OpenCV draws polygons: filled by it, the polygon of
a mask without seams is the mask again. A seam to a hole lies within the mask; one between two pieces adds
the pixels on its way, so it takes the shortest.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import contourpy
import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from partdistillation.errors import InputError

_JUST_INSIDE = 0.999
"""Between pixels in the mask (1) and others (0), a contour of this height goes by the former's centres."""
_LEAST_CORNERS = 3

_Filled = tuple[list[NDArray[np.float64]], list[NDArray[np.uint32]]]
"""What contourpy says: corners of each polygon, and where in them its outer border and its holes begin."""

Ring = Int[np.ndarray, "_ 2"]
"""Corners (x, y) in pixels, counted from 0; the last is joined to the first."""


def outline(mask: Bool[np.ndarray, "height width"]) -> Ring:
    """The mask as one polygon of at least three corners.

    Raises:
        InputError: it has no pixel.
    """
    if not mask.any():
        raise InputError("expected a mask of at least one pixel to outline, found an empty one; leave it out")
    rings = sorted(_rings(mask), key=len, reverse=True)
    joined = rings.pop(0)
    while rings:
        number, corner, start = _shortest_seam(joined, rings)
        joined = _sewn(joined, corner, rings.pop(number), start)
    if len(joined) < _LEAST_CORNERS:
        joined = np.resize(joined, (_LEAST_CORNERS, 2))
    return joined


def _shortest_seam(polygon: Ring, rings: Sequence[Ring]) -> tuple[int, int, int]:
    """Which of the rings is nearest, from which corner of the polygon, to which of its own."""
    from scipy.spatial import cKDTree  # late: half a second, and few masks have seams

    distances, corners = cKDTree(polygon).query(np.concatenate(rings))
    nearest = int(np.argmin(distances))
    starts = np.cumsum([0, *map(len, rings)])
    number = int(np.searchsorted(starts, nearest, side="right")) - 1
    return number, int(np.asarray(corners)[nearest]), nearest - int(starts[number])


def filled(polygon: Ring, height: int, width: int) -> Bool[np.ndarray, "{height} {width}"]:
    """The pixels in a polygon, and on its border."""
    picture = Image.new("1", (width, height))
    ImageDraw.Draw(picture).polygon([(int(x), int(y)) for x, y in polygon], fill=1, outline=1)
    return np.array(picture)


def _rings(mask: Bool[np.ndarray, "height width"]) -> list[Ring]:
    """The borders of pieces and holes."""
    heights = np.zeros([max(2, side) for side in mask.shape])  # contourpy wants two pixels a side
    heights[: mask.shape[0], : mask.shape[1]] = mask
    contours = contourpy.contour_generator(z=heights, fill_type=contourpy.FillType.OuterOffset)
    polygons, offsets = cast(_Filled, contours.filled(_JUST_INSIDE, np.inf))
    return [
        _corners(np.rint(points[start:end]).astype(np.int64))
        for points, ends in zip(polygons, offsets, strict=True)
        for start, end in pairwise(ends)
    ]


def _corners(points: NDArray[np.int64]) -> Ring:
    """A closed ring without repeated points, and without those on the way straight on."""
    first = points[:1]
    moved = np.any(points[1:] != points[:-1], axis=1)
    points = points[1:][moved]
    if not len(points):  # a single pixel
        return first
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    straight = (before[:, 0] * after[:, 1] == before[:, 1] * after[:, 0]) & ((before * after).sum(axis=1) > 0)
    corners: Ring = points[~straight]
    return corners


def _sewn(polygon: Ring, corner: int, ring: Ring, start: int) -> Ring:
    """The polygon with a ring inserted at one of its corners, there and back."""
    around = np.concatenate([ring[start:], ring[: start + 1]])
    return np.concatenate([polygon[: corner + 1], around, polygon[corner:]])
