"""Gaussian filtering on the permutohedral lattice, and mean field on what it gives.

Labels are filtered four at a time (`lanes.py`). Kernels are linear and a pixel's probabilities sum to one, so
what label 0 receives follows from what all labels receive together, which doesn't change: it isn't filtered.
With the paper's background and four segments, that leaves one vector.

One thread and no fast-math: results repeat bit for bit. The compiled work lets other threads run beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Integer
from numpy.typing import NDArray

from partdistillation.kernels.compiled import compiled
from partdistillation.kernels.lanes import operations
from partdistillation.kernels.permutohedral import Lattice

_WIDTH = 4
"""Labels that are filtered together."""
zeros, load, store, plus, plus_scaled = operations(_WIDTH)[:5]

_TILE = 512  # points whose messages stay in the nearest cache from slice to splat

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int32]
_Vertices = NDArray[np.uint32]


@dataclass(frozen=True)
class Kernel:
    """The Gaussian k(i, j) / sqrt(n_i n_j) over a lattice's points, with n_i = sum_j k(i, j)."""

    lattice: Lattice
    """With the square roots in the weights."""
    sums: Float32[np.ndarray, " points"]
    """What each point receives if every point sends 1."""

    @classmethod
    def over(cls, lattice: Lattice) -> "Kernel":
        ones = np.ones(len(lattice.vertices), np.float32)
        scale = np.float32(1) / np.sqrt(filtered(lattice, ones) + np.float32(1e-20))
        normalized = Lattice(lattice.vertices, lattice.weights * scale[:, None], lattice.neighbors)
        return cls(normalized, filtered(normalized, ones))

    def at(self, points: Integer[np.ndarray, " some"]) -> "Kernel":
        """The same kernel, with the sums over all points, of which only some send and receive."""
        vertices, weights = self.lattice.vertices[points], self.lattice.weights[points]
        return Kernel(Lattice(vertices, weights, self.lattice.neighbors), self.sums[points])


def filtered(lattice: Lattice, values: Float32[np.ndarray, " points"]) -> Float32[np.ndarray, " points"]:
    """The points' values, blurred. The Gaussian's height is 1 only up to a constant of the dimension."""
    return _filter(lattice.vertices, lattice.weights, lattice.neighbors, values)


def mean_field(
    labels: Int32[np.ndarray, " points"],
    num_labels: int,
    bonus: float,
    kernels: Sequence[tuple[Kernel, float]],
    iterations: int,
) -> Float32[np.ndarray, "labels points"]:
    """Each point's probability of each label, after parallel updates (Kraehenbuehl and Koltun, algorithm 1).

    Q = softmax(unary + sum_k weight_k * filter_k(Q)), from Q = softmax(unary). A point's message to itself
    isn't taken out, as in the authors' implementation. Of kernels with points left out (`Kernel.at`), those
    count as certain of label 0.

    Args:
        labels: the given labels, 0..num_labels-1.
        num_labels: at least 2.
        bonus: how much the given label's unary logit is above the others'.
        kernels: with their weights.
        iterations: how many updates.
    """
    sides = [_Side.of(kernel, weight, num_labels) for kernel, weight in kernels]
    none = np.zeros(len(labels), np.float32)
    total = sum((np.float32(weight) * kernel.sums for kernel, weight in kernels), none)
    marginals = np.empty((num_labels, len(labels)), np.float32)
    for step in range(iterations + 1):
        first, last = step == 0, step == iterations
        _update(labels, np.float32(bonus), none if first else total, tuple(sides), first, last, marginals)
        sides = [side.blurred() for side in sides]
    return marginals


