"""Multi-scale deformable self-attention of pixels (Zhu et al., 2021), forward and backward, on a CPU.

Pixels of several maps ("levels") look at a few places of each map, near their own position. A place lies
between four pixels; outside the map there is zero. A head of an image is worked on by itself, its maps copied
to one block with a border of zeros: rows of channels that lie together, and no place needs a test whether it
is inside. What a head computes doesn't depend on the threads, nor on what is computed beside it.
"""

import math
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from partdistillation.kernels.compiled import compiled_loosely
from partdistillation.kernels.lanes import Lanes, operations
from partdistillation.kernels.threads import in_threads

Sizes = tuple[tuple[int, int], ...]
"""Height and width of each level."""

_BORDER = 2
"""Pixels of zeros around a map: a place is clamped to where all four of its neighbours are zeros."""
_WIDTH = 8
"""Channels that are worked on together; a head's are filled up to a multiple with zeros."""
zeros, load, store, _, plus_scaled, plus_product, total = operations(_WIDTH, fused=True)

_Floats = NDArray[np.float32]
_Integers = NDArray[np.int64]


class _Layout(NamedTuple):
    """Where things are in a head's block. Places (x, y) count from the first pixel of the level's border."""

    places: _Integers
    """The row of the block that each pixel has."""
    positions: _Floats
    """Of each pixel: its own position in each level, once for each of the points there, x and y by turns."""
    limits: _Floats
    """The largest x and y that are told apart, for each point of all levels."""
    strides: _Integers
    """Rows of the block from a pixel to the one below it, for each point of all levels."""
    starts: _Integers
    """The first row of the level, for each point of all levels."""
    rows: int


