"""Mask AP of parts: class-agnostic, and of named parts once part ids are mapped to names.

Matching is COCO's. A prediction's fate is kept, not its mask: about a kilobyte an image.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from partdistillation.evaluation.bootstrap import WEIGHTS, image_weights, mean_of_defined
from partdistillation.evaluation.parts import PredictedPart, TruePart
from partdistillation.functional.average_precision import average_precisions, match_detections
from partdistillation.functional.metrics import IOU_THRESHOLDS

PRECISIONS = ("ap", "ap50", "part_ap", "part_ap50")

PartNames = Mapping[str, Mapping[int, str]]
"""By object class, the true part that a part id stands for."""


class _Detections(NamedTuple):
    """Detections of one image in one category, and how many true ones there are."""

    image_id: str
    scores: Float64[np.ndarray, " detection"]
    hits: Bool[np.ndarray, "detection threshold"]
    positives: int


class _Candidates(NamedTuple):
    """An object class's predictions in one image, before names are known."""

    image_id: str
    ids: Int64[np.ndarray, " prediction"]
    scores: Float64[np.ndarray, " prediction"]
    names: tuple[str, ...]
    overlaps: Float64[np.ndarray, "truth prediction"]


class PrecisionCounter:
    """Collects images, then scores them: as they are, and in every bootstrap replicate (`WEIGHTS` numbers).

    NaN where nothing could be found.
    """

    def __init__(self) -> None:
        self._agnostic: list[_Detections] = []
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
        self._agnostic.append(_Detections(image_id, *match_detections(overlaps, scores), len(truth)))
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

    def scores(self, names: PartNames) -> dict[str, Float64[np.ndarray, " weight"]]:
        """`ap` and `ap50` of all parts as one category; `part_ap` and `part_ap50`, means over named parts.

        AP is the mean over IoU .5:.05:.95, AP50 that at .5. Part ids without a name are left out. A part id
        has the same name in every replicate, as names decide on an image's matches.
        """
        drawn = _Drawn(one.image_id for one in self._agnostic)
        agnostic = drawn.precisions(self._agnostic)
        named = [drawn.precisions(found) for found in self._of_names(names)]
        nothing = np.full((WEIGHTS, 1), np.nan)
        means = [mean_of_defined(one) for one in named]
        first = [one[:, 0] for one in named]
        return {
            "ap": mean_of_defined(agnostic),
            "ap50": agnostic[:, 0],
            "part_ap": mean_of_defined(np.stack(means, axis=1) if means else nothing),
            "part_ap50": mean_of_defined(np.stack(first, axis=1) if first else nothing),
        }

    def _of_names(self, names: PartNames) -> Iterator[list[_Detections]]:
        """Detections of every true part of every object class."""
        for category, mapping in names.items():
            images = self._candidates[category]
            for name in sorted({name for image in images for name in image.names}):
                ids = [part for part, its in mapping.items() if its == name]
                yield [_named(image, ids, name) for image in images]


class _Drawn:
    """How often each image counts."""

    def __init__(self, image_ids: Iterable[str]) -> None:
        self._places = {one: place for place, one in enumerate(dict.fromkeys(image_ids))}
        self._weights = np.zeros((WEIGHTS, len(self._places)), dtype=np.uint8)  # Poisson(1) is far from 255
        for image_id, place in self._places.items():
            self._weights[:, place] = image_weights(image_id)

    def precisions(self, images: Sequence[_Detections]) -> Float64[np.ndarray, "weight threshold"]:
        """Of the detections in a category."""
        ordered = sorted(images, key=lambda one: one.image_id)  # so that ties don't depend on the order
        places = np.array([self._places[one.image_id] for one in ordered], dtype=np.int64)
        positives = np.zeros(len(self._places), dtype=np.int64)
        np.add.at(positives, places, [one.positives for one in ordered])
        nothing = np.zeros((0, len(IOU_THRESHOLDS)), np.bool_)
        return average_precisions(
            np.concatenate([np.zeros(0), *(one.scores for one in ordered)]),
            np.concatenate([nothing, *(one.hits for one in ordered)]),
            np.repeat(places, [len(one.scores) for one in ordered]),
            self._weights,
            positives,
        )


def _named(image: _Candidates, ids: Sequence[int], name: str) -> _Detections:
    rows = np.array([one == name for one in image.names], dtype=np.bool_)
    columns = np.isin(image.ids, ids)
    matched = match_detections(image.overlaps[np.ix_(rows, columns)], image.scores[columns])
    return _Detections(image.image_id, *matched, int(rows.sum()))
