"""Binary masks: COCO run-length encoding, polygons, boxes, resizing and overlap.

A mask is bool, height x width. Whatever comes from a file is checked before it is used.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8
from pycocotools import mask as coco

from partdistillation.errors import InputError
from partdistillation.functional.polygons import merged_polygons
from partdistillation.functional.run_lengths import check_size, checked, fill, parse, unpack
from partdistillation.kernels import bit_masks


class EncodedMask(NamedTuple):
    """A mask as COCO's compressed run-length encoding."""

    counts: bytes
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width


class EncodedMasks(NamedTuple):
    """Masks of one size as COCO's compressed run-length encodings."""

    counts: Sequence[bytes]
    height: int
    width: int


Mask = Bool[np.ndarray, "height width"] | EncodedMask


def encode(mask: Bool[np.ndarray, "height width"]) -> bytes:
    """The compressed run-length encoding of a mask: the `counts` of COCO, without the size."""
    counts: bytes = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return counts


def decode(counts: bytes, height: int, width: int) -> Bool[np.ndarray, "{height} {width}"]:
    """The mask of a compressed run-length encoding.

    Raises:
        InputError: `counts` isn't such an encoding, or doesn't fill exactly height x width pixels.
    """
    return fill(unpack(counts), height, width)


def area(counts: bytes, height: int, width: int) -> int:
    """How many pixels are True in a compressed run-length encoding, without decoding it.

    Raises:
        InputError: as `decode`.
    """
    return int(checked(unpack(counts), height, width)[1::2].sum())


def decoded(mask: Mask) -> Bool[np.ndarray, "height width"]:
    """The mask itself.

    Raises:
        InputError: as `decode`.
    """
    return decode(*mask) if isinstance(mask, EncodedMask) else mask


def encoded(mask: Mask) -> EncodedMask:
    """The mask's compressed run-length encoding, with its size."""
    return mask if isinstance(mask, EncodedMask) else EncodedMask(encode(mask), *mask.shape)


def stacked(masks: Sequence[Mask]) -> Bool[np.ndarray, "mask height width"] | EncodedMasks:
    """Masks of one size, at least one, together: decoded unless all are encoded."""
    encodings = [mask for mask in masks if isinstance(mask, EncodedMask)]
    if len(encodings) == len(masks):
        return EncodedMasks([mask.counts for mask in encodings], *encodings[0].shape)
    return np.stack([decoded(mask) for mask in masks])


def union(masks: Sequence[Mask]) -> Mask:
    """The pixels of any of the masks, at least one, of one size; encoded if all of them are.

    Raises:
        InputError: as `decode`.
    """
    together = stacked(masks)
    if not isinstance(together, EncodedMasks):
        any_of_them: Bool[np.ndarray, "height width"] = np.logical_or.reduce(together)
        return any_of_them
    counts, *size = together
    for encoding in counts:
        checked(unpack(encoding), *size)  # pycocotools doesn't
    merged: bytes = coco.merge([{"size": size, "counts": encoding} for encoding in counts])["counts"]
    return EncodedMask(merged, *size)


def from_coco(segmentation: object, height: int, width: int) -> Bool[np.ndarray, "{height} {width}"]:
    """The mask of an annotation's `segmentation` as COCO's JSON has it.

    Args:
        segmentation: a list of polygons (or the numbers of one), or {"size": [height, width], "counts": ...}
            with compressed counts (str or bytes) or plain ones (a list of whole numbers).
        height: of the annotated image, in pixels.
        width: likewise.

    Raises:
        InputError: anything else, another size than the image's, runs that don't fill it, bad polygons.
    """
    return decode(*encoded_from_coco(segmentation, height, width))


def encoded_from_coco(segmentation: object, height: int, width: int) -> EncodedMask:
    """As `from_coco`, as a compressed run-length encoding, which is checked all the same."""
    match segmentation:
        case [*polygons]:
            return EncodedMask(merged_polygons(polygons, height, width), height, width)
        case {"size": size, "counts": counts}:
            if not isinstance(size, Sequence) or list(size) != [height, width]:
                raise InputError(
                    f"Expected a run-length encoding of the image's size, [{height}, {width}] (height, "
                    f"width), found {size!r}; check the image's height and width in the annotation file."
                )
            return EncodedMask(_compressed(counts, height, width), height, width)
        case {}:
            other = f"the keys {sorted(map(str, segmentation))}"
        case _:
            other = type(segmentation).__name__
    raise InputError(
        f'Expected a segmentation as a list of polygons or as {{"size", "counts"}}, found {other}.'
    )


def _compressed(counts: object, height: int, width: int) -> bytes:
    runs = checked(parse(counts), height, width)
    match counts:
        case bytes():
            return counts
        case str():
            return counts.encode("ascii")
    compressed: bytes = coco.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)[
        "counts"
    ]
    return compressed


