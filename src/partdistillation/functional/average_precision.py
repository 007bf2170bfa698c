"""Average precision of ranked detections, as COCO computes it, of a set and of its bootstrap replicates.

In a replicate an image counts as often as it was drawn. Its detections keep their scores and their matches,
as these are made within an image; so a replicate's curve of precision and recall is a weighted running sum
over the same order of detections, which is gone through once, from the last to the first.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, UInt8

from partdistillation.functional.metrics import IOU_THRESHOLDS, take_parts
from partdistillation.kernels import counting

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


class Totals(NamedTuple):
    """How many there are in every replicate, an image counting as often as it was drawn."""

    detections: Int64[np.ndarray, " replicate"]
    hits: Int64[np.ndarray, "threshold replicate"]
    """Detections that take a true one, at each IoU threshold."""
    positives: Int64[np.ndarray, " replicate"]
    """True ones."""


def average_precisions(
    ranked: Iterable[
        tuple[Bool[np.ndarray, "detection threshold"], UInt8[np.ndarray, "detection replicate"]]
    ],
    totals: Totals,
) -> Float64[np.ndarray, "replicate threshold"]:
    """Mean over 101 recalls of the best precision at that recall or a higher one, in every replicate.

    NaN where a replicate has no positives. Where each image counts once, equal to pycocotools' COCOeval for
    one category without crowds in the area range "all", with detections in its order of images.

    Args:
        ranked: all images' detections by their scores, some at a time, the worst ones first; within these the
            best first. Whether each takes a true one at an IoU threshold, within its image
            (`match_detections`), and how often its image counts in a replicate.
        totals: of all of them.
    """
    level = np.array(
        [
            np.searchsorted(RECALLS, hits / np.maximum(totals.positives, 1), "right") - 1
            for hits in totals.hits
        ]
    )
    detections, hits = totals.detections.copy(), totals.hits.copy()
    best, summed = np.zeros(hits.shape), np.zeros(hits.shape)
    for taken, weights in ranked:
        counting.add_precisions(
            taken, weights, totals.positives, RECALLS, detections, hits, best, summed, level
        )
    counting.add_rest(best, summed, level)
    return np.ascontiguousarray(np.where(totals.positives > 0, summed / len(RECALLS), np.nan).T)
