"""The permutohedral lattice around points in d dimensions (Adams, Baek and Davis, 2010).

Every point lies in a simplex of d + 1 lattice vertices. A Gaussian filter spreads the points' values to these
vertices by barycentric weight (splat), blurs along the lattice's d + 1 directions and reads the values back
(slice), in time linear in the number of points: see `mean_field.py`. Here the lattice is built.

A vertex has d + 1 integer coordinates that sum to zero, with equal remainders modulo d + 1. They are packed
into one integer, linearly: to step to another vertex is to add a number, to compare two is one comparison.

The work is compiled by numba, which takes most of a second to import: import this module where it is needed.
One thread and no fast-math: results repeat bit for bit.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt32
from numpy.typing import NDArray

from partdistillation.errors import InputError
from partdistillation.kernels.compiled import compiled

# Beyond this the spacing of float32 coordinates is a noticeable share of a lattice cell.
_LARGEST_FEATURE = 1e5
_TILE = 256  # points that are placed together, in vectors: few enough to stay in the nearest cache

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int32]
_Keys = NDArray[np.int64]
_Vertices = NDArray[np.uint32]


@dataclass(frozen=True)
class Lattice:
    """The lattice vertices around a set of points. Vertex 0 stands for "none" and always holds zero."""

    vertices: UInt32[np.ndarray, "points corners"]
    weights: Float32[np.ndarray, "points corners"]
    neighbors: UInt32[np.ndarray, "corners vertices 2"]

    @classmethod
    def around(cls, features: Float32[np.ndarray, "points dim"]) -> "Lattice":
        """The lattice for a Gaussian of standard deviation 1 over `features`.

        Vertices are numbered in the order in which the points come to them: points that follow each other
        find theirs close in memory.

        Raises:
            InputError: a feature is not finite, or so large that float32 can't place it on the lattice.
        """
        rows = np.ascontiguousarray(features.T)
        low, high = rows.min(axis=1, initial=0.0), rows.max(axis=1, initial=0.0)
        largest = float(np.maximum(-low, high).max(initial=0.0))
        if not largest <= _LARGEST_FEATURE:
            raise InputError(
                f"Expected coordinates of at most {_LARGEST_FEATURE:g} standard deviations, found "
                f"{largest:g}; use a larger standard deviation."
            )
        scale = axis_scales(len(rows))
        corner_keys, steps = packing(low.astype(float) * scale, high.astype(float) * scale)
        vertices = np.empty((len(features), len(steps)), np.uint32)  # by numpy: it asks for large pages
        weights = np.empty((len(features), len(steps)), np.float32)
        return cls(vertices, weights, _build(rows, scale, corner_keys, steps, vertices, weights))


def axis_scales(dim: int) -> Float32[np.ndarray, " dim"]:
    """What lattice units a standard deviation is, by axis of the orthogonal basis.

    The whole blur has variance 2/3 (d + 1)^2 in lattice units; the rest makes the basis orthonormal.
    """
    axis = np.arange(1, dim + 1)
    scale: Float32[np.ndarray, " dim"] = math.sqrt(2 / 3) * (dim + 1) / np.sqrt(axis * (axis + 1))
    return scale.astype(np.float32)


def packing(low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[_Keys, _Keys]:
    """The linear map from vertices within reach of points in low..high to integers, no two the same.

    Coordinates differ by multiples of size = d + 1, so the first one and these multiples for the next d - 1
    tell a vertex: the digits of a number to a mixed base. The last coordinate follows from the sum.

    Returns:
        by axis, what `size` on that axis adds to a number; and what a step in that axis' direction adds,
        which is one more on all axes and `size` less on this one.
    """
    dim = len(low)
    size = dim + 1
    basis = np.triu(np.ones((size, dim)))  # as in `_elevate`: each axis' share in the d + 1 coordinates
    basis[np.arange(1, size), np.arange(dim)] = -np.arange(1, size)
    # Simplices reach `size` beyond the points, their neighbours twice that, on both sides.
    spans = np.abs(basis) @ (high - low) + 6 * size
    first = math.ceil(spans[0])
    others = [math.ceil((spans[0] + spans[axis]) / size) + 1 for axis in range(1, dim)]
    cells = first * math.prod(others)
    if cells >= 2**63:
        raise InputError(
            f"Expected points within 2^63 lattice cells, found 2^{math.log2(cells):.0f}; "
            "use larger standard deviations."
        )
    places = [first * math.prod(others[:digit]) for digit in range(dim - 1)]
    moved = np.array([size - sum(places), *places, 0], np.int64)
    return moved, np.int64(1) - moved


@compiled
def _build(
    features: _Floats, scale: _Floats, corner_keys: _Keys, steps: _Keys, vertices: _Vertices, weights: _Floats
) -> _Vertices:
    """Write vertices and weights of all points, return the neighbours; features are "dim points"."""
    points, size = vertices.shape
    offsets = np.empty((size, _TILE), np.float32)
    ordered = np.empty((size, _TILE), np.float32)
    corners = np.empty((size, _TILE), np.int32)
    ranks = np.empty((size, _TILE), np.int32)
    keys = np.empty((size, _TILE), np.int64)
    known = np.empty(1 << 15, np.int64)  # the vertices' keys
    filled = 1
    table = _table(known, filled)
    for start in range(0, points, _TILE):
        count = min(_TILE, points - start)
        _elevate(features, start, count, scale, offsets)
        _find_corners(count, offsets, corners, ranks)
        _weigh(count, offsets, ranks, ordered, weights[start:])
        _pack(count, corners, ranks, corner_keys, steps, keys)
        while filled + count * size > len(known):
            known = np.concatenate((known, np.empty_like(known)))
            table = _table(known, filled)
        for point in range(count):
            for remainder in range(size):
                key = keys[remainder, point]
                slot = _find(table, known, key)
                if table[slot] == 0:
                    table[slot] = filled
                    known[filled] = key
                    filled += 1
                vertices[start + point, remainder] = table[slot]
    return _neighbors(table, known[:filled], steps)


# Of a tile of points, all axes first and points last, so that the loops over points become vectors.


@compiled
def _elevate(features: _Floats, start: int, count: int, scale: _Floats, elevated: _Floats) -> None:
    """Write the points' positions in the hyperplane of d + 1 coordinates that sum to zero."""
    partial = elevated[0]
    for point in range(count):
        partial[point] = 0
    for axis in range(len(scale), 0, -1):
        feature, coordinate = features[axis - 1], elevated[axis]
        for point in range(count):
            scaled = feature[start + point] * scale[axis - 1]
            coordinate[point] = partial[point] - np.float32(axis) * scaled
            partial[point] += scaled


