"""Boxes with a class and a score, and which of them are kept."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from partdistillation.functional.boxes import clip_boxes, nms

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
    boxes = clip_boxes(found.boxes, height, width)
    inside = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    found = found._replace(boxes=boxes).rows(inside & (found.scores >= min_score))
    return found.rows(nms(found.boxes, found.scores, NMS_IOU, found.labels)[:MOST_BOXES])
