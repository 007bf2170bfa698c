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
        arrays = rows.numpy(), weight.numpy(), bias.numpy()
        threads = torch.get_num_threads()
        out, moments = normalize(*arrays, groups=groups, epsilon=epsilon, relu=relu, threads=threads)
        context.save_for_backward(rows, weight, bias, torch.from_numpy(moments))
        context.groups, context.relu = groups, relu
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        arrays = [saved.numpy() for saved in (*context.saved_tensors, gradient.contiguous())]
        threads = torch.get_num_threads()
        gradients = normalize_backward(*arrays, groups=context.groups, relu=context.relu, threads=threads)
        return (*(torch.from_numpy(values) for values in gradients), None, None, None)


def normalize(
    maps: Float32[np.ndarray, "batch pixel channel"],
    weight: Float32[np.ndarray, " channel"],
    bias: Float32[np.ndarray, " channel"],
    *,
    groups: int,
    epsilon: float,
    relu: bool,
    threads: int,
) -> tuple[Float32[np.ndarray, "batch pixel channel"], Float32[np.ndarray, "batch 2 channel"]]:
    """Maps of mean 0 and variance 1 in each group of channels of an image, then `weight` and `bias`.

    Negative values become 0 with `relu`. Also returns, for `normalize_backward`, the mean and the inverse of
    the deviation of each channel's group.
    """
    out = np.empty_like(maps)
    moments = np.empty((len(maps), 2, maps.shape[2]), np.float32)
    work = partial(_normalize, maps, weight, bias, groups, epsilon, relu, out, moments)
    in_threads(work, len(maps), threads)
    return out, moments


def normalize_backward(
    maps: Float32[np.ndarray, "batch pixel channel"],
    weight: Float32[np.ndarray, " channel"],
    bias: Float32[np.ndarray, " channel"],
    moments: Float32[np.ndarray, "batch 2 channel"],
    gradient: Float32[np.ndarray, "batch pixel channel"],
    *,
    groups: int,
    relu: bool,
    threads: int,
) -> tuple[
    Float32[np.ndarray, "batch pixel channel"],
    Float32[np.ndarray, " channel"],
    Float32[np.ndarray, " channel"],
]:
    """Gradients of maps, weight and bias, from that of the result."""
    of_maps, of_affine = np.empty_like(maps), np.empty_like(moments)
    arrays = (maps, weight, bias, moments, gradient)
    in_threads(partial(_normalize_backward, *arrays, groups, relu, of_maps, of_affine), len(maps), threads)
    of_weight, of_bias = of_affine.sum(axis=0)  # in the images' order, whichever thread had them
    return of_maps, of_weight, of_bias


@compiled_loosely
def _normalize(
    maps: _Floats,
    weight: _Floats,
    bias: _Floats,
    groups: int,
    epsilon: float,
    relu: bool,
    out: _Floats,
    moments: _Floats,
    begin: int,
    end: int,
) -> None:
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
    maps: _Floats,
    weight: _Floats,
    bias: _Floats,
    moments: _Floats,
    gradient: _Floats,
    groups: int,
    relu: bool,
    of_maps: _Floats,
    of_affine: _Floats,
    begin: int,
    end: int,
) -> None:
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
