"""Gaussian filtering in d dimensions on the permutohedral lattice (Adams, Baek and Davis, 2010).

Every point lies in a simplex of d + 1 lattice vertices. Filtering spreads the points' values to these
vertices by barycentric weight (splat), blurs along the lattice's d + 1 directions and reads the values back
(slice), in time linear in the number of points. One thread and no fast-math: results repeat bit for bit.

The work is compiled by numba, which takes most of a second to import: import this module where it is needed.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar, cast

import numba
import numpy as np
from jaxtyping import Float32, Int32
from numpy.typing import NDArray

from partdistillation.errors import InputError

# Beyond this the spacing of float32 coordinates is a noticeable share of a lattice cell.
_LARGEST_FEATURE = 1e5

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int32]
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def _compiled(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """`function` compiled at its first call, and cached on disk unless no place for it can be written to."""
    function = inspect.unwrap(function)  # numba compiles only plain functions, no run-time type checker's
    try:
        compiled: object = numba.njit(cache=True)(function)
    except RuntimeError:  # neither the package's directory nor the user's cache is writable
        compiled = numba.njit(function)
    return cast("Callable[_Parameters, _Result]", compiled)


@dataclass(frozen=True)
class Lattice:
    """The lattice vertices around a set of points. Vertex 0 stands for "none" and always holds zero."""

    vertices: Int32[np.ndarray, "points corners"]
    weights: Float32[np.ndarray, "points corners"]
    neighbors: Int32[np.ndarray, "corners vertices 2"]

    @classmethod
    def around(cls, features: Float32[np.ndarray, "points dim"]) -> "Lattice":
        """The lattice for a Gaussian of standard deviation 1 over `features`.

        Raises:
            InputError: a feature is not finite, or so large that float32 can't place it on the lattice.
        """
        largest = float(np.abs(features).max(initial=0.0))
        if not largest <= _LARGEST_FEATURE:
            raise InputError(
                f"Expected coordinates of at most {_LARGEST_FEATURE:g} standard deviations, found "
                f"{largest:g}; use a larger standard deviation."
            )
        corners, ranks, weights = _enclosing_simplices(np.ascontiguousarray(features, dtype=np.float32))
        vertices, keys, table = _number_vertices(corners, ranks)
        return cls(vertices, weights, _neighbors(keys, table))

    def normalized(self) -> "Lattice":
        """The same lattice with the kernel k(i, j) / sqrt(n_i n_j) instead of k; n_i = sum_j k(i, j)."""
        total = np.zeros((len(self.vertices), 1), np.float32)
        self.accumulate(np.ones_like(total), 1.0, total)
        scale = np.float32(1) / np.sqrt(total + np.float32(1e-20))
        return Lattice(self.vertices, self.weights * scale, self.neighbors)

    def accumulate(
        self,
        values: Float32[np.ndarray, "points channels"],
        factor: float,
        out: Float32[np.ndarray, "points channels"],
    ) -> None:
        """Add `factor` times the filtered `values` to `out`, in place.

        The Gaussian's height is 1 only up to a constant of the dimension, which `normalized` removes.
        """
        splatted = np.zeros((self.neighbors.shape[1], values.shape[1]), np.float32)
        _splat(values, self.vertices, self.weights, splatted)
        blurred = _blur(splatted, self.neighbors)
        _slice(blurred, self.vertices, self.weights, np.float32(factor), out)


@_compiled
def _enclosing_simplices(features: _Floats) -> tuple[_Ints, _Ints, _Floats]:
    """For each point: a remainder-0 vertex, the ranks of its d + 1 offsets from it, barycentric weights."""
    points, dim = features.shape
    size = dim + 1
    corners = np.empty((points, size), np.int32)
    ranks = np.empty((points, size), np.int32)
    weights = np.empty((points, size), np.float32)
    # The whole blur has variance 2/3 (d + 1)^2 in lattice units; the rest makes the basis orthonormal.
    scale = np.empty(dim, np.float32)
    for axis in range(dim):
        scale[axis] = np.sqrt(2.0 / 3.0) * size / np.sqrt((axis + 1.0) * (axis + 2.0))
    inverse = np.float32(1.0) / np.float32(size)
    elevated = np.empty(size, np.float32)
    barycentric = np.empty(size + 1, np.float32)
    for point in range(points):
        _elevate(features[point], scale, elevated)
        total = _nearest_corner(elevated, inverse, corners[point])
        _rank_offsets(elevated, total, corners[point], ranks[point])
        barycentric[:] = 0
        for axis in range(size):
            offset = (elevated[axis] - corners[point, axis]) * inverse
            barycentric[dim - ranks[point, axis]] += offset
            barycentric[size - ranks[point, axis]] -= offset
        barycentric[0] += np.float32(1.0) + barycentric[size]
        weights[point] = barycentric[:size]
    return corners, ranks, weights


@_compiled
def _elevate(feature: _Floats, scale: _Floats, elevated: _Floats) -> None:
    """Write the point's position in the hyperplane of d + 1 coordinates that sum to zero."""
    partial = np.float32(0.0)
    for axis in range(len(feature), 0, -1):
        coordinate = feature[axis - 1] * scale[axis - 1]
        elevated[axis] = partial - np.float32(axis) * coordinate
        partial += coordinate
    elevated[0] = partial


@_compiled
def _nearest_corner(elevated: _Floats, inverse: np.float32, corner: _Ints) -> int:
    """Round to multiples of d + 1; return by how many of them the result's sum is off zero."""
    total = 0
    for axis in range(len(elevated)):
        multiple = int(np.rint(elevated[axis] * inverse))
        corner[axis] = multiple * len(elevated)
        total += multiple
    return total


