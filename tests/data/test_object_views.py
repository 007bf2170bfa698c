"""Views of objects: where a pixel lands, what is visible, and what chance decides."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partdistillation.data.object_views import (
    MARGIN,
    POINTS,
    SHIFT,
    ZOOM,
    ObjectCrop,
    ObjectViews,
    Placement,
    common_points,
    cut_view,
    draw_placement,
)
from partdistillation.data.transforms import PADDING, augmentation_rng
from partdistillation.errors import InputError
from partdistillation.functional.masks import encode

Array = np.ndarray[Any, Any]


class Plain(np.random.Generator):
    """A generator that leaves colours as they are."""

    def uniform(self, low: Any = 0, high: Any = 1, size: Any = None) -> Any:  # noqa: ARG002
        return 1.0 if size is None else np.ones(size)


PLAIN = Plain(np.random.PCG64(0))


def noise(height: int, width: int) -> Array:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def box_mask(height: int, width: int, top: int, left: int, bottom: int, right: int) -> Array:
    mask = np.zeros((height, width), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def placed(matrix: Sequence[Sequence[float]], centre: Sequence[float]) -> Placement:
    return Placement(np.array(matrix, np.float64), np.array(centre, np.float64))


# ---------------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[8, 0], [0, 8]], lambda image: image),
        ([[-8, 0], [0, 8]], lambda image: image[:, ::-1]),
        ([[0, -8], [8, 0]], np.rot90),
        ([[4, 0], [0, 4]], None),
    ],
    ids=["whole", "mirrored", "turned", "zoomed"],
)
def test_a_view_by_hand(matrix: Any, expected: Any) -> None:
    image, mask = noise(16, 16), noise(16, 16)[..., 0] > 128
    pixels, inside = cut_view(image, mask, placed(matrix, [8, 8]), 16, PLAIN)
    if expected is None:  # the mask's middle, each pixel twice; the image is smooth between its pixels
        np.testing.assert_array_equal(inside, mask[4:12, 4:12].repeat(2, axis=0).repeat(2, axis=1))
        middle = pixels.reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))
        assert np.corrcoef(middle.ravel(), image[4:12, 4:12].ravel())[0, 1] > 0.95
    else:
        np.testing.assert_array_equal(pixels, expected(image))
        np.testing.assert_array_equal(inside, expected(mask))


def test_what_a_view_shrinks_is_averaged() -> None:
    blocks = noise(8, 8)
    image = blocks.repeat(3, axis=0).repeat(3, axis=1)
    image[1::3, 1::3] = 255 - image[1::3, 1::3]  # what reading single pixels would return
    pixels, _ = cut_view(image, np.ones((24, 24), np.bool_), placed([[12, 0], [0, 12]], [12, 12]), 8, PLAIN)
    expected = image.reshape(8, 3, 8, 3, 3).mean(axis=(1, 3))
    assert np.abs(pixels - expected).max() <= 1


def test_beside_the_image_a_view_is_grey_and_outside_the_mask() -> None:
    image, mask = np.full((8, 8, 3), 255, np.uint8), np.ones((8, 8), np.bool_)
    pixels, inside = cut_view(image, mask, placed([[4, 0], [0, 4]], [8, 4]), 8, PLAIN)
    assert (pixels[:, 4:] == PADDING).all()
    assert not inside[:, 4:].any()
    assert (pixels[:, :3] == 255).all()  # the column beside is between both
    assert inside[:, :4].all()


def test_points_are_those_that_both_views_have() -> None:
    mask = box_mask(8, 16, 0, 0, 8, 16)
    left, right = placed([[6, 0], [0, 4]], [6, 4]), placed([[6, 0], [0, 4]], [10, 4])
    points, visible = common_points(mask, [left, right], np.random.default_rng(0))
    assert points.shape == (2, POINTS, 2)
    assert visible.all()  # half of the 400 candidates are in columns 4 to 11
    columns = points[..., 0] * 6 + np.array([[6], [10]])
    np.testing.assert_allclose(columns[0], columns[1], atol=1e-5)
    assert set(np.round(columns[0] - 0.5, 4)) == set(range(4, 12))
    assert set(np.round(points[0, :, 1] * 4 + 3.5, 4)) == set(range(8))


def test_points_beyond_a_view_are_not_visible_and_come_last() -> None:
    mask = box_mask(8, 100, 0, 0, 8, 100)  # 8 of its 100 columns are in both views
    left, right = placed([[8, 0], [0, 4]], [8, 4]), placed([[8, 0], [0, 4]], [16, 4])
    points, visible = common_points(mask, [left, right], np.random.default_rng(0))
    inside = (np.abs(points) < 1).all(axis=(0, 2))
    np.testing.assert_array_equal(visible, inside)
    assert 0 < visible.sum() < POINTS
    assert visible[: visible.sum()].all()
    _, none = common_points(mask, [left, placed([[8, 0], [0, 4]], [80, 4])], np.random.default_rng(0))
    assert not none.any()


# ---------------------------------------------------------------------- as drawn


def blob(height: int, width: int, row: int, column: int, sigma: float) -> Array:
    """A bright spot on black, its middle at the centre of a pixel."""
    y, x = np.mgrid[:height, :width]
    light = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2))
    return np.repeat((255 * light)[..., None], 3, axis=2).round().astype(np.uint8)


def middle_of_light(pixels: Array) -> Array:
    """(x, y) of the bright spot, in pixels from the view's corner."""
    light = pixels.astype(np.float64).sum(axis=2)
    light = np.clip(light - light.max() / 4, 0, None)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    sums = [(light * (x + 0.5)).sum(), (light * (y + 0.5)).sum()]
    return np.asarray(sums / light.sum())


