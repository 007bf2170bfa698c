"""Geometry by hand, and against resizing the whole image first."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from partdistillation.data.transforms import (
    PADDING,
    Augmentation,
    augment,
    augmentation_rng,
    draw_augmentation,
    resize_longest,
)


def random_image(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_crop_flip_and_padding_by_hand() -> None:
    # 2 x 4 pixels at their own size, cut from (1, 1) on a 3 x 3 canvas, mirrored: one row of three pixels.
    image = np.arange(8, dtype=np.uint8).reshape(2, 4)[..., None].repeat(3, axis=2)
    masks = np.stack([image[..., 0] == 5, image[..., 0] == 0, image[..., 0] >= 6])
    result = augment(image, masks, Augmentation(height=2, width=4, top=1, left=1, flip=True, size=3))
    p = PADDING
    assert result.image[..., 0].tolist() == [[7, 6, 5], [p, p, p], [p, p, p]]
    assert result.masks[0].tolist() == [[False, False, True], [False] * 3, [False] * 3]
    assert not result.masks[1].any()
    assert result.areas.tolist() == [1, 0, 2]


def test_nearest_by_hand() -> None:
    # Centres of 3 target pixels over 5: 5/6, 15/6, 25/6 -> source pixels 0, 2, 4.
    mask = np.array([[[True, False, True, False, False]]])
    result = augment(np.zeros((1, 5, 3), np.uint8), mask, Augmentation(1, 3, 0, 0, False, 3))
    assert result.masks[0, 0].tolist() == [True, True, False]


def test_no_masks() -> None:
    result = augment(random_image(4, 4), np.zeros((0, 4, 4), bool), Augmentation(8, 8, 0, 0, False, 8))
    assert result.masks.shape == (0, 8, 8)
    assert result.areas.shape == (0,)


@settings(deadline=None, max_examples=150)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.integers(1, 32),
    step=st.integers(0, 2**64 - 1),
    scale_max=st.floats(0.1, 4.0),
)
def test_equals_resizing_everything_then_cutting(
    height: int, width: int, size: int, step: int, scale_max: float
) -> None:
    image = random_image(height, width)
    masks = image.transpose(2, 0, 1) > 128
    drawn = draw_augmentation(
        augmentation_rng(0, step, 1), height, width, size=size, scale_min=0.1, scale_max=scale_max, flip=0.5
    )
    result = augment(image, masks, drawn)

    rows = slice(drawn.top, drawn.top + size)
    columns = slice(drawn.left, drawn.left + size)
    step_x = -1 if drawn.flip else 1
    whole = np.asarray(Image.fromarray(image).resize((drawn.width, drawn.height), Image.Resampling.BILINEAR))
    expected = whole[rows, columns][:, ::step_x].astype(int)
    h, w = drawn.content
    assert expected.shape == (h, w, 3)
    # Pillow rounds its weights to fixed point, twice.
    assert np.abs(result.image[:h, :w] - expected).max() <= 2
    assert (result.image[h:] == PADDING).all()
    assert (result.image[:, w:] == PADDING).all()

    y = [math.floor((i + Fraction(1, 2)) * height / drawn.height) for i in range(drawn.height)]
    x = [math.floor((i + Fraction(1, 2)) * width / drawn.width) for i in range(drawn.width)]
    on_canvas = masks[:, y][:, :, x][:, rows, columns][:, :, ::step_x]
    np.testing.assert_array_equal(result.masks[:, :h, :w], on_canvas)
    assert not result.masks[:, h:].any()
    assert not result.masks[:, :, w:].any()
    assert result.areas.tolist() == result.masks.sum(axis=(1, 2)).tolist()


def test_mask_and_image_stay_aligned() -> None:
    mask = np.zeros((1, 60, 80), bool)
    mask[0, 20:40, 30:60] = True
    image = np.where(mask[0, ..., None], 255, 0).astype(np.uint8).repeat(3, axis=2)
    for sample in range(50):
        rng = augmentation_rng(3, 0, sample)
        drawn = draw_augmentation(rng, 60, 80, size=64, scale_min=0.5, scale_max=3.0, flip=0.5)
        result = augment(image, mask, drawn)
        h, w = drawn.content
        grey, inside = result.image[:h, :w, 0], result.masks[0, :h, :w]
        # A straight border is half grey, a corner a quarter; one source pixel of slack.
        assert (grey[inside] >= 45).all()
        assert (grey[~inside] <= 160).all()


def test_drawn_ranges() -> None:
    seen = [
        draw_augmentation(
            augmentation_rng(0, 0, i), 100, 200, size=50, scale_min=0.1, scale_max=2.0, flip=0.5
        )
        for i in range(2000)
    ]
    widths = np.array([a.width for a in seen])
    assert widths.min() == 5
    assert widths.max() == 100
    assert abs(widths.mean() - 52.5) < 2.5
    assert all(abs(a.height - a.width / 2) <= 1 for a in seen)
    assert all(0 <= a.left <= max(a.width - 50, 0) for a in seen)
    assert all(a.top == 0 for a in seen)
    assert abs(np.mean([a.flip for a in seen]) - 0.5) < 0.05
    large = [a for a in seen if a.width >= 90]
    assert {0} < {a.left for a in large}


@pytest.mark.parametrize(("probability", "expected"), [(0.0, False), (1.0, True)])
def test_flip_never_and_always(probability: float, expected: bool) -> None:
    for sample in range(20):
        rng = augmentation_rng(0, 0, sample)
        drawn = draw_augmentation(rng, 9, 9, size=9, scale_min=1.0, scale_max=1.0, flip=probability)
        assert drawn == Augmentation(9, 9, 0, 0, expected, 9)


def test_generator_is_a_function_of_its_key() -> None:
    assert augmentation_rng(1, 2, 3).random() == augmentation_rng(1, 2, 3).random()
    keys = [(seed, step, sample) for seed in range(4) for step in range(4) for sample in range(4)]
    assert len({augmentation_rng(*key).random() for key in keys}) == len(keys)
    # Known values: they must not change, or a resumed training would see other images.
    assert augmentation_rng(0, 0, 0).integers(0, 1000, 4).tolist() == [34, 11, 611, 241]


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [((10, 20), 40, (20, 40)), ((300, 200), 30, (30, 20)), ((1000, 3), 50, (50, 1))],
)
def test_resize_longest(shape: tuple[int, int], size: int, expected: tuple[int, int]) -> None:
    assert resize_longest(random_image(*shape), size).shape == (*expected, 3)


def test_resize_longest_at_its_size_changes_nothing() -> None:
    image = random_image(20, 30)
    np.testing.assert_array_equal(resize_longest(image, 30), image)
