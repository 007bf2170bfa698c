"""Euclidean k-means in torch, all restarts at once, with the same random draws on every device.

Starts are greedy k-means++, as scikit-learn's. The descent counts each point's pull on its own centroid
(Hartigan), which ends in better optima than Lloyd's where clusters have some hundred points or fewer.

The draws are a function of (seed, restart, draw) alone, and on a CPU the arithmetic runs in one thread,
since the order in which a matrix product is summed changes with the number of threads. So the result
depends on (points, k, restarts, seed) and neither on what else runs nor on how the work is divided.
Concurrency is for processes: the number of threads is a setting of the whole process.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from partdistillation.errors import ConfigError, InputError

MAX_ITERATIONS = 300
TOLERANCE = 3e-5
"""A restart ends when an iteration lowers its inertia by no more than this share."""
TIE = 1e-6
"""Restarts whose inertia differs by less than this share count as equal: rounding must not choose."""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class Clustering(NamedTuple):
    """The best of the restarts: `inertia` is the sum of squared distances to the assigned centroids."""

    centroids: Float[Tensor, "clusters channel"]
    assignment: Int[Tensor, " n"]
    inertia: float


def kmeans(points: Float[Tensor, "n channel"], k: int, *, restarts: int, seed: int) -> Clustering:
    """Cluster points, from `restarts` greedy k-means++ starts, and keep the lowest inertia.

    Inertias are compared in float64; among equals the lowest restart wins. Where there are at most `k`
    distinct points, each is its own cluster, so there may be fewer than `k` clusters.

    Raises:
        InputError: no points, or points that aren't finite.
        ConfigError: `k` or `restarts` below 1.
    """
    if k < 1 or restarts < 1:
        raise ConfigError(f"k-means needs k >= 1 and restarts >= 1; found k={k}, restarts={restarts}")
    if len(points) == 0:
        raise InputError("k-means needs at least one point; found none: check that the mask isn't empty")
    points = points.float()
    with single_thread(points.device):
        if not bool(torch.linalg.vector_norm(points, dim=1).isfinite().all()):
            raise InputError("k-means needs finite points; found NaN or infinity: check the features")
        if not _more_distinct_than(points, k):
            distinct, assignment = torch.unique(points, dim=0, return_inverse=True)
            return Clustering(distinct, assignment, 0.0)
        return _best_of_restarts(points, k, restarts, seed)


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


def _best_of_restarts(points: Tensor, k: int, restarts: int, seed: int) -> Clustering:
    # Distances are expanded to |x|^2 - 2 x.c + |c|^2: far from the origin that would lose float32's digits.
    mean = points.mean(dim=0)
    points = points - mean
    norms = points.square().sum(dim=1)
    centroids, members, inertias = _descend(points, norms, _plus_plus(points, norms, k, restarts, seed))
    best = int((inertias <= inertias.min() * (1 + TIE)).int().argmax())
    return Clustering(centroids[best] + mean, members[best].int().argmax(dim=0), float(inertias[best]))


def _plus_plus(points: Tensor, norms: Tensor, k: int, restarts: int, seed: int) -> Tensor:
    """Starts "restart cluster channel": each next point is the best of a few drawn by squared distance."""
    trials = 2 + int(math.log(k))
    draws = [
        [uniform(seed, restart, draw) for draw in range(1 + (k - 1) * trials)] for restart in range(restarts)
    ]
    chances = torch.tensor(draws, dtype=torch.float64, device=points.device)
    chosen = (chances[:, :1] * len(points)).long()
    closest = _distances(points, norms, points[chosen])[:, 0]
    rows = torch.arange(restarts, device=points.device)
    for step in range(k - 1):
        cumulative = closest.double().cumsum(dim=1)
        targets = chances[:, 1 + step * trials : 1 + (step + 1) * trials] * cumulative[:, -1:]
        candidates = torch.searchsorted(cumulative, targets, right=True).clamp_(max=len(points) - 1)
        closer = torch.minimum(_distances(points, norms, points[candidates]), closest[:, None])
        winner = closer.sum(dim=2, dtype=torch.float64).argmin(dim=1)
        closest = closer[rows, winner]
        chosen = torch.cat([chosen, candidates[rows, winner, None]], dim=1)
    return points[chosen]


def _distances(points: Tensor, norms: Tensor, centroids: Tensor) -> Tensor:
    """Squared distances "restart cluster n": one matrix product for all restarts."""
    flat = centroids.flatten(0, 1)
    offsets = flat.square().sum(dim=1, keepdim=True)
    distances = torch.addmm(offsets, flat, points.T, alpha=-2).add_(norms).clamp_(min=0)
    return distances.view(*centroids.shape[:2], len(points))


def _descend(points: Tensor, norms: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Alternate assignment and means in every restart until its inertia stays.

    An iteration that doesn't lower a restart's inertia is undone. From then on its assignment is Lloyd's,
    which never raises it; the next one that doesn't help ends the restart.

    Returns:
        Centroids "restart cluster channel", their members (bool) "restart cluster n" and inertias "restart".
    """
    active = torch.arange(len(centroids), device=points.device)
    lloyd = torch.zeros_like(active, dtype=torch.bool)
    inertias = torch.full_like(active, torch.inf, dtype=torch.float64)
    distances = _distances(points, norms, centroids)
    # `min` finds the first minimum as `argmin` does, many times faster along a dimension that isn't the last.
    trial = members = _one_hot(distances.min(dim=1).indices, centroids.shape[1])
    for _ in range(MAX_ITERATIONS):
        trial = _refilled(trial, distances[active])
        moved = _means(points, trial, centroids[active])
        distances_moved = _distances(points, norms, moved)
        inertias_moved = (distances_moved * trial).sum(dim=(1, 2), dtype=torch.float64)
        better = inertias_moved < inertias[active] * (1 - TOLERANCE)
        won = active[better]
        centroids[won], members[won] = moved[better], trial[better]
        distances[won], inertias[won] = distances_moved[better], inertias_moved[better]
        going = better | ~lloyd[active]
        lloyd[active[~better]] = True
        active = active[going]
        trial = _reassigned(distances[active], members[active], lloyd[active])
        changed = (trial != members[active]).flatten(1).any(dim=1)
        active, trial = active[changed], trial[changed]
        if len(active) == 0:
            break
    return centroids, members, inertias


