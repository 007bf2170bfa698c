"""Clustering of an object class's part features."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from partdistillation.errors import ConfigError, InputError
from partdistillation.functional.clustering import cluster_features

FEATURES = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)


def test_centroids_are_scikit_learns() -> None:
    centroids = cluster_features(FEATURES, k=8, restarts=10, seed=0)
    assert centroids.shape == (8, 16)
    assert centroids.dtype == np.float32
    expected = KMeans(8, n_init=10, random_state=0).fit(FEATURES).cluster_centers_
    np.testing.assert_allclose(centroids, expected, rtol=1e-5)


def test_equal_bit_by_bit_over_threads() -> None:
    results = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            before = threadpool_info()
            results.append(cluster_features(FEATURES, k=8, restarts=3, seed=1))
            assert threadpool_info() == before
    assert np.array_equal(results[0], results[1])


def test_half_precision_as_stored() -> None:
    half = FEATURES.astype(np.float16)
    expected = cluster_features(half.astype(np.float32), k=4, restarts=2, seed=0)
    assert np.array_equal(cluster_features(half, k=4, restarts=2, seed=0), expected)


@pytest.mark.parametrize("k", [3, 5])
def test_at_most_k_distinct_features_are_the_centroids(k: int) -> None:
    distinct = np.array([[0, 1], [0, 2], [5, 0]], dtype=np.float32)
    centroids = cluster_features(distinct[[2, 0, 0, 1, 2]], k=k, restarts=2, seed=0)
    assert np.array_equal(centroids, distinct)


@pytest.mark.parametrize(("k", "restarts"), [(0, 1), (1, 0)])
def test_refuses_settings(k: int, restarts: int) -> None:
    with pytest.raises(ConfigError, match="k >= 1"):
        cluster_features(FEATURES, k=k, restarts=restarts, seed=0)


def test_refuses_what_it_cannot_cluster() -> None:
    with pytest.raises(InputError, match="n >= 1"):
        cluster_features(FEATURES[:0], k=2, restarts=1, seed=0)
    with pytest.raises(InputError, match="finite"):
        cluster_features(np.array([[0.0], [np.nan]]), k=2, restarts=1, seed=0)