@pytest.mark.parametrize("size", [48, 160], ids=["shrunk", "enlarged"])
def test_a_bright_pixel_lands_where_the_points_say(size: int) -> None:
    mask, shown = box_mask(600, 640, 240, 230, 360, 410), 0  # far from the borders: no grey comes in
    for seed in range(16):
        rng = np.random.default_rng(seed)
        row, column = int(rng.integers(270, 330)), int(rng.integers(290, 350))
        image, spot = blob(600, 640, row, column, 7.0), box_mask(600, 640, row, column, row + 1, column + 1)
        placements = [draw_placement(mask, rng) for _ in range(2)]
        points, _ = common_points(spot, placements, rng)
        for placement, landed in zip(placements, points, strict=True):
            assert (landed == landed[0]).all()  # the mask has but this pixel
            pixels, _ = cut_view(image, mask, placement, size, PLAIN)
            expected = (landed[0] + 1) / 2 * size
            if (np.abs(expected - size / 2) < 0.3 * size).all():  # the whole spot is in the view
                np.testing.assert_allclose(middle_of_light(pixels), expected, atol=0.2)
                shown += 1
    assert shown > 16


def test_placements_are_as_far_apart_as_said() -> None:
    mask, rng = box_mask(200, 200, 80, 60, 120, 140), np.random.default_rng(0)
    drawn = [draw_placement(mask, rng) for _ in range(400)]
    sides = np.array([2 * math.sqrt(abs(np.linalg.det(one.matrix))) for one in drawn])
    zooms = 80 * MARGIN / sides
    assert ZOOM[0] <= zooms.min() < 1.02 * ZOOM[0]
    assert 0.98 * ZOOM[1] < zooms.max() <= ZOOM[1] + 1e-9
    shifts = np.array([(one.centre - [100, 100]) / 80 for one in drawn])
    assert 0.95 * SHIFT < np.abs(shifts).max() <= SHIFT
    mirrored = np.mean([np.linalg.det(one.matrix) < 0 for one in drawn])
    assert 0.4 < mirrored < 0.6


# ---------------------------------------------------------------------- samples


@pytest.fixture
def views(tmp_path: Path) -> ObjectViews:
    mask = box_mask(60, 80, 10, 20, 50, 60)
    Image.fromarray(noise(60, 80)).save(tmp_path / "a.png")
    return ObjectViews(tmp_path, [ObjectCrop("a.png", 60, 80, encode(mask), 7)], 64)


def test_an_example_is_two_views_with_their_common_points(views: ObjectViews) -> None:
    found = views.example(0, augmentation_rng(0, 1, 2))
    assert found.images.shape == (2, 64, 64, 3)
    assert found.masks.shape == (2, 64, 64)
    assert found.label == 7
    assert found.visible.any()
    for mask, points in zip(found.masks, found.points, strict=True):
        columns, rows = ((points[found.visible] + 1) / 2 * 64).astype(int).T
        assert mask[rows, columns].mean() > 0.95  # but for the border, whose pixels a view rounds


def test_an_example_is_a_function_of_its_generator(views: ObjectViews) -> None:
    first, again, other = (views.example(0, augmentation_rng(0, 1, sample)) for sample in (2, 2, 3))
    for one, two in zip(first[:4], again[:4], strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first.images != other.images).any()
    assert (first.images[0] != first.images[1]).any()


def test_an_image_of_another_size_is_named(views: ObjectViews) -> None:
    Image.fromarray(noise(50, 80)).save(views.root / "a.png")
    with pytest.raises(InputError, match=r"a\.png: expected 80 x 60 pixels .* found 80 x 50; the file has"):
        views.example(0, augmentation_rng(0, 0, 0))


def test_no_objects_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected at least one object .*min_side"):
        ObjectViews(tmp_path, [], 64)
