"""Boxes (x0, y0, x1, y1) of detectors: overlap, non-maximum suppression, and boxes moved by deltas.

Where torchvision is installed and works, its kernels are used; the same is computed without it.
"""

import importlib
import math
from functools import cache
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_BLOCK = 512
"""Boxes that are compared with all the others at a time: bounds the memory."""

_LARGEST_GROWTH = math.log(1000 / 16)
"""A delta enlarges a box's side 62.5 times at most, so that `exp` can't overflow (detectron2's limit)."""


@cache
def torchvision_ops() -> Any | None:
    """The `ops` of torchvision, or None where it isn't installed, or was built for another PyTorch."""
    try:
        ops = importlib.import_module("torchvision.ops")
        ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)  # the import alone may succeed without kernels
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    return ops


def areas(boxes: Float[Tensor, "box 4"]) -> Float[Tensor, "box"]:
    """Width times height."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def pairwise_iou(
    boxes: Float[Tensor, "box 4"], others: Float[Tensor, "other 4"]
) -> Float[Tensor, "box other"]:
    """Intersection over union; not a number for two boxes without area."""
    low = torch.maximum(boxes[:, None, :2], others[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    return shared / (areas(boxes)[:, None] + areas(others)[None] - shared)


def nms(
    boxes: Float[Tensor, "box 4"],
    scores: Float[Tensor, "box"],
    threshold: float,
    classes: Int[Tensor, "box"] | None = None,
) -> Int[Tensor, "kept"]:
    """Non-maximum suppression: indices of the boxes that stay, best first, equal scores in their order.

    A box goes if its IoU with a better one that stays, of its class (of any, without `classes`), is over
    `threshold`. With classes, torchvision isn't used: it shifts each class's boxes by a multiple of the
    image's size, which for thousands of classes rounds them to whole pixels.
    """
    ops = torchvision_ops() if classes is None else None
    if ops is not None:
        kept: Tensor = ops.nms(boxes, scores, threshold)
        return kept
    order = scores.argsort(descending=True, stable=True)
    if classes is not None:
        order = order[classes[order].argsort(stable=True)]
    groups = torch.zeros_like(order) if classes is None else classes[order]
    kept = order[_greedy(boxes[order], groups, threshold)]
    return kept[_by_score(scores, kept)]


def apply_deltas(
    boxes: Float[Tensor, "box 4"], deltas: Float[Tensor, "box 4"], weights: tuple[float, float, float, float]
) -> Float[Tensor, "box 4"]:
    """Boxes moved by what a network predicts for them.

    A delta is the shift of the centre in units of the box's width and height, and the logarithm of the
    factor for its width and height, all multiplied by `weights`.
    """
    shift, growth = torch.split(deltas / deltas.new_tensor(weights), 2, dim=1)
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + size / 2 + shift * size
    half = growth.clamp(max=_LARGEST_GROWTH).exp() * size / 2
    return torch.cat([centre - half, centre + half], dim=1)


def clip_boxes(boxes: Float[Tensor, "box 4"], height: int, width: int) -> Float[Tensor, "box 4"]:
    """The boxes' parts inside an image."""
    return torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))


def _greedy(
    boxes: Float[Tensor, "box 4"], groups: Int[Tensor, "box"], threshold: float
) -> Bool[Tensor, "box"]:
    """Which boxes stay. They are sorted by group, and by falling score in it."""
    stays = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    # a group's last box: nothing after it needs a comparison
    lasts = groups[_BLOCK - 1 :: _BLOCK].contiguous()
    ends = torch.searchsorted(groups, lasts, right=True).tolist()
    ends.append(len(boxes))
    for start, end in zip(range(0, len(boxes), _BLOCK), ends, strict=False):
        block = slice(start, start + _BLOCK)
        size = len(boxes[block])
        suppresses = pairwise_iou(boxes[block], boxes[start:end]) > threshold
        suppresses &= groups[block, None] == groups[None, start:end]
        suppresses = suppresses.triu(diagonal=1)
        kept = _settle(stays[block], suppresses[:, :size])
        stays[start:end] &= ~(suppresses & kept[:, None]).any(0)
    return stays


def _settle(candidates: Bool[Tensor, "box"], suppresses: Bool[Tensor, "box box"]) -> Bool[Tensor, "box"]:
    """The greedy choice inside a block, all boxes at once, repeated until nothing changes.

    After n rounds the first n are right whatever came before: it ends, and mostly after a few rounds.
    """
    kept = candidates
    while True:
        again = candidates & ~(suppresses & kept[:, None]).any(0)
        if torch.equal(again, kept):
            return kept
        kept = again


def _by_score(scores: Float[Tensor, "box"], kept: Int[Tensor, "kept"]) -> Int[Tensor, "kept"]:
    """Places in `kept`, best first; equal scores in the boxes' order."""
    in_order = kept.argsort()
    return in_order[scores[kept[in_order]].argsort(descending=True, stable=True)]
