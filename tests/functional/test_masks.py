"""Masks against pycocotools and Pillow, and what must be refused."""

import warnings
from collections.abc import Callable
from typing import Any

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from partdistillation.errors import InputError
from partdistillation.functional.masks import (
    area,
    box,
    decode,
    encode,
    encoded_box,
    from_coco,
    pairwise_iou,
    resize_mask,
)

Mask = NDArray[np.bool_]

SIDES = st.integers(1, 40)
MASKS = npst.arrays(np.bool_, st.tuples(SIDES, SIDES))


def coco_decode(rle: Any) -> Mask:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' own, about numpy 2
        mask: Mask = coco.decode(rle).astype(bool)
    return mask


def run_lengths(mask: Mask) -> list[int]:
    """Plain counts, run by run."""
    counts, value = [0], False
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def smooth_mask(seed: int, height: int, width: int) -> Mask:
    """Blobs: long runs, whose lengths take several characters."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    wave = np.sin(y / rng.uniform(5, 50) + rng.uniform(0, 6)) + np.sin(x / rng.uniform(5, 50))
    mask: Mask = wave > rng.uniform(-1, 1)
    return mask


@given(MASKS)
def test_encoding_is_pycocotools_and_round_trips(mask: Mask) -> None:
    counts = encode(mask)
    assert counts == coco.encode(np.asfortranarray(mask, np.uint8))["counts"]
    height, width = mask.shape
    decoded = decode(counts, height, width)
    np.testing.assert_array_equal(decoded, mask)
    assert decoded.dtype == np.bool_
    assert decoded.flags.c_contiguous
    assert area(counts, height, width) == mask.sum()


@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(1, 300))
def test_long_runs_round_trip(seed: int, height: int, width: int) -> None:
    mask = smooth_mask(seed, height, width)
    np.testing.assert_array_equal(decode(encode(mask), height, width), mask)


def test_encoding_by_hand() -> None:
    """Runs 1, 2, 1 down the columns: characters '0' + length."""
    assert encode(np.array([[False, True], [True, False]])) == b"121"
    np.testing.assert_array_equal(decode(b"121", 2, 2), [[False, True], [True, False]])
    # 100 = 3 * 32 + 4: '0' + 4 + 32 (more follows), '0' + 3.
    assert encode(np.zeros((10, 10), np.bool_)) == b"T3"
    # From the fourth run on differences: runs 1, 5, 1, 3 end in 3 - 5 = -2, 'N' = 48 + 30.
    np.testing.assert_array_equal(decode(b"151N", 10, 1)[:, 0], [0, 1, 1, 1, 1, 1, 0, 1, 1, 1])


@given(MASKS)
def test_every_form_of_run_length_encoding(mask: Mask) -> None:
    size = list(mask.shape)
    counts = encode(mask)
    for form in (counts, counts.decode("ascii"), run_lengths(mask)):
        np.testing.assert_array_equal(from_coco({"size": size, "counts": form}, *size), mask)


def test_empty_runs_within_an_encoding() -> None:
    """Some tools write runs of length 0; they only switch the value twice."""
    np.testing.assert_array_equal(
        from_coco({"size": [2, 2], "counts": [0, 1, 0, 2, 1, 0]}, 2, 2), [[True, True], [True, False]]
    )


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (b"", "compressed run lengths"),
        (b"12", "fill 2 x 2 = 4 pixels, found 3"),  # pycocotools leaves the last pixel uninitialized
        (b"122", "fill 2 x 2 = 4 pixels, found 5"),
        (b"5", "from 0 to 2 x 2 = 4, found 5 to 5"),
        (b"12Q", "compressed run lengths"),  # ends within a number
        (b"1 21", "compressed run lengths"),
        (b"12\xff1", "compressed run lengths"),
        (b"5O", "found -1 to 5"),
        (b"PPPPPPPP0", "at most 7 characters"),
        (b"oooooo?" * 40_000, "from 0 to 2 x 2 = 4"),  # a sum beyond 64 bits
    ],
)
def test_refuses_damaged_compressed_counts(counts: bytes, message: str) -> None:
    for use in (decode, area):
        with pytest.raises(InputError, match=message):
            use(counts, 2, 2)
    with pytest.raises(InputError, match=message):
        from_coco({"size": [2, 2], "counts": counts}, 2, 2)


@settings(max_examples=300)
@given(st.binary(max_size=12) | st.text("0123456789PQRSTabo", max_size=12).map(str.encode))
def test_decodes_or_refuses_any_bytes(counts: bytes) -> None:
    try:
        mask = decode(counts, 3, 4)
    except InputError:
        return
    np.testing.assert_array_equal(mask, coco_decode({"size": [3, 4], "counts": counts}))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "found NoneType"),
        ("121", "found str"),
        (7, "found int"),
        ({}, r"found the keys \[\]"),
        ({"counts": "121"}, r"the keys \['counts'\]"),
        ({"size": [2, 3], "counts": "121"}, r"size, \[2, 2\]"),
        ({"size": ["2", "2"], "counts": "121"}, r"found \['2', '2'\]"),
        ({"size": 4, "counts": "121"}, "found 4"),
        ({"size": [2, 2], "counts": None}, "found None"),
        ({"size": [2, 2], "counts": "12é"}, "ASCII"),
        ({"size": [2, 2], "counts": ["1", "2", "1"]}, "list of integers"),
        ({"size": [2, 2], "counts": [1.5, 1.5, 1.0]}, "list of integers"),
        ({"size": [2, 2], "counts": [True, 2, 1]}, "list of integers"),
        ({"size": [2, 2], "counts": [1, 2]}, "found 3"),
        ({"size": [2, 2], "counts": [5, -1]}, "found -1 to 5"),
        ({"size": [2, 2], "counts": [2**80]}, "list of integers"),
        ({"size": [2, 2], "counts": []}, "found 0"),
        ([], "at least one polygon"),
        ([[]], "at least 3 points"),
        ([[0, 0, 1, 1]], "at least 3 points"),
        ([[0, 0, 1, 1, 1]], "at least 3 points"),
        ([[0, 0, 1, 1, 1, 0, 1]], "at least 3 points"),
        ([0, 0, 1, 1], "at least 3 points"),
        ([["0", "0", "1", "1", "1", "0"]], "list of numbers"),
        ([[True, 0, 1, 1, 1, 0]], "list of numbers"),
        ([[0, 0, 1, 1, float("nan"), 0]], "found nan"),
        ([[0, 0, 1, 1, float("inf"), 0]], "found inf"),
        ([[0, 0, 1, 1, 1e9, 0]], "found 1000000000.0"),
        ([[0, 0, 1, 1, 10**400, 0]], "found"),
        ([[0, 0, 1, 1, -2.1, 0]], "found -2.1"),
    ],
)
def test_refuses_other_segmentations(segmentation: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_coco(segmentation, 2, 2)


@pytest.mark.parametrize(("height", "width"), [(0, 4), (-2, -2), (4, 0), (True, 4)])
def test_refuses_sizes_without_pixels(height: int, width: int) -> None:
    uses: list[Callable[[], Mask]] = [
        lambda: decode(b"4", height, width),
        lambda: from_coco([[0, 0, 1, 1, 1, 0]], height, width),
        lambda: resize_mask(np.ones((2, 2), np.bool_), height, width),
    ]
    for use in uses:
        with pytest.raises(InputError, match="at least 1 pixel"):
            use()


COORDINATES = st.floats(-20, 60) | st.integers(-20, 60)
POLYGONS = st.lists(
    st.lists(COORDINATES, min_size=6, max_size=12).filter(lambda p: len(p) % 2 == 0), min_size=1
).filter(lambda polygons: not all(-0.01 <= c <= 1.01 for polygon in polygons for c in polygon))


@given(POLYGONS, st.integers(30, 40), st.integers(30, 40))
def test_polygons_as_pycocotools_draws_them(polygons: list[list[float]], height: int, width: int) -> None:
    rles = coco.frPyObjects([[float(c) for c in polygon] for polygon in polygons], height, width)
    expected = np.any([coco_decode(rle) for rle in rles], axis=0)
    np.testing.assert_array_equal(from_coco(polygons, height, width), expected)


def test_polygon_by_hand() -> None:
    expected = np.zeros((6, 8), np.bool_)
    expected[1:4, 2:7] = True
    np.testing.assert_array_equal(from_coco([[2, 1, 7, 1, 7, 4, 2, 4]], 6, 8), expected)
    expected[0, 0] = True
    np.testing.assert_array_equal(
        from_coco([[2, 1, 7, 1, 7, 4, 2, 4], [0, 0, 1, 0, 1, 1, 0, 1]], 6, 8), expected
    )


@settings(deadline=None)  # the first call compiles
@given(MASKS)
def test_box_is_pycocotools(mask: Mask) -> None:
    x, y, w, h = coco.toBbox(coco.encode(np.asfortranarray(mask, np.uint8)))
    assert box(mask) == (x, y, x + w, y + h)
    assert encoded_box(encode(mask), *mask.shape) == box(mask)


def test_box_of_runs_without_length() -> None:
    """`0` three times, as other encoders may write: a True run of no pixels at both ends."""
    counts = coco.frPyObjects({"size": [4, 5], "counts": [0, 0, 6, 3, 0, 0, 11, 0]}, 4, 5)["counts"]
    assert encoded_box(counts, 4, 5) == box(decode(counts, 4, 5)) == (1, 0, 3, 4)
    with pytest.raises(InputError, match="fill"):
        encoded_box(counts, 4, 6)


def test_box_by_hand() -> None:
    mask = np.zeros((5, 9), np.bool_)
    assert box(mask) == (0, 0, 0, 0)
    mask[1, 2] = mask[3, 6] = True
    assert box(mask) == (2, 1, 7, 4)


ODD_SIDES = st.integers(0, 20).map(lambda half: 2 * half + 1)


@given(npst.arrays(np.bool_, st.tuples(ODD_SIDES, ODD_SIDES)), SIDES, SIDES)
def test_resizing_is_nearest_neighbor(mask: Mask, height: int, width: int) -> None:
    """From odd sides no center falls on a border between two pixels, which Pillow rounds either way."""
    resized = resize_mask(mask, height, width)
    expected = Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(resized, np.asarray(expected).astype(bool))


@given(MASKS, st.integers(1, 4))
def test_resizing_up_and_back_returns_the_mask(mask: Mask, factor: int) -> None:
    height, width = mask.shape
    larger = resize_mask(mask, factor * height, factor * width)
    np.testing.assert_array_equal(larger, mask.repeat(factor, 0).repeat(factor, 1))
    np.testing.assert_array_equal(resize_mask(larger, height, width), mask)


def test_resizing_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one pixel"):
        resize_mask(np.zeros((0, 3), np.bool_), 2, 2)


@settings(deadline=None)  # compiles
@given(st.data(), SIDES, SIDES, st.integers(0, 5), st.integers(0, 5))
def test_iou_is_pycocotools(data: st.DataObject, height: int, width: int, n: int, m: int) -> None:
    a = data.draw(npst.arrays(np.bool_, (n, height, width)))
    b = data.draw(npst.arrays(np.bool_, (m, height, width)))
    found = pairwise_iou(a, b)
    assert found.shape == (n, m)
    assert found.dtype == np.float64
    if n and m:
        rles_a, rles_b = (
            [coco.encode(np.asfortranarray(mask, np.uint8)) for mask in group] for group in (a, b)
        )
        np.testing.assert_allclose(found, coco.iou(rles_a, rles_b, [0] * m), rtol=1e-15)


def test_iou_by_hand() -> None:
    half = np.array([[True, True, False, False]])
    middle = np.array([[False, True, True, False]])
    empty = np.zeros((1, 4), np.bool_)
    np.testing.assert_array_equal(
        pairwise_iou(np.stack([half, empty]), np.stack([half, middle, empty])), [[1, 1 / 3, 0], [0, 0, 0]]
    )


def test_iou_of_many_pixels_is_exact() -> None:
    """One pixel more than float32 can count."""
    a = np.ones((1, 2**12 + 1, 2**12), np.bool_)
    b = a.copy()
    b[0, 0, 0] = False
    pixels = a.size
    assert pairwise_iou(a, b)[0, 0] == (pixels - 1) / pixels


def test_iou_of_masks_of_different_sizes_is_refused() -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # the tests' own check of shapes would come first
    try:
        with pytest.raises(InputError, match=r"masks of one size, found \(2, 3\) and \(3, 2\)"):
            pairwise_iou(np.ones((1, 2, 3), np.bool_), np.ones((1, 3, 2), np.bool_))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
