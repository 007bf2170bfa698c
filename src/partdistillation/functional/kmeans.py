"""Euclidean k-means in torch, all restarts at once, with the same random draws on every device.

Starts are greedy k-means++, as scikit-learn's. The descent counts each point's pull on its own centroid
(Hartigan), which ends in better optima than Lloyd's where clusters have some hundred points or fewer.

Where points have many channels, the restarts run in the few directions in which the points spread most,
which hold nearly all that tells clusters apart. Those that lag behind after a while end there, and the
best one goes on with all channels, so that the result is a fixed point of the whole problem.

The draws are a function of (seed, restart, draw) alone, and on a CPU the arithmetic runs in one thread,
since the order in which a matrix product is summed changes with the number of threads. So the result
depends on (points, k, restarts, seed) and neither on what else runs nor on how the work is divided.
Concurrency is for processes: the number of threads is a setting of the whole process.

A GPU needs larger products than one object's: `kmeans_batch` takes several at once, padded to one length.
How a product is rounded may then depend on the batch, and with it a label where two centroids tie.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from partdistillation.errors import ConfigError, InputError

MAX_ITERATIONS = 300
TOLERANCE = 3e-5
"""A restart ends when an iteration lowers its inertia by no more than this share."""
TIE = 1e-6
"""Restarts whose inertia differs by less than this share count as equal: rounding must not choose."""
PROBATION = 5
"""After so many iterations, a restart ends whose inertia is above the lowest by more than the share LAG."""
LAG = 0.02
LEAST_DIRECTIONS = 16
"""Principal directions in which the restarts run, or 4 a cluster; more find nothing better."""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class Clustering(NamedTuple):
    """The best of the restarts: `inertia` is the sum of squared distances to the assigned centroids."""

    centroids: Float[Tensor, "clusters channel"]
    assignment: Int[Tensor, " n"]
    inertia: float


class _Points(NamedTuple):
    """The centred points of objects, padded with zeros to one length."""

    values: Float[Tensor, "object n channel"]
    norms: Float[Tensor, "object n"]
    """Squared."""
    lengths: Int[Tensor, " object"]
    real: Bool[Tensor, "object n"]
    """False in the padding."""

    @classmethod
    def of(cls, values: Tensor, lengths: Tensor) -> "_Points":
        real = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
        return cls(values, torch.linalg.vector_norm(values, dim=2).square(), lengths, real)


class _Descent(NamedTuple):
    """What the restarts of each object have come to."""

    centroids: Float[Tensor, "object restart cluster channel"]
    assignments: Int[Tensor, "object restart n"]
    inertias: Float[Tensor, "object restart"]


def kmeans(points: Float[Tensor, "n channel"], k: int, *, restarts: int, seed: int) -> Clustering:
    """Cluster points, from `restarts` greedy k-means++ starts, and keep the lowest inertia.

    Inertias are compared in float64; of equals the first start's counts. Where there are at most `k` distinct
    points, each is its own cluster, so there may be fewer than `k` clusters.

    Raises:
        InputError: no points, or points that aren't finite.
        ConfigError: `k` or `restarts` below 1.
    """
    _check_settings(k, restarts)
    with single_thread(points.device):
        points = _checked(points)
        return _of_distinct(points, k) or _best_of_restarts([points], k, restarts, [seed])[0]


def kmeans_batch(
    objects: Sequence[Float[Tensor, "_ channel"]], k: int, *, restarts: int, seeds: Sequence[int]
) -> list[Clustering]:
    """Cluster the points of several objects of one device in one go: what `kmeans` gives for each.

    Takes memory for all of them at the length of the longest, some three times over.

    Raises:
        InputError: as `kmeans`, naming the object.
        ConfigError: as `kmeans`.
    """
    _check_settings(k, restarts)
    clusterings: list[Clustering | None] = []
    batch = []
    for index, points in enumerate(objects):
        with naming_object(index):
            batch.append(_checked(points))
        clusterings.append(_of_distinct(batch[-1], k))
    rest = [index for index, clustering in enumerate(clusterings) if clustering is None]
    if rest:
        with single_thread(batch[0].device):
            of_rest = _best_of_restarts(
                [batch[index] for index in rest], k, restarts, [seeds[index] for index in rest]
            )
        for index, clustering in zip(rest, of_rest, strict=True):
            clusterings[index] = clustering
    return [clustering for clustering in clusterings if clustering is not None]


@contextmanager
def naming_object(index: int) -> Iterator[None]:
    """Say in an error which object it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"Object {index}: {error}") from error


