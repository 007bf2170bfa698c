"""Masks of parts laid over one another, each in the frame of its object: place and size don't count."""

import numpy as np
from jaxtyping import Bool

from partdistillation.functional.masks import pairwise_iou, resize_mask

GRID = 32
"""Cells along each side of the frame into which an object's box is stretched."""


def in_object_frame(
    mask: Bool[np.ndarray, "height width"], box: tuple[float, float, float, float]
) -> Bool[np.ndarray, f"{GRID} {GRID}"]:
    """A part's mask inside its object's box (xyxy, in pixels), stretched to the frame."""
    x0, y0, x1, y1 = (int(edge) for edge in box)
    return resize_mask(mask[y0:y1, x0:x1], GRID, GRID)


def mean_overlap(masks: Bool[np.ndarray, "n rows columns"]) -> float:
    """Mean IoU over all pairs of masks, each pair laid the way round, mirrored or not, that overlaps more.

    Mirrored, as an object may face either way. Two empty masks have an IoU of 0; fewer than two masks, NaN.
    """
    if len(masks) < 2:
        return float("nan")
    best = np.maximum(pairwise_iou(masks, masks), pairwise_iou(masks, masks[..., ::-1]))
    return float(best[np.triu_indices(len(masks), 1)].mean())
