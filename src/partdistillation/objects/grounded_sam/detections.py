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


def best(detections: Detections, height: int, width: int, *, min_score: float) -> Detections:
    """Those to keep, by score: inside the image, from `min_score`, without duplicates, `MOST_BOXES` at most.

    Boxes are cut at the image's border; one without area is dropped.
    """
    boxes = clip_boxes(detections.boxes, height, width)
    inside = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    detections = detections._replace(boxes=boxes).rows(inside & (detections.scores >= min_score))
    return detections.rows(nms(detections.boxes, detections.scores, NMS_IOU, detections.labels)[:MOST_BOXES])