@contextmanager
def single_thread(device: torch.device) -> Iterator[None]:
    """Run torch's CPU operations in one thread, and restore the number of threads; nothing on a GPU."""
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def uniform(seed: int, restart: int, draw: int) -> float:
    """Return the `draw`-th number in [0, 1) of a restart: a hash in integers (splitmix64's finalizer)."""
    state = 0
    for value in (seed, restart, draw):
        state = ((state ^ value) + _GOLDEN) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return (state >> 11) / (1 << 53)


def _check_settings(k: int, restarts: int) -> None:
    if k < 1 or restarts < 1:
        raise ConfigError(f"k-means needs k >= 1 and restarts >= 1; found k={k}, restarts={restarts}")


def _checked(points: Tensor) -> Tensor:
    if len(points) == 0:
        raise InputError("k-means needs at least one point; found none: check that the mask isn't empty")
    points = points.float()
    if not bool(torch.linalg.vector_norm(points, dim=1).isfinite().all()):
        raise InputError("k-means needs finite points; found NaN or infinity: check the features")
    return points


def _of_distinct(points: Tensor, k: int) -> Clustering | None:
    """Each distinct point its own cluster, if there are at most `k`."""
    if _more_distinct_than(points, k):
        return None
    distinct, assignment = torch.unique(points, dim=0, return_inverse=True)
    return Clustering(distinct, assignment, 0.0)


def _more_distinct_than(points: Tensor, limit: int) -> bool:
    """Whether there are more than `limit` distinct points. A few points nearly always show it."""
    for rest in (points[:64], points):
        for _ in range(limit):
            rest = rest[(rest != rest[:1]).any(dim=1)]
        if len(rest) > 0:
            return True
    return False


def _best_of_restarts(
    objects: Sequence[Tensor], k: int, restarts: int, seeds: Sequence[int]
) -> list[Clustering]:
    # Distances are expanded to |x|^2 - 2 x.c + |c|^2: far from the origin that would lose float32's digits.
    means = [points.mean(dim=0) for points in objects]
    points = _padded([values - mean for values, mean in zip(objects, means, strict=True)])
    spread = _principal(points, max(LEAST_DIRECTIONS, 4 * k))
    descent = _best(_descend(spread, _plus_plus(spread, k, restarts, seeds)))
    if spread is not points:
        members, counts = _members(points, descent.assignments, k)
        nowhere = points.values.new_zeros(*counts.shape, points.values.shape[2])
        descent = _descend(points, _means(points, members, counts, nowhere))
    return [
        Clustering(centroids + mean, assignment[: len(values)], float(inertia))
        for centroids, mean, assignment, values, inertia in zip(
            descent.centroids[:, 0], means, descent.assignments[:, 0], objects, descent.inertias, strict=True
        )
    ]


def _best(descent: _Descent) -> _Descent:
    """The best restart of each object."""
    ties = descent.inertias <= descent.inertias.amin(dim=1, keepdim=True) * (1 + TIE)
    best = ties.int().argmax(dim=1)
    objects = torch.arange(len(best), device=best.device)
    return _Descent(*(values[objects, best][:, None] for values in descent))


def _padded(objects: Sequence[Tensor]) -> _Points:
    lengths = torch.tensor([len(points) for points in objects], device=objects[0].device)
    if len(objects) == 1:  # saves a copy
        return _Points.of(objects[0][None], lengths)
    return _Points.of(torch.nn.utils.rnn.pad_sequence(list(objects), batch_first=True), lengths)


