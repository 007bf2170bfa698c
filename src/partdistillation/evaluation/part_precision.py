"""Mask AP of parts: class-agnostic, and of named parts once part ids are mapped to names.

Matching is COCO's. A prediction's fate is kept, not its mask: about a kilobyte an image.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from partdistillation.evaluation.parts import PredictedPart, TruePart
from partdistillation.functional.average_precision import average_precision, match_detections
from partdistillation.functional.metrics import IOU_THRESHOLDS, nan_mean

PartNames = Mapping[str, Mapping[int, str]]
"""By object class, the true part that a part id stands for."""


class Precision(NamedTuple):
    """Average precision; NaN where nothing could be found."""

    ap: float
    """Mean over IoU .5:.05:.95."""
    ap50: float
    """At IoU .5."""


class _Detections(NamedTuple):
    """Detections of one image in one category."""

    image_id: str
    scores: Float64[np.ndarray, " detection"]
    hits: Bool[np.ndarray, "detection threshold"]


class _Candidates(NamedTuple):
    """An object class's predictions in one image, before names are known."""

    image_id: str
    ids: Int64[np.ndarray, " prediction"]
    scores: Float64[np.ndarray, " prediction"]
    names: tuple[str, ...]
    overlaps: Float64[np.ndarray, "truth prediction"]


class PrecisionCounter:
    """Collects images, then scores them."""

    def __init__(self) -> None:
        self._agnostic: list[_Detections] = []
        self._positives = 0
        self._candidates: defaultdict[str, list[_Candidates]] = defaultdict(list)

    def add(
        self,
        image_id: str,
        truth: Sequence[TruePart],
        predictions: Sequence[PredictedPart],
        overlaps: Float64[np.ndarray, "truth prediction"],
    ) -> None:
        """Count one image, from the IoU of each true part with each prediction."""
        scores = np.array([part.score for part in predictions], dtype=np.float64)
        self._agnostic.append(_Detections(image_id, *match_detections(overlaps, scores)))
        self._positives += len(truth)
        categories = {part.category for part in truth} | {one.category for one in predictions}
        for category in categories:
            rows = [i for i, part in enumerate(truth) if part.category == category]
            columns = [
                i for i, one in enumerate(predictions) if one.category == category and one.part is not None
            ]
            self._candidates[category].append(
                _Candidates(
                    image_id,
                    np.array([predictions[i].part for i in columns], dtype=np.int64),
                    scores[columns],
                    tuple(truth[i].name for i in rows),
                    overlaps[np.ix_(rows, columns)],
                )
            )

    def agnostic(self) -> Precision:
        """All parts as one category."""
        return _summary([_precision(self._agnostic, self._positives)])

    def named(self, names: PartNames) -> Precision:
        """Mean over every true part of every object class; part ids without a name are left out."""
        found = []
        for category, mapping in names.items():
            images = self._candidates[category]
            for name in sorted({name for image in images for name in image.names}):
                ids = [part for part, its in mapping.items() if its == name]
                found.append(_named_precision(images, ids, name))
        return _summary(found)


def _named_precision(
    images: Sequence[_Candidates], ids: Sequence[int], name: str
) -> Float64[np.ndarray, " threshold"]:
    detections, positives = [], 0
    for image in images:
        rows = np.array([one == name for one in image.names], dtype=np.bool_)
        columns = np.isin(image.ids, ids)
        positives += int(rows.sum())
        overlaps = image.overlaps[np.ix_(rows, columns)]
        detections.append(_Detections(image.image_id, *match_detections(overlaps, image.scores[columns])))
    return _precision(detections, positives)


def _precision(detections: Sequence[_Detections], positives: int) -> Float64[np.ndarray, " threshold"]:
    ordered = sorted(detections, key=lambda one: one.image_id)  # so that ties don't depend on the order
    scores = np.concatenate([np.zeros(0), *(one.scores for one in ordered)])
    nothing = np.zeros((0, len(IOU_THRESHOLDS)), np.bool_)
    return average_precision(scores, np.concatenate([nothing, *(one.hits for one in ordered)]), positives)


def _summary(found: Sequence[Float64[np.ndarray, " threshold"]]) -> Precision:
    return Precision(
        nan_mean([nan_mean(values) for values in found]), nan_mean([values[0] for values in found])
    )
