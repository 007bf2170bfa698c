"""RoIAlign: the features of boxes, from maps of features (Mask R-CNN; detectron2's ROIAlignV2).

Bilinear interpolation is a product of a part in y and a part in x, and so is the mean over a grid of
samples: what a box reads is `rows @ cells @ columns`, two small matrix products.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from partdistillation.functional.boxes import areas, torchvision_ops

_CANONICAL_SIZE, _CANONICAL_STRIDE = 224, 16
"""Boxes as large as ImageNet's images read the map of stride 16; larger ones coarser maps (FPN, Eq. 1)."""
_MOST_NUMBERS = 2**24
"""That are held at a time (64 MiB)."""
_MOST_SAMPLES = 1024
"""A bin's samples along an axis: more are taken only of boxes a hundred times larger than the image."""


def roi_align(
    features: Float[Tensor, "image channel h w"],
    boxes: Float[Tensor, "box 4"],
    images: Int[Tensor, "box"],
    *,
    size: int,
    stride: int,
) -> Float[Tensor, "box channel {size} {size}"]:
    """The features in each box, as a grid of `size` x `size` bins.

    A bin is the mean of bilinear samples, about one a cell of the map, as many as the box is large. Beyond
    one cell outside the map, samples are 0.

    Args:
        features: maps of a batch of images.
        boxes: in the images' pixels.
        images: for each box, which image of the batch.
        size: bins along an axis.
        stride: pixels a cell of the map.
    """
    ops = torchvision_ops()
    if ops is not None:
        rows = torch.cat([images[:, None].to(boxes), boxes], dim=1)
        pooled: Tensor = ops.roi_align(features, rows, size, 1 / stride, -1, aligned=True)
        return pooled
    channels, *limits = features.shape[1:]
    cells = features.permute(0, 2, 3, 1).contiguous()
    low, high = torch.split(boxes / stride - 0.5, 2, dim=1)
    y, x = (_reach(low[:, axis], high[:, axis], limits[1 - axis], size) for axis in (1, 0))
    out = features.new_empty(len(boxes), channels, size, size)
    # boxes of about the same size together: one product for all of them
    extents = torch.stack([y.cells, x.cells, torch.maximum(y.samples, x.samples)], dim=1)
    kinds, kind_of = torch.unique(_next_power_of_2(extents.clamp(min=1)), dim=0, return_inverse=True)
    for kind, (tall, wide, samples) in enumerate(kinds.tolist()):
        members = (kind_of == kind).nonzero()[:, 0]
        numbers = tall * wide * channels + size * samples * max(tall, wide)
        for some in torch.split(members, max(1, _MOST_NUMBERS // numbers)):
            rows = _weights(_take(y, some), min(tall, limits[0]), samples, limits[0], size)
            columns = _weights(_take(x, some), min(wide, limits[1]), samples, limits[1], size)
            out[some] = _read(cells, images[some], (y.first[some], x.first[some]), rows, columns)
    return out


def pool_levels(
    levels: Sequence[Float[Tensor, "image channel _ _"]],
    boxes: Float[Tensor, "box 4"],
    images: Int[Tensor, "box"],
    *,
    size: int,
    strides: Sequence[int],
) -> Float[Tensor, "box channel {size} {size}"]:
    """`roi_align` of each box on the level of a feature pyramid that suits its size."""
    chosen = level_of(boxes, strides)
    out = levels[0].new_empty(len(boxes), levels[0].shape[1], size, size)
    for index, (level, stride) in enumerate(zip(levels, strides, strict=True)):
        some = (chosen == index).nonzero()[:, 0]
        if len(some):
            out[some] = roi_align(level, boxes[some], images[some], size=size, stride=stride)
    return out


def level_of(boxes: Float[Tensor, "box 4"], strides: Sequence[int]) -> Int[Tensor, "box"]:
    """For each box the index of its level in `strides`, which double from one to the next."""
    doublings = torch.log2(areas(boxes).sqrt() / _CANONICAL_SIZE + 1e-8).floor().long()
    canonical = _CANONICAL_STRIDE.bit_length() - strides[0].bit_length()
    return (doublings + canonical).clamp(0, len(strides) - 1)


class _Reach(NamedTuple):
    """Where boxes lie along an axis of a map, in cells."""

    start: Float[Tensor, "box"]
    bin: Float[Tensor, "box"]
    """A bin's length."""
    samples: Int[Tensor, "box"]
    """A bin's samples; 0 for a box without extent, whose features are 0."""
    first: Int[Tensor, "box"]
    """The first cell that is read."""
    cells: Int[Tensor, "box"]
    """How many cells are read."""


def _reach(low: Tensor, high: Tensor, limit: int, size: int) -> _Reach:
    bin_length = (high - low) / size
    first = low.clamp(0, limit - 1).floor().long()
    last = high.clamp(0, limit - 1).ceil().long()
    samples = bin_length.ceil().clamp(0, _MOST_SAMPLES).long()
    return _Reach(low, bin_length, samples, first, last - first + 1)


def _take(reach: _Reach, some: Int[Tensor, "some"]) -> _Reach:
    return _Reach(*(values[some] for values in reach))


def _weights(
    reach: _Reach, cells: int, samples: int, limit: int, size: int
) -> Float[Tensor, "box {size} {cells}"]:
    """How much each bin reads of each cell, from a box's first one on."""
    device = reach.start.device
    sample = torch.arange(samples, device=device)
    count = reach.samples[:, None, None]
    place = torch.arange(size, device=device)[:, None] + (sample + 0.5) / count.clamp(min=1)
    position = reach.start[:, None, None] + reach.bin[:, None, None] * place
    counts = (sample < count) & (position >= -1) & (position <= limit)
    cell = reach.first[:, None] + torch.arange(cells, device=device)
    weights = hat(position.clamp(0, limit - 1)[..., None] - cell[:, None, None]) * counts[..., None]
    return weights.sum(2) / count.clamp(min=1)


def hat(distance: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Linear interpolation's weight of a cell at some distance, in cells."""
    return (1 - distance.abs()).clamp(min=0)


def _read(
    cells: Float[Tensor, "image h w channel"],
    images: Int[Tensor, "box"],
    first: tuple[Int[Tensor, "box"], Int[Tensor, "box"]],
    rows: Float[Tensor, "box size tall"],
    columns: Float[Tensor, "box size wide"],
) -> Float[Tensor, "box channel size size"]:
    boxes, size, tall = rows.shape
    wide, channels = columns.shape[2], cells.shape[3]
    device = cells.device
    # a cell beyond the map has the weight 0, whatever stands in for it
    ys = (first[0][:, None] + torch.arange(tall, device=device)).clamp(max=cells.shape[1] - 1)
    xs = (first[1][:, None] + torch.arange(wide, device=device)).clamp(max=cells.shape[2] - 1)
    crops = cells[images[:, None, None], ys[:, :, None], xs[:, None, :]]
    lines = (rows @ crops.reshape(boxes, tall, wide * channels)).view(boxes, size, wide, channels)
    return (columns[:, None] @ lines).permute(0, 3, 1, 2)


def _next_power_of_2(numbers: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    return 2 ** numbers.float().log2().ceil().long()