def _principal(points: _Points, directions: int) -> _Points:
    """The points' coordinates in the directions in which they spread most, or the points, if these are few.

    One step of subspace iteration: the images of random vectors under the points' covariance.
    """
    channels = points.values.shape[2]
    if channels <= 4 * directions:
        return points
    projected = points.values @ _signs(channels, directions).to(points.values.device)
    projected /= projected.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-30)  # or squares may overflow
    images = torch.bmm(points.values.mT, projected).double()
    values, vectors = torch.linalg.eigh(images.mT @ images)
    # The images span fewer directions where the points do; what is left is rounding.
    scales = torch.where(values > 1e-12 * values[:, -1:], values, torch.inf).rsqrt()
    basis = images @ (vectors * scales[:, None])
    return _Points.of(torch.bmm(points.values, basis.float()), points.lengths)


@lru_cache(maxsize=4)
def _signs(channels: int, directions: int) -> Float[Tensor, "channels directions"]:
    """Random signs. PCG64's bits, unlike what torch makes of its own, are the same in every version."""
    bits = np.random.PCG64(0).random_raw(channels * directions) >> 63
    return torch.from_numpy(2 * bits.astype(np.float32) - 1).view(channels, directions)


def _plus_plus(points: _Points, k: int, restarts: int, seeds: Sequence[int]) -> Tensor:
    """Starts "object restart cluster channel": each next point is the best of a few drawn by distance."""
    trials = 2 + int(math.log(k))
    needed = range(1 + (k - 1) * trials)
    draws = [[[uniform(seed, run, draw) for draw in needed] for run in range(restarts)] for seed in seeds]
    chances = torch.tensor(draws, dtype=torch.float64, device=points.values.device)
    lengths = points.lengths[:, None, None]
    objects = torch.arange(len(seeds), device=lengths.device)[:, None, None]
    rows = torch.arange(restarts, device=lengths.device)
    chosen = (chances[..., :1] * lengths).long()
    closest = _distances(points, points.values[objects, chosen])[:, :, 0] * points.real[:, None]
    for step in range(k - 1):
        cumulative = closest.double().cumsum(dim=2)
        targets = chances[..., 1 + step * trials : 1 + (step + 1) * trials] * cumulative[..., -1:]
        candidates = torch.searchsorted(cumulative, targets, right=True).minimum(lengths - 1)
        closer = _distances(points, points.values[objects, candidates]).minimum(closest[:, :, None])
        winner = closer.sum(dim=3, dtype=torch.float64).argmin(dim=2)
        closest = closer[objects[..., 0], rows, winner]
        chosen = torch.cat([chosen, candidates[objects[..., 0], rows, winner, None]], dim=2)
    return points.values[objects, chosen]


def _distances(points: _Points, centroids: Tensor) -> Tensor:
    """Squared distances "object restart cluster n": a matrix product an object for all restarts."""
    flat = centroids.flatten(1, 2)
    offsets = flat.square().sum(dim=2, keepdim=True)
    distances = torch.baddbmm(offsets, flat, points.values.mT, alpha=-2)
    return distances.add_(points.norms[:, None]).clamp_(min=0).view(*centroids.shape[:3], -1)


