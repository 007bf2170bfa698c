"""Mask AP of parts: class-agnostic, and of named parts once part ids are mapped to names.

Matching is COCO's. A prediction's fate is kept, not its mask: about a kilobyte an image.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from partdistillation.evaluation.bootstrap import WEIGHTS, image_weights
from partdistillation.evaluation.parts import PredictedPart, TruePart
from partdistillation.functional.average_precision import average_precisions, match_detections
from partdistillation.functional.metrics import IOU_THRESHOLDS, mean_over_classes, nan_mean

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
        categories = {part.category for part in truth} | {part.category for part in predictions}
        for category in categories:
            rows = [i for i, part in enumerate(truth) if part.category == category]
            columns = [
                i for i, part in enumerate(predictions) if part.category == category and part.part is not None
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
        drawn = _Drawn(detections.image_id for detections in self._agnostic)
        agnostic = drawn.precisions(self._agnostic)
        named = [drawn.precisions(detections) for detections in self._of_names(names)]
        over_parts = {
            "part_ap": mean_over_classes([nan_mean(precisions) for precisions in named]),
            "part_ap50": mean_over_classes([precisions[:, 0] for precisions in named]),
        }
        return {
            "ap": nan_mean(agnostic),
            "ap50": agnostic[:, 0],
            **{name: np.broadcast_to(values, WEIGHTS) for name, values in over_parts.items()},
        }

    def _of_names(self, names: PartNames) -> Iterator[list[_Detections]]:
        for category, mapping in names.items():
            images = self._candidates[category]
            for name in sorted({name for image in images for name in image.names}):
                ids = [part_id for part_id, part in mapping.items() if part == name]
                yield [_named(image, ids, name) for image in images]


class _Drawn:
    """How often each image counts."""

    def __init__(self, image_ids: Iterable[str]) -> None:
        self._places = {image_id: place for place, image_id in enumerate(dict.fromkeys(image_ids))}
        self._weights = np.zeros((WEIGHTS, len(self._places)), dtype=np.uint8)  # Poisson(1) is far from 255
        for image_id, place in self._places.items():
            self._weights[:, place] = image_weights(image_id)

    def precisions(self, images: Sequence[_Detections]) -> Float64[np.ndarray, "weight threshold"]:
        """Of the detections in a category."""
        ordered = sorted(images, key=lambda image: image.image_id)  # so that ties don't depend on the order
        places = np.array([self._places[image.image_id] for image in ordered], dtype=np.int64)
        positives = np.zeros(len(self._places), dtype=np.int64)
        np.add.at(positives, places, [image.positives for image in ordered])
        nothing = np.zeros((0, len(IOU_THRESHOLDS)), np.bool_)
        return average_precisions(
            np.concatenate([np.zeros(0), *(image.scores for image in ordered)]),
            np.concatenate([nothing, *(image.hits for image in ordered)]),
            np.repeat(places, [len(image.scores) for image in ordered]),
            self._weights,
            positives,
        )


def _named(image: _Candidates, ids: Sequence[int], name: str) -> _Detections:
    rows = np.array([part == name for part in image.names], dtype=np.bool_)
    columns = np.isin(image.ids, ids)
    matched = match_detections(image.overlaps[np.ix_(rows, columns)], image.scores[columns])
    return _Detections(image.image_id, *matched, int(rows.sum()))
