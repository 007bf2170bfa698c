"""Rows of numbers added, by weight, to a few rows of a table each, on a CPU: the gradient of sampling."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from partdistillation.kernels.compiled import compiled
from partdistillation.kernels.threads import in_threads

_Floats = NDArray[np.float32]


def with_scattered_gradient(
    weighted_sums: Callable[[Tensor, Tensor, Tensor], Tensor],
    rows: Float32[Tensor, "image pixel channel"],
    pixels: Int64[Tensor, "image point 4"],
    weights: Float32[Tensor, "image point 4"],
) -> Float32[Tensor, "image point channel"]:
    """`weighted_sums` of rows, whose gradient PyTorch would sort the pixels for."""
    return _WeightedSums.apply(weighted_sums, rows, pixels, weights)  # type: ignore[no-any-return, no-untyped-call]


class _WeightedSums(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        weighted_sums: Callable[[Tensor, Tensor, Tensor], Tensor],
        rows: Tensor,
        pixels: Tensor,
        weights: Tensor,
    ) -> Tensor:
        context.save_for_backward(pixels, weights)
        context.number = rows.shape[1]
        return weighted_sums(rows.detach(), pixels, weights)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pixels, weights = (saved.numpy() for saved in context.saved_tensors)
        rows = gradient.contiguous().numpy()
        of_rows = scatter(rows, pixels, weights, context.number, threads=torch.get_num_threads())
        return None, torch.from_numpy(of_rows), None, None


def scatter(
    rows: Float32[np.ndarray, "batch row channel"],
    places: Int64[np.ndarray, "batch row few"],
    weights: Float32[np.ndarray, "batch row few"],
    count: int,
    *,
    threads: int,
) -> Float32[np.ndarray, "batch {count} channel"]:
    """Tables of `count` rows; to those at its `places`, each row is added, times its `weights`."""
    tables = np.zeros((len(rows), count, rows.shape[2]), np.float32)

    def work(begin: int, end: int) -> None:
        for image in range(begin, end):
            _scatter(rows[image], places[image], weights[image], tables[image])

    in_threads(work, len(rows), threads)
    return tables


@compiled
def _scatter(rows: _Floats, places: NDArray[np.int64], weights: _Floats, table: _Floats) -> None:
    for row in range(len(rows)):
        for number in range(places.shape[1]):
            # unsigned, or every access would ask whether it counts from the end
            place, weight = np.uint64(places[row, number]), weights[row, number]
            for channel in range(rows.shape[1]):
                table[place, np.uint64(channel)] += weight * rows[row, channel]
