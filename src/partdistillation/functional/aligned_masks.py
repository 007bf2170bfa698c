"""Masks of parts laid over one another, each in the frame of its object: place and size don't count."""

import numpy as np
from jaxtyping import Bool, Float64

from partdistillation.functional.masks import resize_mask

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
    straight = _ious(masks, masks)
    mirrored = _ious(masks, masks[..., ::-1])
    best = np.maximum(straight, mirrored)
    return float(best[np.triu_indices(len(masks), 1)].mean())


def _ious(
    a: Bool[np.ndarray, "n rows columns"], b: Bool[np.ndarray, "n rows columns"]
) -> Float64[np.ndarray, "n n"]:
    first, second = (masks.reshape(len(masks), -1).astype(np.float32) for masks in (a, b))
    shared = (first @ second.T).astype(np.float64)
    union = first.sum(axis=1)[:, None] + second.sum(axis=1) - shared
    ious: Float64[np.ndarray, "n n"] = shared / np.maximum(union, 1)
    return ious
