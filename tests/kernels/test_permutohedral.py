"""The lattice around points: geometry that can be checked by hand, and against the definition written out."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from partdistillation.errors import InputError
from partdistillation.kernels.permutohedral import Lattice


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


def elevated(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """The points in the hyperplane of coordinates that sum to zero, in lattice units (the paper's E)."""
    dim = points.shape[1]
    axis = np.arange(1, dim + 1)
    scaled = points * np.sqrt(2 / 3) * (dim + 1) / np.sqrt(axis * (axis + 1))
    basis = np.triu(np.ones((dim + 1, dim)))
    basis[axis, axis - 1] = -axis
    return np.asarray(scaled @ basis.T)


def simplex_by_definition(point: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vertices and weights of the simplex around an elevated point: of all orders, the one that fits."""
    size = len(point)
    nearest = np.round(point / size) * size
    while nearest.sum() > 0:  # too high by a multiple of d + 1: lower the axis that rounding raised most
        nearest[np.argmax(nearest - point)] -= size
    while nearest.sum() < 0:
        nearest[np.argmin(nearest - point)] += size
    for order in permutations(range(size)):
        vertices = np.tile(nearest, (size, 1))
        for remainder in range(1, size):
            vertices[remainder:] += 1
            vertices[remainder:, order[remainder - 1]] -= size
        weights = np.linalg.lstsq(np.vstack([vertices.T, np.ones(size)]), np.append(point, 1), rcond=None)[0]
        if weights.min() > -1e-6:
            return vertices, weights
    raise AssertionError("no simplex around the nearest vertex holds the point")


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_is_the_lattice_of_the_definition(dim: int) -> None:
    """Vertices and weights are those of the simplex around each point, neighbours are one step away."""
    points = random_points(0, 12, dim, 2.0)
    lattice = Lattice.around(points)
    numbers: dict[tuple[int, ...], int] = {}
    for row, point in enumerate(elevated(points)):
        vertices, weights = simplex_by_definition(point)
        np.testing.assert_allclose(lattice.weights[row], weights, atol=1e-4)
        for vertex, number in zip(vertices, lattice.vertices[row], strict=True):
            assert numbers.setdefault(tuple(np.round(vertex).astype(int)), int(number)) == number
    assert sorted(numbers.values()) == list(range(1, lattice.neighbors.shape[1]))
    for key, number in numbers.items():
        for direction in range(dim + 1):
            step = np.ones(dim + 1, int)
            step[direction] -= dim + 1
            for side, other in enumerate((key - step, key + step)):
                assert lattice.neighbors[direction, number, side] == numbers.get(tuple(other), 0)


def test_numbers_each_vertex_once_however_many_there_are() -> None:
    """Points far from each other share no vertex, points that are equal share all."""
    far_apart = (100 * np.indices((120, 120)).reshape(2, -1).T).astype(np.float32)
    lattice = Lattice.around(np.concatenate([far_apart, far_apart]))
    once, again = np.split(lattice.vertices, 2)
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(np.sort(once, axis=None), np.arange(1, once.size + 1))


@pytest.mark.parametrize("feature", [float("nan"), float("inf"), -1e6])
def test_refuses_features_that_float32_cannot_place(feature: float) -> None:
    with pytest.raises(InputError, match="standard deviation"):
        Lattice.around(np.array([[0.0], [feature]], np.float32))


def test_refuses_more_cells_than_numbers() -> None:
    with pytest.raises(InputError, match=r"2\^63 lattice cells.*larger standard deviations"):
        Lattice.around(np.array([[0.0] * 6, [9e4] * 6], np.float32))
