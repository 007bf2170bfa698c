"""K-means over a whole object class: stage 4's proposals, and the one-stage baseline's pixels."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from partdistillation.errors import ConfigError, InputError

SAMPLE = 50_000
"""Points that are clustered at once; with more of them, these give the start."""
PASSES = 10
"""Over all points, after the start: at most so many."""


def cluster_features(
    features: Float[np.ndarray, "n dim"], *, k: int, restarts: int, seed: int
) -> Float[np.ndarray, "clusters dim"]:
    """K-means centroids of the part features of one object class (supplement, section 2, before eq. 4).

    scikit-learn's k-means, in one thread, so that the centroids don't depend on the machine's load. They are
    float32. With at most `k` distinct features these are the centroids, in lexicographic order: a class with
    few parts gets fewer than `k` rows, and it is the caller's to say so.

    Raises:
        InputError: no features, or features that aren't finite.
        ConfigError: `k` or `restarts` below 1.
    """
    if k < 1 or restarts < 1:
        raise ConfigError(f"Clustering needs k >= 1 and restarts >= 1; found k={k}, restarts={restarts}")
    if features.ndim != 2 or len(features) == 0:
        raise InputError(
            f"Expected part features (n, dim) with n >= 1; found the shape {features.shape}: "
            "leave out the object classes that have no proposals"
        )
    features = features.astype(np.float32)
    if not np.isfinite(features).all():
        raise InputError("Expected finite part features; found NaN or infinity: check the proposal model")
    distinct = np.unique(features, axis=0)
    if len(distinct) <= k:
        return distinct
    with threadpool_limits(limits=1):
        clustering = KMeans(k, n_init=restarts, random_state=seed).fit(features)
    return np.asarray(clustering.cluster_centers_)


def cluster_stream(
    pieces: Callable[[], Iterator[Float[np.ndarray, "n dim"]]], *, k: int, restarts: int, seed: int
) -> Float[np.ndarray, "clusters dim"]:
    """K-means centroids of any number of points in constant memory; each call of `pieces` gives all again.

    Up to `SAMPLE` points: `cluster_features`. More: that of a random sample, then steps of k-means over all
    of them, a piece at a time. A mini-batch k-means, which moves centroids piece by piece, would need fewer
    passes, but depends on the order, and an object class's points come sorted by image.

    Raises:
        InputError: no points, or points that aren't finite.
        ConfigError: `k` or `restarts` below 1.
    """
    total = sum(len(piece) for piece in pieces())
    centroids = cluster_features(sampled(pieces(), total, seed), k=k, restarts=restarts, seed=seed)
    if total <= SAMPLE:
        return centroids
    for _ in range(PASSES):
        before, centroids = centroids, _moved(centroids, pieces())
        if np.array_equal(before, centroids):
            break
    return centroids


def _moved(
    centroids: Float[np.ndarray, "clusters dim"], pieces: Iterator[Float[np.ndarray, "n dim"]]
) -> Float[np.ndarray, "clusters dim"]:
    """One step: each centroid becomes the mean of its points; one without points stays."""
    sums, counts = np.zeros(centroids.shape), np.zeros(len(centroids))
    with threadpool_limits(limits=1):
        for piece in pieces:
            nearest = pairwise_distances_argmin(piece.astype(np.float32), centroids)
            np.add.at(sums, nearest, piece)
            counts += np.bincount(nearest, minlength=len(counts))
    means = sums / np.where(counts > 0, counts, 1)[:, None]
    return np.where(counts[:, None] > 0, means, centroids).astype(np.float32)


def sampled(
    pieces: Iterator[Float[np.ndarray, "n dim"]], total: int, seed: int
) -> Float[np.ndarray, "sample dim"]:
    """`SAMPLE` of `total` points at random, in their order; all, where there are no more."""
    if total == 0:
        return np.zeros((0, 1), np.float32)
    chosen = np.zeros(total, np.bool_)
    chosen[np.random.default_rng(seed).permutation(total)[:SAMPLE]] = True
    kept, first = [], 0
    for piece in pieces:
        kept.append(piece[chosen[first : first + len(piece)]])
        first += len(piece)
    return np.concatenate(kept)