def _reassigned(distances: Tensor, members: Tensor, lloyd: Tensor) -> Tensor:
    """Members once each point has gone to its best cluster.

    Lloyd's best is the nearest centroid. Hartigan's is the cluster that raises the inertia least, its
    centroid following the point: a point's pull on its own centroid no longer holds it back. That is exact
    for one point's move; when all move at once the inertia can rise.
    """
    counts = members.sum(dim=2, keepdim=True)
    factors = torch.where(members, counts / (counts - 1).clamp(min=1), counts / (counts + 1))
    factors = torch.where(lloyd[:, None, None], 1, factors)
    return _one_hot((distances * factors).min(dim=1).indices, members.shape[1])


def _one_hot(assignment: Tensor, k: int) -> Tensor:
    return assignment[:, None] == torch.arange(k, device=assignment.device)[None, :, None]


def _means(points: Tensor, members: Tensor, centroids: Tensor) -> Tensor:
    """Means of the members; a cluster without any stays where it was."""
    counts = members.sum(dim=2)[..., None]
    sums = (members.flatten(0, 1).to(points.dtype) @ points).view_as(centroids)
    return torch.where(counts > 0, sums / counts.clamp(min=1), centroids)


def _refilled(members: Tensor, distances: Tensor) -> Tensor:
    """Give each empty cluster the point farthest from its own centroid that no other empty cluster got."""
    empty = (~members.any(dim=2)).nonzero().tolist()
    if not empty:
        return members
    members = members.clone()
    farness = torch.where(members, distances, 0).sum(dim=1)
    for restart, cluster in empty:
        farthest = farness[restart].argmax()
        members[restart, :, farthest] = False
        members[restart, cluster, farthest] = True
        farness[restart, farthest] = -1
    return members


def _more_distinct_than(points: Tensor, limit: int) -> bool:
    """Whether there are more than `limit` distinct points. A few points nearly always show it."""
    for rest in (points[:64], points):
        for _ in range(limit):
            rest = rest[(rest != rest[:1]).any(dim=1)]
        if len(rest) > 0:
            return True
    return False
