"""Masks put back into the image, by hand and against PyTorch's grid_sample."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.objects.detic.masks import paste


def test_a_full_mask_fills_its_box_to_half_a_pixel() -> None:
    (mask,) = paste(torch.tensor([[2.0, 1.0, 6.0, 4.0]]), torch.ones(1, 28, 28), 6, 8)
    expected = np.zeros((6, 8), dtype=bool)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(mask, expected)


def test_the_left_half_of_a_box() -> None:
    small = torch.zeros(1, 4, 4)
    small[0, :, :2] = 1
    (mask,) = paste(torch.tensor([[0.0, 0.0, 8.0, 8.0]]), small, 8, 8)
    expected = np.zeros((8, 8), dtype=bool)
    expected[:, :4] = True
    np.testing.assert_array_equal(mask, expected)


def test_a_box_beyond_the_image_and_one_outside() -> None:
    boxes = torch.tensor([[-4.0, -4.0, 4.0, 4.0], [20.0, 20.0, 30.0, 30.0]])
    inside, outside = paste(boxes, torch.ones(2, 28, 28), 6, 8)
    assert inside[:4, :4].all()
    assert inside.sum() == 16
    assert not outside.any()


def test_none() -> None:
    assert list(paste(torch.zeros(0, 4), torch.zeros(0, 28, 28), 6, 8)) == []


side = st.floats(-10, 60, width=32)


@given(side, side, side, side, st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_it_is_bilinear_sampling(x0: float, y0: float, x1: float, y1: float, seed: int) -> None:
    height, width = 40, 50
    box = torch.tensor([min(x0, x1), min(y0, y1), max(x0, x1) + 0.5, max(y0, y1) + 0.5])
    small = torch.rand(1, 14, 14, generator=torch.Generator().manual_seed(seed))
    (mask,) = paste(box[None], small, height, width)
    x = (torch.arange(width) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
    y = (torch.arange(height) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
    grid = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], dim=-1)[None]
    judge = torch.nn.functional.grid_sample(small[None], grid, align_corners=False)[0, 0]
    clear = ((judge - 0.5).abs() > 1e-3).numpy()
    np.testing.assert_array_equal(mask[clear], (judge >= 0.5).numpy()[clear])
    assert clear.mean() > 0.9
