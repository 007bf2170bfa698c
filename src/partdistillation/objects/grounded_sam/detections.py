"""Boxes with a class and a score, and which of them are kept."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

NMS_IOU = 0.8
"""Boxes of one class that overlap more are one object (as in the authors' demonstrations of Grounded SAM)."""
MOST_BOXES = 100
"""Boxes that are kept of an image, as in COCO's evaluation."""


class Detections(NamedTuple):
    """Boxes of one image: xyxy in its pixels, each with its best class."""

    boxes: Float[Tensor, "box 4"]
    labels: Int[Tensor, " box"]
    """Positions in the list of class names."""
    scores: Float[Tensor, " box"]

    def rows(self, which: Tensor) -> "Detections":
        return Detections(*(values[which] for values in self))


def best(found: Detections, height: int, width: int, *, min_score: float) -> Detections:
    """Those to keep, by score: inside the image, from `min_score`, without duplicates, `MOST_BOXES` at most.

    Boxes are cut at the image's border; one without area is dropped.
    """
    boxes = found.boxes.clamp(min=0).minimum(found.boxes.new_tensor([width, height, width, height]))
    inside = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    found = found._replace(boxes=boxes).rows(inside & (found.scores >= min_score))
    found = found.rows(found.scores.argsort(descending=True, stable=True))
    return found.rows(_distinct(found)[:MOST_BOXES])


def _distinct(found: Detections) -> Int[Tensor, " kept"]:
    """Positions of the detections, in order, that no earlier one of their class overlaps."""
    left_top = torch.maximum(found.boxes[:, None, :2], found.boxes[None, :, :2])
    right_bottom = torch.minimum(found.boxes[:, None, 2:], found.boxes[None, :, 2:])
    shared = (right_bottom - left_top).clamp(min=0).prod(dim=2)
    area = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(dim=1)
    overlap = shared / (area[:, None] + area[None, :] - shared)
    duplicates = (overlap > NMS_IOU) & (found.labels[:, None] == found.labels[None, :])
    kept = torch.ones(len(area), dtype=torch.bool)
    for position in range(len(area)):
        if kept[position]:
            kept[position + 1 :] &= ~duplicates[position, position + 1 :]
    return kept.nonzero()[:, 0]
