"""Filtering against the Gaussian written out, and the update of mean field."""

import numpy as np
import pytest

from partdistillation.kernels.mean_field import Kernel, _exp, filtered, mean_field
from partdistillation.kernels.permutohedral import Lattice


def test_two_lattice_points_in_one_dimension_by_hand() -> None:
    """In 1-d the lattice is the even and odd multiples of 1/scale, scale = 2 sqrt(2/3) / sqrt(2) = 1.1547.

    Points on two neighbouring vertices, values 1 and 0: both blurs by (1/2, 1, 1/2) run along the one line,
    but only over vertices that some point touches.
    """
    spacing = np.sqrt(2) / (2 * np.sqrt(2 / 3))
    lattice = Lattice.around(np.array([[0.0], [spacing]], np.float32))
    found = filtered(lattice, np.array([1.0, 0.0], np.float32))
    # (1, 0) -> (1, 1/2) -> (1 + 1/4, 1/2 + 1/2).
    np.testing.assert_allclose(found, [1.25, 1.0], atol=1e-5)


@pytest.mark.parametrize(("dim", "bound"), [(1, 0.02), (2, 0.04), (3, 0.06)])
def test_filters_like_the_gaussian(dim: int, bound: float) -> None:
    points = np.random.default_rng(0).uniform(0, 6, (3000, dim)).astype(np.float32)
    values = np.sin(points[:, 0]) + 1
    kernel = np.exp(-0.5 * ((points[:, None] - points[None]) ** 2).sum(axis=-1))
    total = kernel.sum(axis=1)
    expected = (kernel / np.sqrt(total[:, None] * total)) @ values
    found = Kernel.over(Lattice.around(points))
    assert np.abs(filtered(found.lattice, values) - expected).mean() < bound


def test_points_far_apart_keep_their_values() -> None:
    points = (100 * np.indices((40, 40)).reshape(2, -1).T).astype(np.float32)
    values = np.arange(1600, dtype=np.float32)
    kernel = Kernel.over(Lattice.around(points))
    np.testing.assert_allclose(filtered(kernel.lattice, values), values, rtol=1e-4)
    np.testing.assert_allclose(kernel.sums, 1, rtol=1e-4)


@pytest.mark.parametrize("num_labels", [2, 5, 6, 11])
def test_is_the_update_written_out(num_labels: int) -> None:
    """Q = softmax(unary + sum of weight x filtered Q), over all labels, from the softmax of the unary."""
    rng = np.random.default_rng(num_labels)
    kernels = [
        (Kernel.over(Lattice.around(rng.normal(0, 2, (1300, dim)).astype(np.float32))), weight)
        for dim, weight in ((2, 3.0), (5, 10.0))
    ]
    labels = rng.integers(0, num_labels, 1300, dtype=np.int32)
    unary = 2.0 * (labels[:, None] == np.arange(num_labels))
    expected = np.exp(unary) / np.exp(unary).sum(axis=1, keepdims=True)
    for _ in range(2):
        given = np.ascontiguousarray(expected.T, dtype=np.float32)
        messages = sum(
            weight * np.stack([filtered(kernel.lattice, one) for one in given], axis=1)
            for kernel, weight in kernels
        )
        expected = np.exp(unary + messages)
        expected /= expected.sum(axis=1, keepdims=True)
    found = mean_field(labels, num_labels, 2.0, kernels, 2)
    np.testing.assert_allclose(found.T, expected, atol=1e-5)


def test_a_bonus_beyond_floats_exponents_is_certain() -> None:
    kernel = Kernel.over(Lattice.around(np.zeros((2, 1), np.float32)))
    found = mean_field(np.array([1, 0], np.int32), 3, 1000.0, [(kernel, 0.0), (kernel, 1.0)], 1)
    np.testing.assert_array_equal(found, [[0, 1], [1, 0], [0, 0]])


def test_exponential_of_every_scale() -> None:
    exponents = np.linspace(-87, 0, 5001, dtype=np.float32)
    found = np.array([_exp(one) for one in exponents])
    np.testing.assert_allclose(found, np.exp(exponents.astype(np.float64)), rtol=2e-7)
    assert _exp(np.float32(-np.inf)) == _exp(np.float32(-90.0)) == 0
