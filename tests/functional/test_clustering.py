"""Clustering of an object class's part features."""

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from partdistillation.errors import ConfigError, InputError
from partdistillation.functional import clustering
from partdistillation.functional.clustering import cluster_features, cluster_stream

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


def blobs(count: int, *, sorted_by_blob: bool) -> np.ndarray:
    """Points around 8 centres of unequal sizes; sorted, every piece holds one blob only."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(8, 6)) * 2
    blob = rng.choice(8, count, p=np.arange(1, 9) / 36)
    points: np.ndarray = centres[blob] + rng.normal(size=(count, 6))
    return (points[np.argsort(blob, kind="stable")] if sorted_by_blob else points).astype(np.float16)


def inertia(points: np.ndarray, centroids: np.ndarray) -> float:
    squares = ((points[:, None].astype(np.float64) - centroids[None]) ** 2).sum(axis=2)
    return float(squares.min(axis=1).sum())


def test_few_points_are_clustered_at_once() -> None:
    points = blobs(500, sorted_by_blob=False)
    found = cluster_stream(lambda: iter(np.array_split(points, 7)), k=8, restarts=3, seed=1)
    assert np.array_equal(found, cluster_features(points, k=8, restarts=3, seed=1))


@pytest.mark.parametrize("sorted_by_blob", [False, True])
def test_a_stream_is_clustered_nearly_as_well_as_all_of_it(
    monkeypatch: pytest.MonkeyPatch, sorted_by_blob: bool
) -> None:
    monkeypatch.setattr(clustering, "SAMPLE", 300)
    points = blobs(20_000, sorted_by_blob=sorted_by_blob)
    alive, most = 0, 0

    def pieces() -> Iterator[np.ndarray]:
        nonlocal alive, most
        for first in range(0, len(points), 500):
            alive += 1
            most = max(most, alive)
            yield points[first : first + 500]
            alive -= 1

    found = cluster_stream(pieces, k=8, restarts=3, seed=1)
    sample = clustering.sampled(iter([points]), len(points), seed=1)
    assert len(sample) == 300
    everything = KMeans(8, n_init=3, random_state=1).fit(points.astype(np.float32)).inertia_
    of_sample = inertia(points, cluster_features(sample, k=8, restarts=3, seed=1))
    assert inertia(points, found) < everything * 1.02
    assert inertia(points, found) < of_sample
    assert most == 1
    assert np.array_equal(found, cluster_stream(pieces, k=8, restarts=3, seed=1))


def test_no_points_at_all() -> None:
    with pytest.raises(InputError, match="n >= 1"):
        cluster_stream(lambda: iter(()), k=8, restarts=3, seed=1)
