"""Average precision of ranked detections, as COCO computes it, of a set and of its bootstrap replicates.

In a replicate an image counts as often as it was drawn. Its detections keep their scores and their matches,
as these are made within an image; so a replicate's curve of precision and recall is a weighted running sum
over the same order of detections.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, UInt8

from partdistillation.functional.metrics import IOU_THRESHOLDS, take_parts
from partdistillation.kernels import counting

RECALLS: Float64[np.ndarray, " recall"] = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100
"""Of an image and category, best scores first."""
_REPLICATES_AT_ONCE = 50


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


def average_precisions(
    scores: Float64[np.ndarray, " detection"],
    hits: Bool[np.ndarray, "detection threshold"],
    images: Int64[np.ndarray, " detection"],
    weights: UInt8[np.ndarray, "replicate image"],
    positives: Int64[np.ndarray, " image"],
) -> Float64[np.ndarray, "replicate threshold"]:
    """Mean over 101 recalls of the best precision at that recall or a higher one, in every replicate.

    NaN where a replicate has no positives. Where each image counts once, equal to pycocotools' COCOeval for
    one category without crowds in the area range "all", with detections in its order of images.

    Args:
        scores: of all images' detections. Of equal scores the earlier comes first.
        hits: whether each takes a true one at an IoU threshold, within its image (`match_detections`).
        images: which image each is of.
        weights: how often each image counts in a replicate.
        positives: how many true ones an image has.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = hits[order]
    places = [np.flatnonzero(column) for column in ranked.T]
    starts = np.cumsum([0, *map(len, places)])
    labelled = np.flatnonzero(positives)  # often few of many images
    return counting.precisions(
        np.concatenate([np.zeros(0, np.int64), *places]),
        starts,
        images[order],
        np.ascontiguousarray(weights),
        _drawn(weights[:, labelled], positives[labelled]),
        RECALLS,
    )


def _drawn(
    weights: UInt8[np.ndarray, "replicate image"], positives: Int64[np.ndarray, " image"]
) -> Int64[np.ndarray, " replicate"]:
    """The positives of each replicate, some at a time: as int64 the weights are 8 KB an image."""
    few = np.array_split(weights, max(1, len(weights) // _REPLICATES_AT_ONCE))
    return np.concatenate([rows.astype(np.int64) @ positives for rows in few])