@_compiled
def _rank_offsets(elevated: _Floats, total: int, corner: _Ints, rank: _Ints) -> None:
    """Rank the offsets from the corner, largest first, moving the corner so that its sum becomes zero."""
    size = len(elevated)
    rank[:] = total
    for first in range(size):
        offset = elevated[first] - corner[first]
        for second in range(first + 1, size):
            if offset < elevated[second] - corner[second]:
                rank[first] += 1
            else:
                rank[second] += 1
    for axis in range(size):
        if rank[axis] < 0:
            rank[axis] += size
            corner[axis] += size
        elif rank[axis] >= size:
            rank[axis] -= size
            corner[axis] -= size


@_compiled
def _lookup(table: _Ints, keys: _Ints, key: _Ints) -> np.uint64:
    """The slot of the hash table (open addressing, a power of two long) that holds `key` or is free."""
    mask = np.uint64(len(table) - 1)
    mixed = np.uint64(0)
    for axis in range(len(key)):
        mixed = (mixed ^ np.uint64(key[axis])) * np.uint64(0x9E3779B97F4A7C15)
    slot = (mixed >> np.uint64(32)) & mask
    while table[slot] != 0:
        found = keys[table[slot]]
        same = True
        for axis in range(len(key)):
            same = same and found[axis] == key[axis]
        if same:
            break
        slot = (slot + np.uint64(1)) & mask
    return slot


@_compiled
def _grow(table: _Ints, keys: _Ints, filled: int) -> tuple[_Ints, _Ints]:
    """Twice the table and the room for keys."""
    more_keys = np.empty((2 * len(keys), keys.shape[1]), np.int32)
    more_keys[:filled] = keys[:filled]
    more_table = np.zeros(2 * len(table), np.int32)
    for vertex in range(1, filled):
        more_table[_lookup(more_table, more_keys, more_keys[vertex])] = vertex
    return more_table, more_keys


@_compiled
def _number_vertices(corners: _Ints, ranks: _Ints) -> tuple[_Ints, _Ints, _Ints]:
    """Number the simplices' vertices 1, 2, ... in the order of the points.

    Returns the vertices of each point, their keys (the first d of d + 1 coordinates that sum to zero) and the
    hash table that finds a key's number.
    """
    points, size = corners.shape
    vertices = np.empty((points, size), np.int32)
    table = np.zeros(1 << 12, np.int32)
    keys = np.empty((len(table) // 2, size - 1), np.int32)
    key = np.empty(size - 1, np.int32)
    filled = 1
    for point in range(points):
        for remainder in range(size):
            for axis in range(size - 1):
                wrap = size if ranks[point, axis] >= size - remainder else 0
                key[axis] = corners[point, axis] + remainder - wrap
            slot = _lookup(table, keys, key)
            if table[slot] == 0:
                if filled == len(keys):
                    table, keys = _grow(table, keys, filled)
                    slot = _lookup(table, keys, key)
                keys[filled] = key
                table[slot] = filled
                filled += 1
            vertices[point, remainder] = table[slot]
    return vertices, keys[:filled], table


@_compiled
def _neighbors(keys: _Ints, table: _Ints) -> _Ints:
    """Of each vertex, the two beside it along each of the d + 1 directions; 0 where there is none."""
    vertices, dim = keys.shape
    neighbors = np.zeros((dim + 1, vertices, 2), np.int32)
    key = np.empty(dim, np.int32)
    for direction in range(dim + 1):
        for vertex in range(1, vertices):
            for side in range(2):
                step = 2 * side - 1
                for axis in range(dim):
                    key[axis] = keys[vertex, axis] + (-step * dim if axis == direction else step)
                neighbors[direction, vertex, side] = table[_lookup(table, keys, key)]
    return neighbors


@_compiled
def _splat(values: _Floats, vertices: _Ints, weights: _Floats, out: _Floats) -> None:
    for point in range(values.shape[0]):
        for corner in range(vertices.shape[1]):
            vertex = vertices[point, corner]
            weight = weights[point, corner]
            for channel in range(values.shape[1]):
                out[vertex, channel] += weight * values[point, channel]


@_compiled
def _blur(values: _Floats, neighbors: _Ints) -> _Floats:
    half = np.float32(0.5)
    blurred = np.zeros_like(values)
    for direction in range(neighbors.shape[0]):
        for vertex in range(1, values.shape[0]):
            before = neighbors[direction, vertex, 0]
            after = neighbors[direction, vertex, 1]
            for channel in range(values.shape[1]):
                both = values[before, channel] + values[after, channel]
                blurred[vertex, channel] = values[vertex, channel] + half * both
        values, blurred = blurred, values
    return values


@_compiled
def _slice(values: _Floats, vertices: _Ints, weights: _Floats, factor: np.float32, out: _Floats) -> None:
    for point in range(out.shape[0]):
        for corner in range(vertices.shape[1]):
            vertex = vertices[point, corner]
            weight = factor * weights[point, corner]
            for channel in range(values.shape[1]):
                out[point, channel] += weight * values[vertex, channel]


@_compiled
def softmax(logits: _Floats, out: _Floats) -> None:
    """Write the softmax over the last axis of `logits` ("points channels") to `out`."""
    for point in range(logits.shape[0]):
        largest = logits[point, 0]
        for channel in range(1, logits.shape[1]):
            largest = max(largest, logits[point, channel])
        total = np.float32(0.0)
        for channel in range(logits.shape[1]):
            out[point, channel] = np.exp(logits[point, channel] - largest)
            total += out[point, channel]
        for channel in range(logits.shape[1]):
            out[point, channel] /= total
