"""Binary masks: COCO run-length encoding, polygons, boxes, resizing and overlap.

A mask is bool, height x width. Its run-length encoding holds the lengths of alternating runs of False and
True down the columns, False first; compressed, these lengths are packed into ASCII characters. Whatever comes
from a file is checked before it is used: pycocotools reads uninitialized memory where runs fall short.
"""

import math
from collections.abc import Sequence
from numbers import Integral

import numpy as np
from jaxtyping import Bool, Float64, Int64
from pycocotools import mask as coco

from partdistillation.errors import InputError

# 7 characters of 5 bits hold any run length below 2^34; longer numbers would only overflow.
_MOST_CHARACTERS = 7
# Sums of ones are exact in float32 up to here.
_EXACT_FLOAT32 = 2**24


def encode(mask: Bool[np.ndarray, "height width"]) -> bytes:
    """The compressed run-length encoding of a mask: the `counts` of COCO, without the size."""
    counts: bytes = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return counts


def decode(counts: bytes, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """The mask of a compressed run-length encoding.

    Raises:
        InputError: `counts` isn't such an encoding, or doesn't fill exactly height x width pixels.

    """
    return _fill(_checked(_unpack(counts), height, width), height, width)


def area(counts: bytes, height: int, width: int) -> int:
    """How many pixels are True in a compressed run-length encoding, without decoding it.

    Raises:
        InputError: as `decode`.

    """
    return int(_checked(_unpack(counts), height, width)[1::2].sum())


def from_coco(segmentation: object, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """The mask of an annotation's `segmentation` as COCO's JSON has it.

    Args:
        segmentation: a list of polygons, or {"size": [height, width], "counts": ...} with compressed counts
            (str or bytes) or plain ones (a list of integers).
        height: of the annotated image, in pixels.
        width: likewise.

    Raises:
        InputError: anything else, another size than the image's, runs that don't fill it, bad polygons.

    """
    match segmentation:
        case [*polygons]:
            return polygons_to_mask(polygons, height, width)
        case {"size": size, "counts": counts}:
            if not isinstance(size, Sequence) or list(size) != [height, width]:
                raise InputError(
                    f"Expected a run-length encoding of the image's size, [{height}, {width}] (height, "
                    f"width), found {size!r}; check the image's height and width in the annotation file."
                )
            return _fill(_checked(_runs(counts), height, width), height, width)
        case {}:
            found = f"the keys {sorted(map(str, segmentation))}"
        case _:
            found = type(segmentation).__name__
    raise InputError(
        f'Expected a segmentation as a list of polygons or as {{"size", "counts"}}, found {found}.'
    )


def polygons_to_mask(polygons: Sequence[object], height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """The union of polygons, each [x0, y0, x1, y1, ...] in pixels; drawn by pycocotools' rule.

    Raises:
        InputError: no polygon, fewer than 3 points, an odd number of coordinates, a coordinate that isn't a
            finite number or lies farther outside the image than its longer side.

    """
    _check_size(height, width)
    if not polygons:
        raise InputError("Expected at least one polygon, found none; leave out annotations without a region.")
    checked = [_coordinates(polygon, max(height, width)) for polygon in polygons]
    drawn = coco.decode(coco.merge(coco.frPyObjects(checked, height, width)))
    return np.ascontiguousarray(drawn, dtype=np.bool_)


def box(mask: Bool[np.ndarray, "height width"]) -> tuple[float, float, float, float]:
    """The smallest box (x0, y0, x1, y1) around the mask's pixels, in pixels; all zeros for an empty mask.

    The pixel in column x covers x to x + 1, so that x1 - x0 is the box's width.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    if len(columns) == 0:
        return (0.0, 0.0, 0.0, 0.0)
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def resize_mask(
    mask: Bool[np.ndarray, "_ _"], height: int, width: int
) -> Bool[np.ndarray, "{height} {width}"]:
    """The mask at another size: each new pixel takes the old pixel under its center."""
    _check_size(height, width)
    if mask.size == 0:
        raise InputError(f"Expected a mask of at least one pixel, found {mask.shape}.")
    rows = _nearest(mask.shape[0], height)
    columns = _nearest(mask.shape[1], width)
    resized: Bool[np.ndarray, "{height} {width}"] = mask[rows[:, None], columns]
    return resized


def pairwise_iou(
    a: Bool[np.ndarray, "n height width"], b: Bool[np.ndarray, "m height width"]
) -> Float64[np.ndarray, "n m"]:
    """Intersection over union of each mask of `a` with each of `b`; 0 where both are empty."""
    if a.shape[1:] != b.shape[1:]:
        raise InputError(
            f"Expected masks of one size, found {a.shape[1:]} and {b.shape[1:]}; resize one of them."
        )
    pixels = a.shape[1] * a.shape[2]
    dtype = np.float32 if pixels <= _EXACT_FLOAT32 else np.float64
    flat_a, flat_b = (masks.reshape(len(masks), pixels).astype(dtype) for masks in (a, b))
    intersection = np.matmul(flat_a, flat_b.T).astype(np.float64)
    areas_a, areas_b = (masks.sum(axis=(1, 2), dtype=np.int64) for masks in (a, b))
    union = areas_a[:, None] + areas_b - intersection
    iou: Float64[np.ndarray, "n m"] = intersection / np.maximum(union, 1)
    return iou


def _check_size(height: int, width: int) -> None:
    for name, side in (("height", height), ("width", width)):
        if not isinstance(side, Integral) or isinstance(side, bool) or side < 1:
            raise InputError(f"Expected a {name} of at least 1 pixel, as an integer; found {side!r}.")


def _unpack(counts: bytes) -> Int64[np.ndarray, " runs"]:
    """Run lengths from their compressed form, as they are: they may be negative.

    A number is a sequence of characters, least significant first: code - 48 holds 5 bits of it and, as 6th
    bit, that another character follows; the 5th bit of the last character is the sign. From the fourth run
    on, the number is the difference from the last run but one.
    """
    codes = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    if len(codes) == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise InputError(
            f"Expected compressed run lengths (characters '0' to 'o', the last of them '0' to 'O'), "
            f"found {counts[:40]!r}{'...' if len(counts) > 40 else ''}."
        )
    last = np.flatnonzero(codes & 32 == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > _MOST_CHARACTERS:
        raise InputError(
            f"Expected run lengths of at most {_MOST_CHARACTERS} characters, found one of {lengths.max()}."
        )
    place = np.arange(len(codes)) - np.repeat(first, lengths)
    runs = np.add.reduceat((codes & 31) << (5 * place), first)
    runs -= np.where(codes[last] & 16, np.int64(1) << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _runs(counts: object) -> Int64[np.ndarray, " runs"]:
    """Run lengths from either form of `counts`."""
    match counts:
        case bytes():
            return _unpack(counts)
        case str() if counts.isascii():
            return _unpack(counts.encode("ascii"))
        case [*runs] if all(type(run) is int and abs(run) < 2**34 for run in runs):
            return np.array(runs, dtype=np.int64)
    raise InputError(
        f"Expected counts as an ASCII string, bytes or a list of integers, found {counts!r:.80}."
    )


def _checked(runs: Int64[np.ndarray, " runs"], height: int, width: int) -> Int64[np.ndarray, " runs"]:
    """The runs, if they fill an image of this size exactly."""
    _check_size(height, width)
    if len(runs) and runs.min() < 0:
        raise InputError(f"Expected run lengths of at least 0, found {runs.min()}; the encoding is damaged.")
    total = int(runs.sum())
    if total != height * width:
        raise InputError(
            f"Expected run lengths that fill {height} x {width} = {height * width} pixels, found {total}; "
            "the encoding is damaged or belongs to an image of another size."
        )
    return runs


def _fill(runs: Int64[np.ndarray, " runs"], height: int, width: int) -> Bool[np.ndarray, "height width"]:
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def _coordinates(polygon: object, longer_side: int) -> list[float]:
    """A polygon's coordinates as floats.

    Far-away points are refused: drawing takes memory in proportion to the outline, and only mistakes are
    that long.
    """
    match polygon:
        case [*numbers] if all(type(number) in (int, float) for number in numbers):
            coordinates = [float(number) for number in numbers if isinstance(number, int | float)]
        case _:
            raise InputError(
                f"Expected a polygon as a list of numbers [x0, y0, x1, y1, ...], found {polygon!r:.80}."
            )
    if len(coordinates) < 6 or len(coordinates) % 2:
        raise InputError(
            f"Expected a polygon of at least 3 points (x, y), found {len(coordinates)} coordinates."
        )
    for coordinate in coordinates:
        if not math.isfinite(coordinate) or not -longer_side <= coordinate <= 2 * longer_side:
            raise InputError(
                f"Expected polygon coordinates in pixels, {-longer_side} to {2 * longer_side} at most for an "
                f"image of this size, found {coordinate}."
            )
    return coordinates


def _nearest(old: int, new: int) -> Int64[np.ndarray, " new"]:
    """Of each of `new` pixels along an axis, the one of `old` pixels under its center, in exact integers."""
    return (2 * np.arange(new) + 1) * old // (2 * new)
