"""Evaluation of parts: a stream of images with their true and predicted parts in, one table out.

Stages, controls and baselines share this. Every image is reduced to counts at once; only AP keeps something
of each image: in memory what ranks its predictions, in a temporary file some kilobytes.

Average recall: all parts of an image against all its predictions, classes ignored. mIoU: per object class,
part ids are mapped to true parts by majority vote on this very set (the paper's "mapped"; for its
"clustered", pass re-clustered ids), Hungarian matching beside it. NMI and ARI need no mapping. Mask AP is
COCO's, of all parts as one category and of named ones. Intervals are of a bootstrap over images.

- `strict` never looks at the ground truth before scoring, and every image counts. Where predictions overlap,
  the higher score has the pixel.
- `paper` is the released code's protocol, which is optimistic: predictions of a part class in an object are
  merged, those that overlap no true part by more than `PAPER_MIN_IOU` are dropped, and images left without
  predictions don't count in the recall. Where predictions overlap, the later one has the pixel.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int

from partdistillation.evaluation.bootstrap import UNKNOWN, WEIGHTS, image_weights, interval
from partdistillation.evaluation.counts import AGREEMENT, ClassCounts, ClassScores
from partdistillation.evaluation.part_precision import PrecisionCounter
from partdistillation.evaluation.parts import ImageParts, PredictedPart, TruePart
from partdistillation.evaluation.scores import Evaluation
from partdistillation.functional.masks import pairwise_iou, stacked, union
from partdistillation.functional.metrics import (
    IOU_THRESHOLDS,
    Protocol,
    RecallCounter,
    average_over_classes,
    mean_over_classes,
)

PAPER_MIN_IOU = 0.1
"""Protocol "paper": predictions with part ids must overlap a true part by more than this."""
PAPER_MIN_IOU_AGNOSTIC = 0.001
"""The same for predictions without part ids."""

_OVERLAP_UNITS = 2**30
"""Overlaps are added up in whole numbers, so that the order of images doesn't matter."""

KS = (1, 10, 20, 50, 100, 200)


def evaluate(
    images: Iterable[ImageParts], *, protocol: Protocol, ks: Sequence[int] = KS, named: bool = True
) -> Evaluation:
    """Score predictions against the ground truth; `images` is read once, one image at a time.

    With `named=False` predictions are proposals or segments, which have no part ids and so no mIoU. It must
    be said: a model that names parts and finds none looks the same, and its mIoU is 0.
    """
    evaluator = Evaluator(protocol, ks, named=named)
    for image in images:
        evaluator.add(image)
    return evaluator.result()


