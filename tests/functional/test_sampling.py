"""Sampling against hand-computed values and PyTorch's `grid_sample`."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.functional import sampling
from partdistillation.functional.sampling import sample_features, sample_masks


def test_features_are_sampled_at_pixel_centres_and_between() -> None:
    features = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    points = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0.0, 0.25]]])
    # x first; outside the outermost centres the value fades to 0
    expected = [0.0, 1.0, 2.0, 1.5, 0.0]
    np.testing.assert_allclose(sample_features(features, points)[0, :, 0], expected, atol=1e-6)


@given(st.tuples(st.integers(1, 5), st.integers(1, 5)), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_sampling_agrees_with_grid_sample(size: tuple[int, int], channels: int) -> None:
    """Values and gradients, at corners of the map too."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, channels, *size, generator=generator).requires_grad_()
    points = torch.rand(2, 9, 2, generator=generator)
    points[:, :4] = torch.cartesian_prod(torch.arange(2.0), torch.arange(2.0))
    grid = 2 * points[:, None] - 1
    expected = torch.nn.functional.grid_sample(features, grid, align_corners=False)[:, :, 0]
    found = sample_features(features, points).mT
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(one.square().sum(), features)[0] for one in (found, expected)]
    torch.testing.assert_close(*gradients)
    masks = features[0] > 0
    at_once = sample_features(masks[None].float(), points[:1])[0].T
    torch.testing.assert_close(sample_masks(masks, points[0]), at_once)


def test_sampling_in_other_precisions() -> None:
    """Where PyTorch's own gradient is used."""
    features = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    points = torch.rand(2, 7, 2, generator=torch.Generator().manual_seed(1))
    single, double = sample_features(features, points), sample_features(features.double(), points.double())
    torch.testing.assert_close(single, double.float())
    gradients = [torch.autograd.grad(one.square().sum(), features)[0] for one in (single, double)]
    torch.testing.assert_close(*gradients)


def test_masks_are_sampled_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = torch.rand(5, 4, 6, generator=torch.Generator().manual_seed(0)) > 0.5
    points = torch.rand(7, 2, generator=torch.Generator().manual_seed(1))
    at_once = sample_masks(masks, points)
    monkeypatch.setattr(sampling, "_MOST_PIXELS", 50)
    torch.testing.assert_close(sample_masks(masks, points), at_once, rtol=0, atol=0)
    assert sample_masks(masks[:0], points).shape == (0, 7)
