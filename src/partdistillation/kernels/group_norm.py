"""Group normalisation of maps whose channels lie together (Wu and He, 2018), with ReLU, on a CPU.

PyTorch's own is made for maps whose pixels lie together; on these its gradient takes ten times as long.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from partdistillation.kernels.compiled import compiled_loosely
from partdistillation.kernels.threads import in_threads

_Floats = NDArray[np.float32]


def group_norm(
    rows: Float32[Tensor, "batch pixel channel"],
    weight: Float32[Tensor, " channel"],
    bias: Float32[Tensor, " channel"],
    *,
    groups: int,
    epsilon: float,
    relu: bool,
) -> Float32[Tensor, "batch pixel channel"]:
    """`nn.functional.group_norm` of maps given as rows of channels, then ReLU if asked for."""
    return _GroupNorm.apply(rows, weight, bias, groups, epsilon, relu)  # type: ignore[no-any-return, no-untyped-call]


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, rows: Tensor, weight: Tensor, bias: Tensor, groups: int, epsilon: float, relu: bool
    ) -> Tensor:
        rows, weight, bias = (inputs.detach().contiguous() for inputs in (rows, weight, bias))
        out, moments = torch.empty_like(rows), rows.new_empty(len(rows), 2, rows.shape[2])
        arrays: Any = (tensor.numpy() for tensor in (rows, weight, bias, out, moments))
        in_threads(partial(_normalize, groups, epsilon, relu, *arrays), len(rows))
        context.save_for_backward(rows, weight, bias, moments)
        context.groups, context.relu = groups, relu
        return out

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, *_, moments = saved = context.saved_tensors
        of_rows, of_affine = torch.empty_like(rows), torch.empty_like(moments)
        arrays = (tensor.numpy() for tensor in (*saved, gradient.contiguous(), of_rows, of_affine))
        in_threads(partial(_normalize_backward, context.groups, context.relu, *arrays), len(rows))
        # in the images' order, whichever thread had them
        of_weight, of_bias = torch.from_numpy(of_affine.numpy().sum(axis=0))
        return of_rows, of_weight, of_bias, None, None, None


@compiled_loosely
def _normalize(
    groups: int,
    epsilon: float,
    relu: bool,
    maps: _Floats,
    weight: _Floats,
    bias: _Floats,
    out: _Floats,
    moments: _Floats,
    begin: int,
    end: int,
) -> None:
    """Write maps of mean 0 and variance 1 in each group of channels of an image, then `weight` and `bias`.

    Negative values become 0 with `relu`. `moments`: the mean and the inverse of the deviation of each
    channel's group.
    """
    pixels, channels = maps.shape[1:]
    sums, factor, shift = np.zeros((3, channels), np.float32)
    lowest = np.float32(0) if relu else np.float32(-np.inf)
    for image in range(begin, end):
        mean, inverse = moments[image, 0], moments[image, 1]
        sums[:] = 0
        for pixel in range(pixels):
            for channel in range(channels):
                sums[channel] += maps[image, pixel, channel]
        _mean_of_groups(sums, pixels, groups, mean)
        sums[:] = 0
        for pixel in range(pixels):
            for channel in range(channels):
                difference = maps[image, pixel, channel] - mean[channel]
                sums[channel] += difference * difference
        _mean_of_groups(sums, pixels, groups, inverse)
        for channel in range(channels):
            inverse[channel] = 1 / np.sqrt(inverse[channel] + epsilon)
            factor[channel] = weight[channel] * inverse[channel]
            shift[channel] = bias[channel] - mean[channel] * factor[channel]
        for pixel in range(pixels):
            for channel in range(channels):
                value = maps[image, pixel, channel] * factor[channel] + shift[channel]
                out[image, pixel, channel] = lowest if value < lowest else value  # NaN stays


@compiled_loosely
def _normalize_backward(
    groups: int,
    relu: bool,
    maps: _Floats,
    weight: _Floats,
    bias: _Floats,
    moments: _Floats,
    gradient: _Floats,
    of_maps: _Floats,
    of_affine: _Floats,
    begin: int,
    end: int,
) -> None:
    """Write gradients of maps, and of weight and bias by image, from that of the result."""
    pixels, channels = maps.shape[1:]
    factor, shift, weighted, slope, level = np.zeros((5, channels), np.float32)
    lowest = np.float32(0) if relu else np.float32(-np.inf)
    for image in range(begin, end):
        mean, inverse = moments[image]
        of_weight, of_bias = of_affine[image]
        of_affine[image] = 0
        for channel in range(channels):
            factor[channel] = weight[channel] * inverse[channel]
            shift[channel] = bias[channel] - mean[channel] * factor[channel]
        for pixel in range(pixels):
            for channel in range(channels):
                value, wanted = maps[image, pixel, channel], gradient[image, pixel, channel]
                wanted = wanted if value * factor[channel] + shift[channel] > lowest else np.float32(0)
                of_bias[channel] += wanted
                of_weight[channel] += wanted * value
        for channel in range(channels):
            of_weight[channel] = (of_weight[channel] - mean[channel] * of_bias[channel]) * inverse[channel]
            weighted[channel] = weight[channel] * of_weight[channel]
        _mean_of_groups(weighted, pixels, groups, slope)
        for channel in range(channels):
            weighted[channel] = weight[channel] * of_bias[channel]
            slope[channel] *= -inverse[channel] * inverse[channel]
        _mean_of_groups(weighted, pixels, groups, level)
        for channel in range(channels):
            level[channel] = -level[channel] * inverse[channel] - slope[channel] * mean[channel]
        for pixel in range(pixels):
            for channel in range(channels):
                value, wanted = maps[image, pixel, channel], gradient[image, pixel, channel]
                wanted = wanted if value * factor[channel] + shift[channel] > lowest else np.float32(0)
                of_maps[image, pixel, channel] = (
                    factor[channel] * wanted + slope[channel] * value + level[channel]
                )


@compiled_loosely
def _mean_of_groups(sums: _Floats, pixels: int, groups: int, means: _Floats) -> None:
    """From each channel's sum over the pixels, the mean of its group, for each channel."""
    width = len(sums) // groups
    for group in range(groups):
        total = 0.0
        for channel in range(group * width, (group + 1) * width):
            total += sums[channel]
        for channel in range(group * width, (group + 1) * width):
            means[channel] = total / (pixels * width)
