"""Polygons in every spelling, those that cover nothing, shares for pixels, and outlines that are too long."""

import numpy as np
import pytest

from partdistillation.errors import InputError
from partdistillation.functional.masks import area, encoded_from_coco, from_coco
from partdistillation.functional.polygons import LONGEST_OUTLINE, merged_polygons

SQUARE = [2, 1, 6, 1, 6, 4, 2, 4]
"""12 pixels of an image of 6 x 8."""


@pytest.mark.parametrize(
    "spelling",
    [
        SQUARE,  # the numbers of one polygon: VIA
        [float(number) for number in SQUARE],
        [[2, 1], [6, 1], [6, 4], [2, 4]],  # its points
        [[[2, 1], [6, 1], [6, 4], [2, 4]]],
        [SQUARE, [3, 3, 5, 5], [3, 3], []],  # with a line, a point and nothing besides
        [[3, 3, 5, 5], SQUARE],
    ],
)
def test_every_spelling_is_the_same_mask(spelling: list[object]) -> None:
    expected = np.zeros((6, 8), np.bool_)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(from_coco(spelling, 6, 8), expected)


def test_float_counts() -> None:
    np.testing.assert_array_equal(
        from_coco({"size": [2.0, 2.0], "counts": [1.0, 2.0, 1.0]}, 2, 2), [[False, True], [True, False]]
    )


@pytest.mark.parametrize(
    "polygons", [[[0.1, 0.1, 0.9, 0.1, 0.9, 0.8]], [[0, 0, 1, 0, 1, 1, 0, 1], [0.5, 0, 1.0001, 0, 1, 1]]]
)
def test_shares_of_the_image_are_noticed(polygons: list[list[float]]) -> None:
    with pytest.raises(InputError, match=r"between 0 and 1.*multiply x by its width"):
        from_coco(polygons, 100, 100)


def test_a_pixel_in_the_corner_is_no_share() -> None:
    corner = encoded_from_coco([[0, 0, 1, 0, 1, 1, 0, 1]], 100, 100)
    assert area(*corner) == 1


def test_an_outline_that_fits_no_image_is_refused_before_it_is_drawn() -> None:
    zigzag = [number for row in range(2_000) for number in (0 if row % 2 else 8_000, 4 * row)]
    with pytest.raises(
        InputError, match=rf"at most {LONGEST_OUTLINE:,} pixels.*found 16,0\d\d,\d\d\d in 1 p"
    ):
        merged_polygons([zigzag], 8_000, 8_000)
    with pytest.raises(InputError, match="at most 100,000 pixels"):
        merged_polygons([SQUARE] * 5_000, 6, 8)


def test_around_every_second_pixel_is_drawn() -> None:
    """The longest outlines there can be: those of single pixels, apart."""
    places = [(x, y) for x in range(0, 100, 2) for y in range(0, 100, 2)]
    pixels = [[x, y, x + 1, y, x + 1, y + 1, x, y + 1] for x, y in places]
    expected = np.zeros((100, 100), np.bool_)
    expected[::2, ::2] = True
    np.testing.assert_array_equal(from_coco(pixels, 100, 100), expected)
