"""Polygons are the masks again, up to seams; the judge is OpenCV where it is installed."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from partdistillation.export.outlines import filled, outline


def mask_of(*rows: str) -> NDArray[np.bool_]:
    return np.array([[value == "#" for value in row] for row in rows])


SOLID = mask_of(".....", ".###.", ".###.", ".....")
RING = mask_of("#####", "#...#", "#...#", "#####")
APART = mask_of("##.##", "##.##")


@pytest.mark.parametrize(
    "mask", [SOLID, RING, np.ones((1, 1), bool), np.ones((1, 5), bool), mask_of("#.", ".#")]
)
def test_masks_come_back(mask: NDArray[np.bool_]) -> None:
    polygon = outline(mask)
    assert len(polygon) >= 3
    assert np.array_equal(filled(polygon, *mask.shape), mask)


def test_straight_sides_have_two_corners() -> None:
    assert sorted(map(tuple, outline(SOLID).tolist())) == [(1, 1), (1, 2), (3, 1), (3, 2)]


def test_pieces_are_joined_the_shortest_way() -> None:
    """One pixel of the gap is on the seam."""
    assert np.count_nonzero(filled(outline(APART), 2, 5) & ~APART) == 1


@settings(deadline=None)  # the first call compiles
@given(arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))).filter(lambda mask: mask.any()))
def test_every_pixel_is_kept(mask: NDArray[np.bool_]) -> None:
    """Seams add pixels, but none is lost: by OpenCV, as readers of YOLO draw them."""
    cv2: Any = pytest.importorskip("cv2", reason="OpenCV isn't installed")
    canvas = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(canvas, [outline(mask).reshape(-1, 1, 2).astype(np.int32)], 1)
    assert not np.any(mask & ~canvas.astype(bool))