def box(mask: Bool[np.ndarray, "height width"]) -> tuple[float, float, float, float]:
    """The smallest box (x0, y0, x1, y1) around the mask's pixels, in pixels; all zeros for an empty mask.

    The pixel in column x covers x to x + 1, so that x1 - x0 is the box's width.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    if len(columns) == 0:
        return (0.0, 0.0, 0.0, 0.0)
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def encoded_box(counts: bytes, height: int, width: int) -> tuple[float, float, float, float]:
    """As `box`, of a compressed run-length encoding, without decoding it.

    Raises:
        InputError: as `decode`.
    """
    return area_and_box(counts, height, width)[1]


def area_and_box(counts: bytes, height: int, width: int) -> tuple[int, tuple[float, float, float, float]]:
    """`area` and `encoded_box` in one go.

    Raises:
        InputError: as `decode`.
    """
    check_size(height, width)
    text = np.frombuffer(counts, dtype=np.uint8)
    pixels, x0, y0, x1, y1 = bit_masks.extent(text, height, width)
    if pixels < 0:
        checked(unpack(counts), height, width)  # which says what is wrong
    return pixels, (float(x0), float(y0), float(x1), float(y1))


def resize_mask(
    mask: Bool[np.ndarray, "_ _"], height: int, width: int
) -> Bool[np.ndarray, "{height} {width}"]:
    """The mask at another size: each new pixel takes the old pixel under its center."""
    check_size(height, width)
    if mask.size == 0:
        raise InputError(f"Expected a mask of at least one pixel, found {mask.shape}.")
    rows = _nearest(mask.shape[0], height)
    columns = _nearest(mask.shape[1], width)
    resized: Bool[np.ndarray, "{height} {width}"] = mask[rows[:, None], columns]
    return resized


def pairwise_iou(
    a: Bool[np.ndarray, "n height width"] | EncodedMasks, b: Bool[np.ndarray, "m height width"] | EncodedMasks
) -> Float64[np.ndarray, "n m"]:
    """Intersection over union of each mask of `a` with each of `b`; 0 where both are empty.

    Encoded masks aren't decoded, which is quickest.

    Raises:
        InputError: masks of different sizes, or an encoding that is damaged.
    """
    sizes = [masks[1:] if isinstance(masks, EncodedMasks) else masks.shape[1:] for masks in (a, b)]
    if sizes[0] != sizes[1]:
        raise InputError(f"Expected masks of one size, found {sizes[0]} and {sizes[1]}; resize one of them.")
    if isinstance(a, EncodedMasks) or isinstance(b, EncodedMasks):
        return _encoded_iou(_encoded(a), _encoded(b))
    packed, others = bit_masks.pack(a), bit_masks.pack(b)
    shared = bit_masks.shared_pixels(packed, others)
    iou: Float64[np.ndarray, "n m"] = shared / np.maximum(packed.areas[:, None] + others.areas - shared, 1)
    return iou


def _encoded_iou(a: EncodedMasks, b: EncodedMasks) -> Float64[np.ndarray, "n m"]:
    if len(a.counts) > len(b.counts):  # many cost no memory there
        return _encoded_iou(b, a).T
    ious = np.empty((len(a.counts), len(b.counts)))
    unusable = bit_masks.write_ious(*_text(a), *_text(b), a.height * a.width, ious)
    if unusable >= 0:
        raise _refusal([*a.counts, *b.counts][unusable], a)
    return ious


def paint(masks: EncodedMasks, labels: Sequence[int]) -> Int64[np.ndarray, "height width"]:
    """A map with every mask's label inside it, 0 elsewhere; where masks overlap, the later one's.

    Raises:
        InputError: an encoding is damaged.
    """
    painted = np.zeros((masks.width, masks.height), dtype=np.int64)
    unusable = bit_masks.paint(*_text(masks), np.array(labels, dtype=np.int64), painted.ravel())
    if unusable >= 0:
        raise _refusal(masks.counts[unusable], masks)
    return painted.T


def _encoded(masks: Bool[np.ndarray, "n height width"] | EncodedMasks) -> EncodedMasks:
    if isinstance(masks, EncodedMasks):
        return masks
    return EncodedMasks([encode(mask) for mask in masks], masks.shape[1], masks.shape[2])


def _text(masks: EncodedMasks) -> tuple[UInt8[np.ndarray, " character"], Int64[np.ndarray, " mask"]]:
    """The characters of all encodings in a row, and how many each has."""
    check_size(masks.height, masks.width)
    text = np.frombuffer(b"".join(masks.counts), dtype=np.uint8)
    return text, np.fromiter(map(len, masks.counts), np.int64, len(masks.counts))


def _refusal(counts: bytes, masks: EncodedMasks) -> Exception:
    """What is wrong with an encoding of such masks that can't be used."""
    try:
        checked(unpack(counts), masks.height, masks.width)
    except InputError as error:
        return error
    return AssertionError(f"expected the encoding {counts!r} to be refused")


def _nearest(old: int, new: int) -> Int64[np.ndarray, " new"]:
    """Of each of `new` pixels along an axis, the one of `old` pixels under its center, in exact integers."""
    return (2 * np.arange(new) + 1) * old // (2 * new)