class Evaluator:
    """`evaluate`, image by image: where predictions are costly, feed both protocols in one pass."""

    def __init__(self, protocol: Protocol, ks: Sequence[int] = KS, *, named: bool = True) -> None:
        self.protocol = protocol
        self._named = named
        self._recall = RecallCounter(ks, protocol=protocol)
        self._classes: defaultdict[str, ClassCounts] = defaultdict(ClassCounts)
        self._precision = PrecisionCounter()
        self._hits = {k: np.zeros(WEIGHTS, dtype=np.int64) for k in ks}
        self._positives = np.zeros(WEIGHTS, dtype=np.int64)
        self._true_parts = np.zeros(WEIGHTS, dtype=np.int64)
        self._overlap = np.zeros(WEIGHTS, dtype=np.int64)
        self._images = 0
        self._predictions = 0

    def add(self, image: ImageParts) -> None:
        """Count one image."""
        if self.protocol == "paper":
            image, overlaps = _as_released(image)
        else:
            overlaps = _overlaps(image.ground_truth, image.predictions)
        weights = image_weights(image.image_id)
        self._images += 1
        self._predictions += len(image.predictions)
        self._add_recall(image, overlaps, weights)
        self._precision.add(image.image_id, weights, image.ground_truth, image.predictions, overlaps)
        best = overlaps.max(axis=1, initial=0.0)
        self._true_parts += len(best) * weights
        self._overlap += round(best.sum() * _OVERLAP_UNITS) * weights
        for part, overlap in zip(image.ground_truth, best, strict=True):
            self._classes[part.category].add_occurrence(part.name, float(overlap))
        self._add_pixels(image, weights)

    def _add_recall(
        self,
        image: ImageParts,
        overlaps: Float64[np.ndarray, "truth prediction"],
        weights: Int[np.ndarray, " weight"],
    ) -> None:
        scores = np.array([part.score for part in image.predictions], dtype=np.float64)
        counted = self._recall.count(overlaps, scores)
        if counted is not None:
            self._positives += len(overlaps) * weights
            for k, hits in counted.items():
                self._hits[k] += hits.sum() * weights

    def _add_pixels(self, image: ImageParts, weights: Int[np.ndarray, " weight"]) -> None:
        painted = [part for part in image.predictions if part.part is not None]
        if self.protocol == "strict":
            painted.sort(key=lambda part: part.score)  # what is painted last stays visible
        for category in {part.category for part in image.ground_truth} | {part.category for part in painted}:
            self._classes[category].add_pixels(
                [part for part in image.ground_truth if part.category == category],
                [part for part in painted if part.category == category],
                weights,
            )

    def result(self) -> Evaluation:
        """The scores of all images so far; mIoU is NaN where predictions have no part ids."""
        counts = {name: counts for name, counts in sorted(self._classes.items()) if counts.occurrences}
        classes = [counted.scores(name, measured=self._named) for name, counted in counts.items()]
        replicates = self._replicates(classes)
        values = {name: float(of_weights[0]) for name, of_weights in replicates.items()}
        return Evaluation(
            protocol=self.protocol,
            images=self._images,
            true_parts=int(self._true_parts[0]),
            predictions=self._predictions,
            average_recall={k: values.pop(f"AR@{k}") for k in self._hits},
            intervals={
                name: interval(of_weights) if self._images > 1 else UNKNOWN
                for name, of_weights in replicates.items()
            },
            categories=tuple(scores.category for scores in classes),
            replicates=replicates,
            **values,
        )

    def _replicates(self, classes: Sequence[ClassScores]) -> dict[str, Float64[np.ndarray, " weight"]]:
        """Scores of the images as they are, which come first, and in every bootstrap replicate."""
        positives = np.where(self._positives > 0, self._positives, np.nan) * len(IOU_THRESHOLDS)
        true_parts = np.where(self._true_parts > 0, self._true_parts, np.nan)
        majority = average_over_classes([scores.majority for scores in classes])
        hungarian = average_over_classes([scores.hungarian for scores in classes])
        names = {scores.category.category: scores.category.names for scores in classes}
        over_classes = {
            **majority._asdict(),
            "c_miou_hungarian": hungarian.c_miou,
            "a_miou_hungarian": hungarian.a_miou,
            **{name: mean_over_classes([scores.agreement[name] for scores in classes]) for name in AGREEMENT},
        }
        return {
            **{f"AR@{k}": hits / positives for k, hits in self._hits.items()},
            "best_overlap": self._overlap / true_parts / _OVERLAP_UNITS,
            **{name: np.broadcast_to(values, WEIGHTS) for name, values in over_classes.items()},
            **self._precision.scores(names if self._named else {}),
        }


def _overlaps(
    truth: Sequence[TruePart], predictions: Sequence[PredictedPart]
) -> Float64[np.ndarray, "truth prediction"]:
    if not truth or not predictions:
        return np.zeros((len(truth), len(predictions)))
    return pairwise_iou(stacked([part.mask for part in truth]), stacked([part.mask for part in predictions]))


def _as_released(image: ImageParts) -> tuple[ImageParts, Float64[np.ndarray, "truth prediction"]]:
    """The image as the released code scores it: part classes merged, far-off ones dropped; and its IoUs."""
    predictions = _merged(image.predictions)
    overlaps = _overlaps(image.ground_truth, predictions)
    least = [PAPER_MIN_IOU_AGNOSTIC if part.part is None else PAPER_MIN_IOU for part in predictions]
    kept = np.flatnonzero(overlaps.max(axis=0, initial=0.0) > least)
    return replace(image, predictions=[predictions[place] for place in kept]), overlaps[:, kept]


def _merged(predictions: Sequence[PredictedPart]) -> list[PredictedPart]:
    """One prediction for each part class of an object, with the best score; without part ids, as they are."""
    groups: dict[object, list[PredictedPart]] = defaultdict(list)
    for i, part in enumerate(predictions):
        groups[i if part.part is None else (part.object_id, part.category, part.part)].append(part)
    return [
        replace(
            group[0],
            mask=union([part.mask for part in group]) if len(group) > 1 else group[0].mask,
            score=max(part.score for part in group),
        )
        for group in groups.values()
    ]
