"""Thin-plate splines against SciPy's, and what warping with them does to an image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from partdistillation.functional.thin_plate_splines import (
    inside,
    pixel_centres,
    regular_points,
    resample,
    spline_weights,
)


def test_points_by_hand() -> None:
    assert regular_points(2).tolist() == [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    assert regular_points(3)[4].tolist() == [0, 0]
    assert pixel_centres(1, 2).tolist() == [[[-0.5, 0], [0.5, 0]]]
    assert pixel_centres(2, 1).tolist() == [[[0, -0.5]], [[0, 0.5]]]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 30), st.integers(1, 3))
def test_scipy_draws_the_same_spline(seed: int, count: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    control, places = rng.uniform(-1, 1, (count, 2)), rng.uniform(-1.5, 1.5, (40, 2))
    values = rng.normal(size=(count, channels))
    expected = RBFInterpolator(control, values, kernel="thin_plate_spline")(places)
    weights = spline_weights(torch.from_numpy(control), torch.from_numpy(places))
    scale = np.abs(expected).max()  # points that nearly coincide make wild splines
    np.testing.assert_allclose(weights @ torch.from_numpy(values), expected, atol=1e-6 * scale)


def test_scipy_agrees_in_single_precision_on_the_grid_that_is_used() -> None:
    control, pixels = regular_points(5), pixel_centres(7, 9)
    values = torch.randn(25, 2, generator=torch.Generator().manual_seed(0))
    expected = RBFInterpolator(control, values, kernel="thin_plate_spline")(pixels.reshape(-1, 2))
    found = spline_weights(control, pixels) @ values
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.reshape(-1, 2), expected, atol=1e-5)


def test_a_spline_goes_through_its_points() -> None:
    control = regular_points(4)
    torch.testing.assert_close(spline_weights(control, control), torch.eye(16), atol=1e-5, rtol=0)


def test_affine_deformations_are_exact() -> None:
    control, pixels = regular_points(5), pixel_centres(6, 8)
    matrix, shift = torch.tensor([[0.9, -0.2], [0.3, 1.1]]), torch.tensor([0.1, -0.4])
    grid = spline_weights(control, pixels) @ (control @ matrix.T + shift)
    torch.testing.assert_close(grid, pixels @ matrix.T + shift, atol=1e-5, rtol=0)


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(1))


def warped(picture: Tensor, targets: Tensor) -> Tensor:
    weights = spline_weights(regular_points(5), pixel_centres(*picture.shape[2:]))
    return resample(picture, (weights @ targets)[None])


def test_the_identity_changes_nothing(picture: Tensor) -> None:
    torch.testing.assert_close(warped(picture, regular_points(5)), picture, atol=1e-4, rtol=0)


def test_a_translation_by_whole_pixels_is_exact(picture: Tensor) -> None:
    """Two pixels of 12 to the right, one of 8 down: what lies beside the image is its edge."""
    found = warped(picture, regular_points(5) - torch.tensor([2 * 2 / 12, 2 / 8]))
    torch.testing.assert_close(found[..., 1:, 2:], picture[..., :-1, :-2], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[..., 1:, 0], picture[..., :-1, 0], atol=1e-4, rtol=0)


def test_what_lies_inside() -> None:
    grid = torch.tensor([[[[0.0, 0.0], [1.0, -1.0], [1.1, 0.0], [0.0, -1.1]]]])
    assert inside(grid).tolist() == [[[[1, 1, 0, 0]]]]


def test_gradients_reach_the_targets(picture: Tensor) -> None:
    targets = regular_points(5).requires_grad_()
    warped(picture, targets).square().sum().backward()  # type: ignore[no-untyped-call]
    assert targets.grad is not None
    assert targets.grad.abs().max() > 0
