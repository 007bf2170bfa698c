"""Masks in the frames of their objects."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.functional.aligned_masks import GRID, in_object_frame, mean_overlap


def rectangle(height: int, width: int, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((height, width), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 4), st.integers(1, 4))
def test_place_and_size_of_the_object_do_not_count(x: int, y: int, wide: int, high: int) -> None:
    """The right half of the top quarter, wherever the object lies and however it is stretched."""
    height, width = 8 * high, 4 * wide
    mask = rectangle(60, 60, x + width // 2, y, x + width, y + height // 4)
    found = in_object_frame(mask, (x, y, x + width, y + height))
    assert np.array_equal(found, rectangle(GRID, GRID, GRID // 2, 0, GRID, GRID // 4))


def test_overlap_is_the_mean_over_pairs() -> None:
    """Of 16 columns, 8 of them and none: IoUs .5, 0 and 0."""
    masks = np.stack([rectangle(4, 20, 2, 0, columns + 2, 4) for columns in (16, 8, 0)])
    masks[1] = rectangle(4, 20, 6, 0, 14, 4)
    assert mean_overlap(masks) == pytest.approx(0.5 / 3)


def test_mirrored_masks_overlap() -> None:
    left, right = rectangle(8, 8, 0, 0, 2, 4), rectangle(8, 8, 6, 0, 8, 4)
    assert mean_overlap(np.stack([left, right])) == 1
    below = rectangle(8, 8, 0, 4, 2, 8)  # not upside down
    assert mean_overlap(np.stack([left, below])) == 0


def test_a_single_mask_overlaps_nothing() -> None:
    assert np.isnan(mean_overlap(np.ones((1, 4, 4), np.bool_)))
    assert np.isnan(mean_overlap(np.ones((0, 4, 4), np.bool_)))