def attention(
    values: Float32[Tensor, "batch pixel head channel"],
    offsets: Float32[Tensor, "batch pixel head places"],
    logits: Float32[Tensor, "batch pixel head points"],
    sizes: Sizes,
) -> Float32[Tensor, "batch pixel head channel"]:
    """`models.deformable_attention.by_grid_sample`, on a CPU."""
    return _Attention.apply(values, offsets, logits, sizes)  # type: ignore[no-any-return, no-untyped-call]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, offsets: Tensor, logits: Tensor, sizes: Sizes) -> Tensor:
        values, offsets, logits = (inputs.detach().contiguous() for inputs in (values, offsets, logits))
        seen, weights = torch.empty_like(values), torch.empty_like(logits)
        context.layout = _layout(sizes, logits.shape[3] // len(sizes))
        arrays: Any = (tensor.numpy() for tensor in (values, offsets, logits, seen, weights))
        in_threads(partial(_attend, context.layout, *arrays), values.shape[0] * values.shape[2])
        context.save_for_backward(values, offsets, weights)
        return seen

    @staticmethod
    @once_differentiable
    def backward(context: Any, of_seen: Tensor) -> tuple[Tensor | None, ...]:
        saved = context.saved_tensors
        gradients = [torch.empty_like(tensor) for tensor in saved]
        arrays = (tensor.numpy() for tensor in (*saved, of_seen.contiguous(), *gradients))
        in_threads(partial(_attend_backward, context.layout, *arrays), of_seen.shape[0] * of_seen.shape[2])
        return *gradients, None


@lru_cache(maxsize=4)
def _layout(sizes: Sizes, points: int) -> _Layout:
    positions, places, strides, starts, limits, rows = [], [], [], [], [], 0
    shape = np.array(sizes, np.int64).reshape(-1, 2)[:, ::-1]
    for height, width in sizes:
        y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        centre = np.stack([(x + 0.5) / width, (y + 0.5) / height], axis=-1).reshape(-1, 1, 2)
        positions.append(centre * shape - 0.5 + _BORDER)
        stride = width + 2 * _BORDER
        places.append((rows + (y + _BORDER) * stride + x + _BORDER).ravel())
        strides += points * [stride]
        starts += points * [rows]
        limits += points * [width + _BORDER, height + _BORDER]
        rows += (height + 2 * _BORDER) * stride
    return _Layout(
        np.concatenate(places),
        np.repeat(np.concatenate(positions), points, axis=1).reshape(-1, len(limits)).astype("f4"),
        np.array(limits, "f4"),
        np.array(strides, np.int64),
        np.array(starts, np.int64),
        rows,
    )


@compiled_loosely
def _attend(
    layout: _Layout,
    values: _Floats,
    offsets: _Floats,
    logits: _Floats,
    seen: _Floats,
    weights: _Floats,
    begin: int,
    end: int,
) -> None:
    """Write what each pixel sees, and the weights (softmax of `logits`) of its points.

    Pixels are those of all levels, row by row, a level after the other. Points are "level, point"; a point's
    place is the pixel's own position moved by its `offsets` (x, y), in pixels of the point's level.
    """
    pixels, heads, channels = values.shape[1:]
    points = logits.shape[3]
    vectors = -(-channels // _WIDTH)
    block = np.zeros((layout.rows, vectors * _WIDTH), np.float32)
    sums = np.zeros(vectors * _WIDTH, np.float32)
    cells, parts = np.zeros(2 * points, np.int64), np.zeros(2 * points, np.float32)
    for number in range(begin, end):
        image, head = number // heads, number % heads
        _copy_to_block(values[image, :, head], layout.places, block)
        for pixel in range(pixels):
            weight = weights[image, pixel, head]
            _softmax(logits[image, pixel, head], weight)
            _locate(offsets[image, pixel, head], layout.positions[pixel], layout.limits, cells, parts)
            for vector in range(vectors):
                mixed = zeros()
                for point in range(points):
                    upper_left, upper_right, lower_left, lower_right = _spread(weight, parts, point)
                    row, row_below = _rows(layout, cells, point, vectors)
                    first, below = row + vector, row_below + vector
                    mixed = plus_scaled(mixed, upper_left, load(block, first))
                    mixed = plus_scaled(mixed, upper_right, load(block, first + vectors))
                    mixed = plus_scaled(mixed, lower_left, load(block, below))
                    mixed = plus_scaled(mixed, lower_right, load(block, below + vectors))
                store(sums, vector, mixed)
            seen[image, pixel, head] = sums[:channels]


@compiled_loosely
def _attend_backward(
    layout: _Layout,
    values: _Floats,
    offsets: _Floats,
    weights: _Floats,
    gradient: _Floats,
    of_values: _Floats,
    of_offsets: _Floats,
    of_logits: _Floats,
    begin: int,
    end: int,
) -> None:
    """Write gradients of values, offsets and logits, from that of what is seen."""
    pixels, heads, channels = values.shape[1:]
    points = weights.shape[3]
    vectors = -(-channels // _WIDTH)
    block = np.zeros((layout.rows, vectors * _WIDTH), np.float32)
    of_block = np.zeros((layout.rows, vectors * _WIDTH), np.float32)
    wanted = np.zeros(vectors * _WIDTH, np.float32)
    cells, parts = np.zeros(2 * points, np.int64), np.zeros(2 * points, np.float32)
    for number in range(begin, end):
        image, head = number // heads, number % heads
        _copy_to_block(values[image, :, head], layout.places, block)
        of_block[:] = 0
        for pixel in range(pixels):
            weight, of_logit = weights[image, pixel, head], of_logits[image, pixel, head]
            of_offset = of_offsets[image, pixel, head]
            _locate(offsets[image, pixel, head], layout.positions[pixel], layout.limits, cells, parts)
            wanted[:channels] = gradient[image, pixel, head]
            mean = np.float32(0)
            for point in range(points):
                upper_left, upper_right, lower_left, lower_right = _spread(weight, parts, point)
                row, row_below = _rows(layout, cells, point, vectors)
                at_upper_left, at_upper_right, at_lower_left, at_lower_right = (
                    zeros(), zeros(), zeros(), zeros()
                )  # fmt: skip
                for vector in range(vectors):
                    some, first, below = load(wanted, vector), row + vector, row_below + vector
                    at_upper_left = plus_product(at_upper_left, load(block, first), some)
                    at_upper_right = plus_product(at_upper_right, load(block, first + vectors), some)
                    at_lower_left = plus_product(at_lower_left, load(block, below), some)
                    at_lower_right = plus_product(at_lower_right, load(block, below + vectors), some)
                    _add(of_block, first, upper_left, some)
                    _add(of_block, first + vectors, upper_right, some)
                    _add(of_block, below, lower_left, some)
                    _add(of_block, below + vectors, lower_right, some)
                right, down = parts[2 * point], parts[2 * point + 1]
                upper, upper_slope = _between(total(at_upper_left), total(at_upper_right), right)
                lower, lower_slope = _between(total(at_lower_left), total(at_lower_right), right)
                of_logit[point], slope = _between(upper, lower, down)
                of_offset[2 * point] = weight[point] * (upper_slope + down * (lower_slope - upper_slope))
                of_offset[2 * point + 1] = weight[point] * slope
                mean += weight[point] * of_logit[point]
            for point in range(points):
                of_logit[point] = weight[point] * (of_logit[point] - mean)
        _copy_from_block(of_block, layout.places, of_values[image, :, head])


@compiled_loosely
def _spread(
    weight: _Floats, parts: _Floats, point: int
) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """A point's weight, shared out to its pixels: upper left, upper right, lower left, lower right."""
    lower = weight[point] * parts[2 * point + 1]
    upper = weight[point] - lower
    upper_right, lower_right = upper * parts[2 * point], lower * parts[2 * point]
    return upper - upper_right, upper_right, lower - lower_right, lower_right


@compiled_loosely
def _rows(layout: _Layout, cells: _Integers, point: int, vectors: int) -> tuple[int, int]:
    """Where the block's vectors of a point's upper left pixel begin, and those of the pixel below it."""
    stride = layout.strides[point]
    row = layout.starts[point] + cells[2 * point + 1] * stride + cells[2 * point]
    return row * vectors, (row + stride) * vectors


@compiled_loosely
def _add(block: _Floats, row: int, factor: np.float32, lanes: Lanes) -> None:
    store(block, row, plus_scaled(load(block, row), factor, lanes))


@compiled_loosely
def _between(before: np.float32, after: np.float32, part: np.float32) -> tuple[np.float32, np.float32]:
    """The value at a part of the way from one to the other, and the slope there."""
    slope = after - before
    return before + part * slope, slope


@compiled_loosely
def _locate(offsets: _Floats, positions: _Floats, limits: _Floats, cells: _Integers, parts: _Floats) -> None:
    """The pixel at the upper left of each place, and how far the place lies from it; x and y by turns."""
    for axis in range(len(cells)):
        place = offsets[axis] + positions[axis]
        place = place if place > np.float32(0) else np.float32(0)  # NaN too: it mustn't be an address
        place = min(place, limits[axis])
        cell = np.float32(math.floor(place))
        parts[axis] = place - cell
        cells[axis] = np.int64(cell)


@compiled_loosely
def _softmax(logits: _Floats, weights: _Floats) -> None:
    highest = logits[0]
    for point in range(1, len(logits)):
        highest = max(highest, logits[point])
    total = np.float32(0)
    for point in range(len(logits)):
        weights[point] = math.exp(logits[point] - highest)
        total += weights[point]
    for point in range(len(logits)):
        weights[point] /= total


@compiled_loosely
def _copy_to_block(values: _Floats, places: _Integers, block: _Floats) -> None:
    """Pixels of all levels to their rows of the block, whose border stays as it is: zero."""
    for pixel in range(len(places)):
        block[places[pixel], : values.shape[1]] = values[pixel]


@compiled_loosely
def _copy_from_block(block: _Floats, places: _Integers, values: _Floats) -> None:
    """The inverse of `_copy_to_block`."""
    for pixel in range(len(places)):
        values[pixel] = block[places[pixel], : values.shape[1]]