@compiled
def _find_corners(count: int, offsets: _Floats, corners: _Ints, ranks: _Ints) -> None:
    """Find each point's remainder-0 vertex (in units of d + 1), turn its position into offsets from there.

    Ranks tell the offsets' order, the largest first. The nearest multiples of d + 1 may miss the sum of zero:
    then the axes that rank beyond either end are moved by one.
    """
    size = len(offsets)
    whole, inverse = np.int32(size), np.float32(1.0) / np.float32(size)
    excess = ranks[0]
    for point in range(count):
        excess[point] = 0
    for axis in range(size):
        offset, corner = offsets[axis], corners[axis]
        for point in range(count):
            corner[point] = np.int32(np.rint(offset[point] * inverse))
            offset[point] -= np.float32(corner[point] * whole)
            excess[point] += corner[point]
    for axis in range(1, size):
        rank = ranks[axis]
        for point in range(count):
            rank[point] = excess[point]
    for first in range(size):
        for second in range(first + 1, size):
            earlier, later = ranks[first], ranks[second]
            for point in range(count):
                smaller = np.int32(offsets[first, point] < offsets[second, point])
                earlier[point] += smaller
                later[point] += np.int32(1) - smaller
    for axis in range(size):
        offset, corner, rank = offsets[axis], corners[axis], ranks[axis]
        for point in range(count):
            move = np.int32(rank[point] < 0) - np.int32(rank[point] >= whole)
            rank[point] += move * whole
            corner[point] += move
            offset[point] -= np.float32(move * whole)


@compiled
def _weigh(count: int, offsets: _Floats, ranks: _Ints, ordered: _Floats, weights: _Floats) -> None:
    """Write barycentric weights: differences of offsets that follow each other in rank."""
    size = len(offsets)
    inverse = np.float32(1.0) / np.float32(size)
    for place in range(size):
        row = ordered[place]
        for point in range(count):
            row[point] = 0
        for axis in range(size):
            offset, rank = offsets[axis], ranks[axis]
            for point in range(count):
                row[point] += offset[point] * inverse if rank[point] == np.int32(place) else np.float32(0.0)
    for point in range(count):
        weights[point, 0] = ordered[size - 1, point] + (np.float32(1.0) - ordered[0, point])
    for remainder in range(1, size):
        for point in range(count):
            weights[point, remainder] = (
                ordered[size - 1 - remainder, point] - ordered[size - remainder, point]
            )


@compiled
def _pack(count: int, corners: _Ints, ranks: _Ints, corner_keys: _Keys, steps: _Keys, keys: _Keys) -> None:
    """Write the packed vertices: each follows from the one before by a step along the next axis in rank."""
    size = len(corners)
    keys[:, :count] = 0
    for axis in range(size):
        corner, rank, base = corners[axis], ranks[axis], keys[0]
        for point in range(count):
            base[point] += np.int64(corner[point]) * corner_keys[axis]
        for remainder in range(1, size):
            key = keys[remainder]
            for point in range(count):
                key[point] += steps[axis] if rank[point] == np.int32(size - remainder) else np.int64(0)
    for remainder in range(1, size):
        before, key = keys[remainder - 1], keys[remainder]
        for point in range(count):
            key[point] += before[point]


@compiled
def _find(table: _Vertices, known: _Keys, key: int) -> np.uint64:
    """The slot of the hash table (open addressing, a power of two long) that holds `key` or is free."""
    mask = np.uint64(len(table) - 1)
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    slot = (mixed >> np.uint64(32)) & mask
    while table[slot] != 0 and known[table[slot]] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@compiled
def _table(known: _Keys, filled: int) -> _Vertices:
    """A hash table with the vertices 1..filled - 1, and room for as many as there is for keys."""
    table = np.zeros(4 * len(known), np.uint32)
    for vertex in range(1, filled):
        table[_find(table, known, known[vertex])] = vertex
    return table


@compiled
def _neighbors(table: _Vertices, known: _Keys, steps: _Keys) -> _Vertices:
    """Of each vertex, the two beside it along each of the d + 1 directions; 0 where there is none."""
    neighbors = np.zeros((len(steps), len(known), 2), np.uint32)
    for direction in range(len(steps)):
        beside = neighbors[direction]
        for vertex in range(1, len(known)):
            after = table[_find(table, known, known[vertex] + steps[direction])]
            beside[vertex, 1] = after
            beside[after, 0] = vertex
        beside[0, 0] = 0  # written for those without one
    return neighbors