class _Side(NamedTuple):
    """One kernel, and what its vertices hold: received from the points and blurred, and sent by them."""

    vertices: _Vertices
    weights: _Floats
    neighbors: _Vertices
    factor: np.float32
    received: _Floats
    sent: _Floats

    @classmethod
    def of(cls, kernel: Kernel, weight: float, num_labels: int) -> "_Side":
        lattice, blocks = kernel.lattice, -(-(num_labels - 1) // _WIDTH)
        received, sent = np.zeros((2, blocks, lattice.neighbors.shape[1], _WIDTH), np.float32)
        factor = np.float32(weight)
        return cls(lattice.vertices, lattice.weights, lattice.neighbors, factor, received, sent)

    def blurred(self) -> "_Side":
        received, sent = _blur(self.sent, self.received, self.neighbors)
        return self._replace(received=received, sent=sent)


@compiled
def _filter(vertices: _Vertices, weights: _Floats, neighbors: _Vertices, values: _Floats) -> _Floats:
    """Splat, blur and slice, of one number a point."""
    points, corners = vertices.shape
    held, spare = np.zeros((2, neighbors.shape[1]), np.float32)
    for point in range(points):
        for corner in range(corners):
            held[vertices[point, corner]] += weights[point, corner] * values[point]
    for direction in range(neighbors.shape[0]):
        beside = neighbors[direction]
        for vertex in range(1, len(held)):
            spare[vertex] = held[vertex] + np.float32(0.5) * (
                held[beside[vertex, 0]] + held[beside[vertex, 1]]
            )
        held, spare = spare, held
    received = np.zeros(points, np.float32)
    for point in range(points):
        for corner in range(corners):
            received[point] += weights[point, corner] * held[vertices[point, corner]]
    return received


@compiled
def _splat(
    start: int, count: int, values: _Floats, vertices: _Vertices, weights: _Floats, out: _Floats
) -> None:
    """Add the values of `count` points from `start` on to their vertices."""
    for point in range(count):
        value = load(values, point)
        for corner in range(vertices.shape[1]):
            vertex = vertices[start + point, corner]
            store(out, vertex, plus_scaled(load(out, vertex), weights[start + point, corner], value))


@compiled
def _slice(
    start: int,
    count: int,
    values: _Floats,
    vertices: _Vertices,
    weights: _Floats,
    factor: np.float32,
    out: _Floats,
) -> None:
    """Add `factor` times what the vertices hold to `out` of `count` points from `start` on."""
    for point in range(count):
        read = zeros()
        for corner in range(vertices.shape[1]):
            value = load(values, vertices[start + point, corner])
            read = plus_scaled(read, weights[start + point, corner], value)
        store(out, point, plus_scaled(load(out, point), factor, read))


@compiled
def _blur(values: _Floats, spare: _Floats, neighbors: _Vertices) -> tuple[_Floats, _Floats]:
    """The blurred values and the array that is free then: both are overwritten in turns."""
    half = np.float32(0.5)
    spare[:, 0] = 0
    for direction in range(neighbors.shape[0]):
        beside = neighbors[direction]
        for block in range(values.shape[0]):
            old, new = values[block], spare[block]
            for vertex in range(1, old.shape[0]):
                both = plus(load(old, beside[vertex, 0]), load(old, beside[vertex, 1]))
                store(new, vertex, plus_scaled(load(old, vertex), half, both))
        values, spare = spare, values
    return values, spare


@compiled
def _update(
    labels: _Ints,
    bonus: np.float32,
    total: _Floats,
    sides: tuple[_Side, ...],
    first: bool,
    last: bool,
    out: _Floats,
) -> None:
    """Read the kernels' messages (none at first), update the marginals and send them, at last to `out`."""
    channels, points = out.shape[0] - 1, out.shape[1]
    blocks = (channels + _WIDTH - 1) // _WIDTH
    messages = np.empty((blocks, _TILE, _WIDTH), np.float32)
    logits = np.zeros((1 + blocks * _WIDTH, _TILE), np.float32)
    work = np.empty((2, _TILE), np.float32)
    for side in sides:
        side.sent[:] = 0
    for start in range(0, points, _TILE):
        count = min(_TILE, points - start)
        messages[:] = 0
        for side in sides:
            for block in range(0 if first else blocks):
                read = side.received[block]
                _slice(start, count, read, side.vertices, side.weights, side.factor, messages[block])
        for block in range(blocks):
            _split(count, messages[block], logits[1 + block * _WIDTH :])
        _add_unary(labels[start : start + count], bonus, total[start : start + count], logits[: channels + 1])
        _softmax(count, logits[: channels + 1], work)
        if last:
            out[:, start : start + count] = logits[: channels + 1, :count]
            continue
        for block in range(blocks):
            _join(count, logits[1 + block * _WIDTH :], messages[block])
        for side in sides:
            for block in range(blocks):
                _splat(start, count, messages[block], side.vertices, side.weights, side.sent[block])


@compiled
def _split(count: int, lanes: _Floats, rows: _Floats) -> None:
    for point in range(count):
        for lane in range(_WIDTH):
            rows[lane, point] = lanes[point, lane]


@compiled
def _join(count: int, rows: _Floats, lanes: _Floats) -> None:
    for point in range(count):
        for lane in range(_WIDTH):
            lanes[point, lane] = rows[lane, point]


@compiled
def _add_unary(labels: _Ints, bonus: np.float32, total: _Floats, logits: _Floats) -> None:
    """Give label 0 what the others leave of all messages, and the given labels their bonus."""
    rest = logits[0]
    rest[: len(labels)] = total
    for label in range(1, logits.shape[0]):
        row = logits[label]
        for point in range(len(labels)):
            rest[point] -= row[point]
    for label in range(logits.shape[0]):
        row = logits[label]
        for point in range(len(labels)):
            row[point] += bonus * np.float32(labels[point] == label)


@compiled
def _softmax(count: int, logits: _Floats, work: _Floats) -> None:
    """Overwrite logits ("labels points") with their softmax over the labels."""
    largest, total = work[0], work[1]
    for point in range(count):
        largest[point] = logits[0, point]
        total[point] = 0
    for label in range(1, logits.shape[0]):
        row = logits[label]
        for point in range(count):
            largest[point] = max(largest[point], row[point])
    for label in range(logits.shape[0]):
        row = logits[label]
        for point in range(count):
            row[point] = _exp(row[point] - largest[point])
            total[point] += row[point]
    for point in range(count):
        total[point] = np.float32(1.0) / total[point]
    for label in range(logits.shape[0]):
        row = logits[label]
        for point in range(count):
            row[point] *= total[point]


@compiled
def _exp(exponent: np.float32) -> np.float32:
    """e^exponent of an exponent of at most 0, within 2e-7 of it; 0 below -87.

    Written out, since the compiler makes vectors of it and not of the library's: 2^n by its bits times e^r,
    |r| <= log(2) / 2, by the polynomial of Cephes (Moshier).
    """
    clipped = max(exponent, np.float32(-87.0))
    whole = np.rint(clipped * np.float32(1.44269504))
    rest = clipped - whole * np.float32(0.693359375) - whole * np.float32(-2.12194440e-4)
    value = np.float32(1.9875691500e-4)
    value = value * rest + np.float32(1.3981999507e-3)
    value = value * rest + np.float32(8.3334519073e-3)
    value = value * rest + np.float32(4.1665795894e-2)
    value = value * rest + np.float32(1.6666665459e-1)
    value = value * rest + np.float32(5.0000001201e-1)
    value = value * rest * rest + rest + np.float32(1.0)
    power = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
    return value * power if exponent >= np.float32(-87.0) else np.float32(0.0)
