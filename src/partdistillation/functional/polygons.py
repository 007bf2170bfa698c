"""Polygons as COCO's JSON has them: checked, bounded, and drawn by pycocotools' rule.

pycocotools keeps five points for every pixel of an outline and merges polygons one after the other, so an
outline is measured before it is drawn, and many polygons are merged pairwise.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Float64
from pycocotools import mask as coco

from partdistillation.errors import InputError
from partdistillation.functional.run_lengths import check_size

LONGEST_OUTLINE = 4_000_000
"""Pixels of all outlines of a mask together; drawing takes 80 bytes and some 100 nanoseconds a pixel."""
_SHORTEST_LIMIT = 100_000
_A_POLYGON = 20
"""Merging a polygon takes as long as drawing so many pixels."""
_TIMES_AROUND = 8
"""An outline around every single pixel of an image has four times its number of pixels."""
_ROUNDING = 0.01


def merged_polygons(polygons: Sequence[object], height: int, width: int) -> bytes:
    """The union of polygons as compressed run lengths.

    Polygons are [x0, y0, x1, y1, ...] or [[x0, y0], [x1, y1], ...], in pixels; a single one may stand by
    itself. Those of one or two points, which cover nothing, are left out where there are others.

    Raises:
        InputError: there is none, one can't be used, or they are too long to be outlines of this image.
    """
    check_size(height, width)
    outlines = [_coordinates(polygon, max(height, width)) for polygon in _with_area(_apart(polygons))]
    _refuse_shares(outlines)
    _refuse_long(outlines, height, width)
    return _union(coco.frPyObjects([outline.tolist() for outline in outlines], height, width))


def _apart(polygons: Sequence[object]) -> Sequence[object]:
    """The polygons, where there may be the numbers, or the points, of a single one."""
    if not polygons:
        raise InputError("Expected at least one polygon, found none; leave out annotations without a region.")
    if all(type(entry) in (int, float) for entry in polygons) or (
        len(polygons) > 2 and all(map(_is_point, polygons))
    ):
        return [polygons]
    return polygons


def _with_area(polygons: Sequence[object]) -> Sequence[object]:
    """Without those that have fewer than three points, unless there are no others."""
    return [polygon for polygon in polygons if not _is_line(polygon)] or polygons


def _is_line(polygon: object) -> bool:
    return isinstance(polygon, list | tuple) and len(polygon) in (0, 2, 4) and _numbers(polygon)


def _is_point(entry: object) -> bool:
    return isinstance(entry, list | tuple) and len(entry) == 2 and _numbers(entry)


def _numbers(entries: Sequence[object]) -> bool:
    return all(type(number) in (int, float) for number in entries)


def _union(encodings: list[dict[str, Any]]) -> bytes:
    """Pycocotools' union of encodings: one after the other would go through all runs so far each time."""
    while len(encodings) > 2:
        encodings = [coco.merge(encodings[start : start + 2]) for start in range(0, len(encodings), 2)]
    merged: bytes = coco.merge(encodings)["counts"]
    return merged


def _coordinates(polygon: object, longer_side: int) -> Float64[np.ndarray, " coordinate"]:
    """A polygon's coordinates. Far-away points are refused: only mistakes are there."""
    if isinstance(polygon, list | tuple) and polygon and all(map(_is_point, polygon)):
        polygon = list(chain.from_iterable(polygon))
    if not isinstance(polygon, Sequence) or not _numbers(polygon):
        raise InputError(
            f"Expected a polygon as a list of numbers [x0, y0, x1, y1, ...], found {_short(polygon)}."
        )
    if len(polygon) < 6 or len(polygon) % 2:
        raise InputError(f"Expected a polygon of at least 3 points (x, y), found {len(polygon)} coordinates.")
    for coordinate in polygon:
        if not -longer_side <= coordinate <= 2 * longer_side:  # refuses NaN too
            raise InputError(
                f"Expected polygon coordinates in pixels, {-longer_side} to {2 * longer_side} at most for an "
                f"image of this size, found {_short(coordinate)}."
            )
    return np.array(polygon, np.float64)


def _short(value: object) -> str:
    """The beginning of its text, without spelling out what may be megabytes."""
    first = value[:20] if isinstance(value, list | tuple | str) else value
    try:
        return f"{first!r:.80}"
    except ValueError:  # an integer of over 4,300 digits
        return "a number of thousands of digits"


def _refuse_shares(outlines: Sequence[Float64[np.ndarray, "_"]]) -> None:
    """All numbers from 0 to 1 and some between are shares of the image: as pixels they'd be its corner."""
    if not all(outline.min() >= -_ROUNDING and outline.max() <= 1 + _ROUNDING for outline in outlines):
        return
    if any((outline % 1 != 0).any() for outline in outlines):
        raise InputError(
            "Expected polygon coordinates in pixels, found all of them between 0 and 1: they are shares of "
            "the image's size (normalised); multiply x by its width and y by its height."
        )


def _refuse_long(outlines: Sequence[Float64[np.ndarray, "_"]], height: int, width: int) -> None:
    limit = min(max(_TIMES_AROUND * height * width, _SHORTEST_LIMIT), LONGEST_OUTLINE)
    length = sum(map(_length, outlines)) + _A_POLYGON * len(outlines)
    if length > limit:
        raise InputError(
            f"Expected polygons with outlines of at most {limit:,} pixels together for an image of {width} x "
            f"{height}, found {length:,.0f} in {len(outlines):,} polygons; give the mask as RLE."
        )


def _length(outline: Float64[np.ndarray, " coordinate"]) -> float:
    """In pixels, as pycocotools steps: by the longer of x and y, and a fifth for every point."""
    points = outline.reshape(-1, 2)
    steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1)
    return float(steps.sum() + len(points) / 5)
