"""The lattice: geometry that can be checked by hand, and filtering against the Gaussian written out."""

from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from partdistillation.errors import InputError
from partdistillation.functional import permutohedral
from partdistillation.functional.permutohedral import Lattice, softmax


def random_points(seed: int, count: int, dim: int, spread: float) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, spread, (count, dim)).astype(np.float32)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 6), st.sampled_from([0.1, 1.0, 30.0]))
def test_weights_are_barycentric(seed: int, dim: int, spread: float) -> None:
    lattice = Lattice.around(random_points(seed, 50, dim, spread))
    assert lattice.vertices.shape == lattice.weights.shape == (50, dim + 1)
    assert lattice.vertices.min() >= 1
    assert lattice.weights.min() >= -1e-3
    np.testing.assert_allclose(lattice.weights.sum(axis=1), 1, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_neighbors_are_mutual(seed: int, dim: int) -> None:
    neighbors = Lattice.around(random_points(seed, 50, dim, 1.0)).neighbors
    assert neighbors.shape[0] == dim + 1
    for before, after in ((0, 1), (1, 0)):
        direction, vertex = np.nonzero(neighbors[:, :, before])
        back = neighbors[direction, neighbors[direction, vertex, before], after]
        np.testing.assert_array_equal(back, vertex)


def test_two_lattice_points_in_one_dimension_by_hand() -> None:
    """In 1-d the lattice is the even and odd multiples of 1/scale, scale = 2 sqrt(2/3) / sqrt(2) = 1.1547.

    Points on two neighbouring vertices, values 1 and 0: both blurs by (1/2, 1, 1/2) run along the one line,
    but only over vertices that some point touches.
    """
    spacing = np.sqrt(2) / (2 * np.sqrt(2 / 3))
    lattice = Lattice.around(np.array([[0.0], [spacing]], np.float32))
    out = np.zeros((2, 1), np.float32)
    lattice.accumulate(np.array([[1.0], [0.0]], np.float32), 2.0, out)
    # (1, 0) -> (1, 1/2) -> (1 + 1/4, 1/2 + 1/2), times the factor 2.
    np.testing.assert_allclose(out[:, 0], [2.5, 2.0], atol=1e-5)


@pytest.mark.parametrize(("dim", "bound"), [(1, 0.02), (2, 0.04), (3, 0.06)])
def test_filters_like_the_gaussian(dim: int, bound: float) -> None:
    points = np.random.default_rng(0).uniform(0, 6, (3000, dim)).astype(np.float32)
    values = np.sin(points[:, :1]) + 1
    kernel = np.exp(-0.5 * ((points[:, None] - points[None]) ** 2).sum(axis=-1))
    total = kernel.sum(axis=1)
    expected = (kernel / np.sqrt(total[:, None] * total)) @ values
    out = np.zeros_like(values)
    Lattice.around(points).normalized().accumulate(values, 1.0, out)
    assert np.abs(out - expected).mean() < bound


def test_finds_all_vertices_of_many_far_apart_points() -> None:
    """Each point far from all others keeps its own value: the hash table grows without losing any."""
    points = (100 * np.indices((40, 40)).reshape(2, -1).T).astype(np.float32)
    values = np.arange(1600, dtype=np.float32)[:, None]
    out = np.zeros_like(values)
    lattice = Lattice.around(points)
    assert lattice.neighbors.shape[1] > 2048
    lattice.normalized().accumulate(values, 1.0, out)
    np.testing.assert_allclose(out, values, rtol=1e-4)


@pytest.mark.parametrize("feature", [float("nan"), float("inf"), -1e6])
def test_refuses_features_that_float32_cannot_place(feature: float) -> None:
    with pytest.raises(InputError, match="standard deviation"):
        Lattice.around(np.array([[0.0], [feature]], np.float32))


def test_softmax_of_large_logits() -> None:
    logits = np.array([[1000.0, 1000.0, -1000.0], [0.0, np.log(3.0), -np.inf]], np.float32)
    out = np.empty_like(logits)
    softmax(logits, out)
    np.testing.assert_allclose(out, [[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]], rtol=1e-6)


def test_compiles_without_a_place_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def without_cache(*args: Any, cache: bool = False) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*args)

    monkeypatch.setattr(numba, "njit", without_cache)

    @permutohedral._compiled
    def double(value: int) -> int:
        return 2 * value

    assert double(21) == 42
