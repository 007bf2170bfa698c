"""Average precision of ranked detections, as COCO computes it."""

import numpy as np
from jaxtyping import Bool, Float, Float64

from partdistillation.functional.metrics import IOU_THRESHOLDS, take_parts

RECALLS: Float64[np.ndarray, " recall"] = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100
"""Of an image and category, best scores first."""


def match_detections(
    overlaps: Float[np.ndarray, "truth detection"], scores: Float[np.ndarray, " detection"]
) -> tuple[Float64[np.ndarray, " kept"], Bool[np.ndarray, "kept threshold"]]:
    """The best `MAX_DETECTIONS` of an image and category: their scores, and at each IoU threshold whether
    they take a true one that is still free.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")[:MAX_DETECTIONS]
    kept = np.asarray(scores, dtype=np.float64)[order]
    if not len(overlaps):
        return kept, np.zeros((len(kept), len(IOU_THRESHOLDS)), np.bool_)
    return kept, take_parts(overlaps[:, order]).astype(np.bool_)


def average_precision(
    scores: Float64[np.ndarray, " detection"], hits: Bool[np.ndarray, "detection threshold"], positives: int
) -> Float64[np.ndarray, " threshold"]:
    """Mean over 101 recalls of the best precision at that recall or a higher one; NaN without positives.

    Equal to pycocotools' COCOeval for one category without crowds in the area range "all", where detections
    come in its order of images.
    """
    if not positives:
        return np.full(hits.shape[1], np.nan)
    order = np.argsort(-scores, kind="mergesort")
    right = np.cumsum(hits[order], axis=0, dtype=np.float64)
    precision = right / (np.arange(len(order), dtype=np.float64)[:, None] + 1 + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    sampled = np.zeros((len(RECALLS), hits.shape[1]))
    for threshold in range(hits.shape[1]):
        places = np.searchsorted(right[:, threshold] / positives, RECALLS, side="left")
        reached = places < len(order)
        sampled[reached, threshold] = envelope[places[reached], threshold]
    precision_at: Float64[np.ndarray, " threshold"] = sampled.mean(axis=0)
    return precision_at
