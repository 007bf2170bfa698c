"""Rows added to a table, by hand and on several threads."""

import numpy as np

from partdistillation.kernels.scatter import scatter


def test_scatter_by_hand() -> None:
    rows = np.array([[[1, 2], [10, 20]]], np.float32)
    places, weights = np.array([[[0, 2], [2, 2]]]), np.array([[[1, 0.5], [1, 1]]], np.float32)
    found = scatter(rows, places, weights, 4, threads=1)
    np.testing.assert_array_equal(found, [[[1, 2], [0, 0], [20.5, 41], [0, 0]]])


def test_threads_change_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((5, 30, 7), np.float32)
    places, weights = rng.integers(0, 9, (5, 30, 4)), rng.random((5, 30, 4), np.float32)
    results = {scatter(rows, places, weights, 9, threads=threads).tobytes() for threads in (1, 2, 5, 100)}
    assert len(results) == 1
