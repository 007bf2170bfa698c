"""Multi-scale deformable self-attention of pixels (Zhu et al., 2021), forward and backward, on a CPU.

Pixels of several maps ("levels") look at a few places of each map, near their own position. A place lies
between four pixels; outside the map there is zero. A head of an image is worked on by itself, its maps copied
to one block with a border of zeros: rows of channels that lie together, and no place needs a test whether it
is inside. What a head computes doesn't depend on the threads, nor on what is computed beside it.
"""

import math
from functools import lru_cache
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

    sizes: _Integers
    """Height and width of each level."""
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
        arrays = values.numpy(), offsets.numpy(), logits.numpy()
        seen, weights = attend(*arrays, sizes, threads=torch.get_num_threads())
        context.save_for_backward(values, offsets, torch.from_numpy(weights))
        context.sizes = sizes
        return torch.from_numpy(seen)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        arrays = [saved.numpy() for saved in (*context.saved_tensors, gradient.contiguous())]
        gradients = attend_backward(*arrays, context.sizes, threads=torch.get_num_threads())
        return (*(torch.from_numpy(values) for values in gradients), None)


def attend(
    values: Float32[np.ndarray, "batch pixel head channel"],
    offsets: Float32[np.ndarray, "batch pixel head places"],
    logits: Float32[np.ndarray, "batch pixel head points"],
    sizes: Sizes,
    *,
    threads: int,
) -> tuple[Float32[np.ndarray, "batch pixel head channel"], Float32[np.ndarray, "batch pixel head points"]]:
    """What each pixel sees, and the weights (softmax of `logits`) of its points.

    Pixels are those of all levels, row by row, a level after the other. Points are "level, point"; a point's
    place is the pixel's own position moved by its `offsets` (x, y), in pixels of the point's level.
    """
    layout = _layout(sizes, logits.shape[3] // len(sizes))
    seen, weights = np.empty_like(values), np.empty_like(logits)

    def work(begin: int, end: int) -> None:
        _attend(values, offsets, logits, layout, begin, end, seen, weights)

    in_threads(work, values.shape[0] * values.shape[2], threads)
    return seen, weights


def attend_backward(
    values: Float32[np.ndarray, "batch pixel head channel"],
    offsets: Float32[np.ndarray, "batch pixel head places"],
    weights: Float32[np.ndarray, "batch pixel head points"],
    gradient: Float32[np.ndarray, "batch pixel head channel"],
    sizes: Sizes,
    *,
    threads: int,
) -> tuple[
    Float32[np.ndarray, "batch pixel head channel"],
    Float32[np.ndarray, "batch pixel head places"],
    Float32[np.ndarray, "batch pixel head points"],
]:
    """Gradients of `values`, `offsets` and logits, from that of what is seen; `weights` are `attend`'s."""
    layout = _layout(sizes, weights.shape[3] // len(sizes))
    gradients = np.empty_like(values), np.empty_like(offsets), np.empty_like(weights)

    def work(begin: int, end: int) -> None:
        _attend_backward(values, offsets, weights, gradient, layout, begin, end, *gradients)

    in_threads(work, values.shape[0] * values.shape[2], threads)
    return gradients


@lru_cache(maxsize=4)
def _layout(sizes: Sizes, points: int) -> _Layout:
    heights, widths = np.array(sizes, np.int64).reshape(-1, 2).T
    shape = np.stack([widths, heights], axis=-1)
    positions = []
    for height, width in sizes:
        y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
        place = np.stack([x / width, y / height], axis=-1).reshape(-1, 1, 2)
        positions.append(place * shape - 0.5 + _BORDER)
    rows = (heights + 2 * _BORDER) * (widths + 2 * _BORDER)
    return _Layout(
        np.stack([heights, widths], axis=-1),
        np.repeat(np.concatenate(positions), points, axis=1)
        .reshape(-1, 2 * points * len(sizes))
        .astype("f4"),
        np.repeat(shape + _BORDER, points, axis=0).reshape(-1).astype("f4"),
        np.repeat(widths + 2 * _BORDER, points),
        np.repeat(np.cumsum(rows) - rows, points),
        int(rows.sum()),
    )


@compiled_loosely
def _attend(
    values: _Floats,
    offsets: _Floats,
    logits: _Floats,
    layout: _Layout,
    begin: int,
    end: int,
    seen: _Floats,
    weights: _Floats,
) -> None:
    pixels, heads, channels = values.shape[1:]
    points = logits.shape[3]
    vectors = -(-channels // _WIDTH)
    block = np.zeros((layout.rows, vectors * _WIDTH), np.float32)
    sums = np.zeros(vectors * _WIDTH, np.float32)
    cells, parts = np.zeros(2 * points, np.int64), np.zeros(2 * points, np.float32)
    for number in range(begin, end):
        image, head = number // heads, number % heads
        _copy_to_block(values[image, :, head], layout.sizes, block)
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
    values: _Floats,
    offsets: _Floats,
    weights: _Floats,
    gradient: _Floats,
    layout: _Layout,
    begin: int,
    end: int,
    of_values: _Floats,
    of_offsets: _Floats,
    of_logits: _Floats,
) -> None:
    pixels, heads, channels = values.shape[1:]
    points = weights.shape[3]
    vectors = -(-channels // _WIDTH)
    block = np.zeros((layout.rows, vectors * _WIDTH), np.float32)
    of_block = np.zeros((layout.rows, vectors * _WIDTH), np.float32)
    wanted = np.zeros(vectors * _WIDTH, np.float32)
    cells, parts = np.zeros(2 * points, np.int64), np.zeros(2 * points, np.float32)
    for number in range(begin, end):
        image, head = number // heads, number % heads
        _copy_to_block(values[image, :, head], layout.sizes, block)
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
        _copy_from_block(of_block, layout.sizes, of_values[image, :, head])


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
def _copy_to_block(values: _Floats, sizes: _Integers, block: _Floats) -> None:
    """Pixels of all levels to their rows of the block, whose border stays as it is: zero."""
    pixel, row = 0, 0
    for level in range(len(sizes)):
        row += _BORDER * (sizes[level, 1] + 2 * _BORDER)
        for _ in range(sizes[level, 0]):
            row += _BORDER
            for _ in range(sizes[level, 1]):
                block[row, : values.shape[1]] = values[pixel]
                pixel, row = pixel + 1, row + 1
            row += _BORDER
        row += _BORDER * (sizes[level, 1] + 2 * _BORDER)


@compiled_loosely
def _copy_from_block(block: _Floats, sizes: _Integers, values: _Floats) -> None:
    """The inverse of `_copy_to_block`."""
    pixel, row = 0, 0
    for level in range(len(sizes)):
        row += _BORDER * (sizes[level, 1] + 2 * _BORDER)
        for _ in range(sizes[level, 0]):
            row += _BORDER
            for _ in range(sizes[level, 1]):
                values[pixel] = block[row, : values.shape[1]]
                pixel, row = pixel + 1, row + 1
            row += _BORDER
        row += _BORDER * (sizes[level, 1] + 2 * _BORDER)