def _descend(points: _Points, centroids: Tensor) -> _Descent:
    """Alternate assignment and means in every restart until its inertia stays.

    An iteration that doesn't lower a restart's inertia is undone. From then on its assignment is Lloyd's,
    which never raises it; the next one that doesn't help ends the restart. A column is a restart that goes on
    for at least one object.
    """
    going = torch.ones(centroids.shape[:2], dtype=torch.bool, device=centroids.device)
    lloyd = torch.zeros_like(going)
    inertias = torch.full_like(going, torch.inf, dtype=torch.float64)
    sizes = centroids.new_zeros(centroids.shape[:3])
    distances = _distances(points, centroids)
    # `min` finds the first minimum as `argmin` does, many times faster along a dimension that isn't the last.
    trial = assignments = distances.min(dim=2).indices
    columns = torch.arange(centroids.shape[1], device=centroids.device)
    real = points.real[:, None]
    for iteration in range(MAX_ITERATIONS):
        trial, members, counts = _refilled(points, trial, distances[:, columns])
        moved = _means(points, members, counts, centroids[:, columns])
        distances_moved = _distances(points, moved)
        inertias_moved = _own(points, trial, distances_moved).sum(dim=2, dtype=torch.float64)
        better = going[:, columns] & (inertias_moved < inertias[:, columns] * (1 - TOLERANCE))
        row, column = better.nonzero(as_tuple=True)
        won = row, columns[column]
        centroids[won], assignments[won] = moved[row, column], trial[row, column]
        distances[won], sizes[won] = distances_moved[row, column], counts[row, column]
        inertias[won] = inertias_moved[row, column]
        going[:, columns] &= better | ~lloyd[:, columns]
        lloyd[:, columns] |= ~better
        trial = _reassigned(
            distances[:, columns], assignments[:, columns], sizes[:, columns, :, None], lloyd[:, columns]
        )
        going[:, columns] &= ((trial != assignments[:, columns]) & real).any(dim=2)
        if iteration >= PROBATION:
            going &= inertias <= inertias.amin(dim=1, keepdim=True) * (1 + LAG)
        left = going[:, columns].any(dim=0)
        columns, trial = columns[left], trial[:, left]
        if len(columns) == 0:
            break
    return _Descent(centroids, assignments, inertias)


def _reassigned(distances: Tensor, assignments: Tensor, sizes: Tensor, lloyd: Tensor) -> Tensor:
    """The cluster of each point once it has gone to its best.

    Lloyd's best is the nearest centroid. Hartigan's is the cluster that raises the inertia least, its
    centroid following the point: a point's pull on its own centroid no longer holds it back. That is exact
    for one point's move; when all move at once the inertia can rise.
    """
    lloyd = lloyd[..., None, None]
    inside = torch.where(lloyd, 1, sizes / (sizes - 1).clamp(min=1))
    outside = torch.where(lloyd, 1, sizes / (sizes + 1))
    belongs = _belongs(assignments, distances.shape[2])
    return torch.where(belongs, inside, outside).mul_(distances).min(dim=2).indices


def _belongs(assignments: Tensor, k: int) -> Tensor:
    """Bool "object restart cluster n"; a padding point belongs to some cluster, too."""
    return assignments[:, :, None] == torch.arange(k, device=assignments.device)[:, None]


def _members(points: _Points, assignments: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Members "object restart cluster n" as 1 or 0, and how many each cluster has."""
    members = _belongs(assignments, k).float().mul_(points.real[:, None, None])
    return members, members.sum(dim=3)


def _own(points: _Points, assignments: Tensor, distances: Tensor) -> Tensor:
    """Distances "object restart n" to the own centroids, 0 in the padding."""
    return distances.gather(2, assignments[:, :, None])[:, :, 0] * points.real[:, None]


def _means(points: _Points, members: Tensor, counts: Tensor, centroids: Tensor) -> Tensor:
    """Means of the members; a cluster without any stays where it was."""
    sums = torch.bmm(members.flatten(1, 2), points.values).view_as(centroids)
    counts = counts[..., None]
    return torch.where(counts > 0, sums / counts.clamp(min=1), centroids)


def _refilled(points: _Points, assignments: Tensor, distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give each empty cluster the point farthest from its own centroid that no other empty cluster got.

    Returns the assignments, with their members and counts.
    """
    members, counts = _members(points, assignments, distances.shape[2])
    empty = (counts == 0).nonzero().tolist()
    if not empty:
        return assignments, members, counts
    assignments = assignments.clone()
    farness = _own(points, assignments, distances).masked_fill_(~points.real[:, None], -1)
    for index, restart, cluster in empty:
        farthest = farness[index, restart].argmax()
        assignments[index, restart, farthest] = cluster
        farness[index, restart, farthest] = -1
    return assignments, *_members(points, assignments, distances.shape[2])
