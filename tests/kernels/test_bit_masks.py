"""Packed masks count what the masks themselves count, whichever way they came in."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco

from partdistillation.errors import InputError
from partdistillation.functional.masks import (
    EncodedMask,
    EncodedMasks,
    decode,
    decoded,
    encode,
    paint,
    pairwise_iou,
    union,
)
from partdistillation.functional.metrics import label_map
from partdistillation.kernels.bit_masks import pack, shared_pixels

Masks = NDArray[np.bool_]


def random_masks(seed: int, count: int, height: int, width: int) -> Masks:
    """Noise, rectangles, empty and full ones, of any density."""
    rng = np.random.default_rng(seed)
    masks = rng.random((count, height, width)) < rng.random((count, 1, 1)) ** 2
    for mask in masks[::2]:
        top, left = rng.integers(0, height), rng.integers(0, width)
        mask[:top], mask[:, :left] = False, False
    masks[rng.random(count) < 0.1] = False
    masks[rng.random(count) < 0.1] = True
    return masks


def encoded(masks: Masks) -> EncodedMasks:
    return EncodedMasks([encode(mask) for mask in masks], masks.shape[1], masks.shape[2])


sizes = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 40), st.integers(1, 40))


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), sizes=sizes)
def test_shared_pixels_are_counted(seed: int, sizes: tuple[int, int, int, int]) -> None:
    n, m, height, width = sizes
    a, b = random_masks(seed, n, height, width), random_masks(seed + 1, m, height, width)
    expected = (a[:, None] & b).sum(axis=(2, 3)) if n and m else np.zeros((n, m))
    assert np.array_equal(shared_pixels(pack(a), pack(b)), expected)
    assert np.array_equal(pack(a).areas, a.sum(axis=(1, 2)))


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), sizes=sizes)
def test_iou_is_that_of_pycocotools_to_the_bit(seed: int, sizes: tuple[int, int, int, int]) -> None:
    n, m, height, width = sizes
    a, b = random_masks(seed, n + 1, height, width), random_masks(seed + 1, m + 1, height, width)

    def theirs(masks: Masks) -> object:
        return coco.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8))

    expected = coco.iou(theirs(a), theirs(b), [0] * len(b))
    assert np.array_equal(pairwise_iou(a, b), expected)
    assert np.array_equal(pairwise_iou(encoded(a), encoded(b)), expected)
    assert np.array_equal(pairwise_iou(a, encoded(b)), expected)
    assert np.array_equal(pairwise_iou(encoded(a), b), expected)


def test_only_words_with_pixels_are_kept() -> None:
    mask = np.zeros((1, 10, 64), np.bool_)
    mask[0, 3, 5], mask[0, 6, 63] = True, True
    packed = pack(mask)
    assert (packed.length.tolist(), packed.position.tolist()) == ([4], [3])
    assert packed.words[packed.begin[0]] == 1 << 5
    empty = pack(np.zeros((2, 10, 64), np.bool_))
    assert (empty.areas.tolist(), empty.length.tolist()) == ([0, 0], [0, 0])


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), sizes=sizes)
def test_painting_and_union_are_those_of_the_decoded(seed: int, sizes: tuple[int, int, int, int]) -> None:
    count, _, height, width = sizes
    masks = random_masks(seed, count + 1, height, width)
    ids = np.random.default_rng(seed).integers(0, 4, len(masks)).tolist()
    assert np.array_equal(label_map(encoded(masks), ids), label_map(masks, ids))
    encodings = [EncodedMask(encode(mask), height, width) for mask in masks]
    both = [*encodings[:-1], masks[-1]]
    together = union(encodings)
    assert isinstance(together, EncodedMask)
    assert np.array_equal(decoded(together), masks.any(axis=0))
    assert np.array_equal(decoded(union(both)), masks.any(axis=0))


def test_a_damaged_encoding_has_no_union() -> None:
    short = EncodedMask(b"1", 9, 7)
    for task in (partial(union, [short, short]), partial(paint, EncodedMasks([b"1"], 9, 7), [1])):
        with pytest.raises(InputError, match="fill 9 x 7"):
            task()


@settings(deadline=None)
@given(text=st.text(st.sampled_from("0123456789:;<=>?@AOPQ_`no/p"), max_size=20), seed=st.integers(0, 99))
def test_what_decode_refuses_is_refused(text: str, seed: int) -> None:
    """Text of the alphabet, and an encoding with a bit of it mixed in."""
    good = encode(random_masks(seed, 1, 9, 7)[0])
    place = seed % (len(good) + 1)
    known = EncodedMasks([good], 9, 7)
    for counts in (text.encode(), good[:place] + text[:1].encode() + good[place + 1 :], good):
        mixed = EncodedMasks([good, counts], 9, 7)
        reason = reason_of(partial(decode, counts, 9, 7))
        for masks in ((mixed, known), (known, mixed)):
            assert reason_of(partial(pairwise_iou, *masks)) == reason
        if not reason:
            assert pairwise_iou(mixed, mixed)[1, 1] == decode(counts, 9, 7).any()


def reason_of(task: Callable[[], object]) -> str:
    """Why it is refused, empty if it isn't."""
    try:
        task()
    except InputError as error:
        return str(error)
    return ""


def test_sizes_are_checked() -> None:
    mask = np.ones((1, 2, 3), np.bool_)
    with pytest.raises(InputError, match="height of at least 1"):
        paint(EncodedMasks([], 0, 3), [])
    with pytest.raises(InputError, match=r"one size, found \(2, 3\) and \(3, 2\)"):
        pairwise_iou(mask, encoded(mask.transpose(0, 2, 1)))
