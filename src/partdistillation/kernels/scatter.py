"""Rows of numbers added, by weight, to a few rows of a table each, on a CPU: the gradient of sampling."""

from collections.abc import Callable
from functools import partial
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
        of_rows = gradient.new_zeros(len(gradient), context.number, gradient.shape[2])
        arrays = (tensor.numpy() for tensor in (gradient.contiguous(), *context.saved_tensors, of_rows))
        in_threads(partial(_scatter, *arrays), len(of_rows))
        return None, of_rows, None, None


@compiled
def _scatter(
    rows: _Floats, places: NDArray[np.int64], weights: _Floats, tables: _Floats, begin: int, end: int
) -> None:
    """Add each row, times its `weights`, to those at its `places` of the image's table."""
    for image in range(begin, end):
        table = tables[image]
        for row in range(rows.shape[1]):
            for number in range(places.shape[2]):
                # unsigned, or every access would ask whether it counts from the end
                place, weight = np.uint64(places[image, row, number]), weights[image, row, number]
                for channel in range(rows.shape[2]):
                    table[place, np.uint64(channel)] += weight * rows[image, row, channel]
