"""How many clusters points have: as many as are found again in other points of the same kind.

Stability of k: cut the points into two halves at random, cluster each, give all points to the nearest
centroid of the one and of the other half, and compare the two partitions (Lange et al. 2004, "Stability-based
validation of clustering solutions"). The adjusted Rand index compares, as it is 0 for what chance gives
whatever k is.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from partdistillation.errors import InputError
from partdistillation.functional.clustering_scores import adjusted_rand_index
from partdistillation.functional.kmeans import kmeans_batch

SAMPLE = 1_000
"""More points than these are sampled, so that a class takes bounded time."""
REPEATS = 10
"""Times that the points are halved."""
POINTS_PER_CLUSTER = 10
"""With fewer points a cluster, five in a half, a number of clusters isn't tried: nothing could be said."""
TOLERANCE = 0.03
"""A stability less than this below the best counts as equal: a coarse cut is often found again a little more
surely than the finer clusters that it joins.
"""
_RESTARTS = 3


class Stability(NamedTuple):
    """What was measured, for each number of clusters that was tried; nothing where there were few points."""

    counts: tuple[int, ...]
    means: tuple[float, ...]
    """Adjusted Rand index: 1, the same clusters were found in both halves; 0, as good as chance."""
    errors: tuple[float, ...]
    """Standard error of each mean, over the halvings."""

    @property
    def chosen(self) -> int:
        """The most clusters that are as stable as the best, but for `TOLERANCE` or the best's standard error,
        whichever is larger; 1 if none was tried.
        """
        if not self.counts:
            return 1
        best = int(np.argmax(self.means))
        least = self.means[best] - max(self.errors[best], TOLERANCE)
        return max(count for count, mean in zip(self.counts, self.means, strict=True) if mean >= least)


def cluster_stability(points: Float[np.ndarray, "n dim"], *, most: int, seed: int) -> Stability:
    """Measure 2 to `most` clusters, with `POINTS_PER_CLUSTER` points and a distinct one for each at least.

    The same points in the same order and the same seed give the same numbers.

    Raises:
        InputError: no points, or points that aren't finite.
    """
    if not len(points) or not np.isfinite(points).all():
        raise InputError(
            f"Expected finite points, at least one; found {len(points)}, of which "
            f"{int(np.isfinite(points).all(axis=1).sum())} are finite"
        )
    random = np.random.default_rng(seed)
    points = points[random.permutation(len(points))[:SAMPLE]].astype(np.float32)
    distinct = len(np.unique(points, axis=0))
    counts = range(2, min(most, len(points) // POINTS_PER_CLUSTER, distinct) + 1)
    halves = [half for _ in range(REPEATS) for half in np.array_split(random.permutation(len(points)), 2)]
    agreements = [_agreements(torch.from_numpy(points), halves, count, seed) for count in counts]
    return Stability(
        tuple(counts),
        tuple(float(values.mean()) for values in agreements),
        tuple(float(values.std(ddof=1)) / REPEATS**0.5 for values in agreements),
    )


def _agreements(
    points: Float[Tensor, "n dim"], halves: list[Int[np.ndarray, " _"]], count: int, seed: int
) -> Float[np.ndarray, " repeat"]:
    """Of each halving, how far the two halves' clusters agree on all points."""
    seeds = [seed * len(halves) + place for place in range(len(halves))]
    clusterings = kmeans_batch([points[half] for half in halves], count, restarts=_RESTARTS, seeds=seeds)
    labels = np.stack([_nearest(points, clustering.centroids) for clustering in clusterings])
    tables = np.zeros((len(clusterings) // 2, count, count), np.int64)
    for table, first, second in zip(tables, labels[::2], labels[1::2], strict=True):
        np.add.at(table, (first, second), 1)
    return adjusted_rand_index(tables)


def _nearest(
    points: Float[Tensor, "n dim"], centroids: Float[Tensor, "cluster dim"]
) -> Int[np.ndarray, " n"]:
    # |x - c|^2 without |x|^2: a product in place of differences, which would be n x cluster x dim numbers.
    distances = centroids.square().sum(dim=1) - 2 * points @ centroids.T
    labels: Int[np.ndarray, " n"] = distances.argmin(dim=1).numpy()
    return labels
