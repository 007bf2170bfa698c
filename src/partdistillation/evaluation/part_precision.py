"""Mask AP of parts: class-agnostic, and of named parts once part ids are mapped to names.

Matching is COCO's. Of an image's predictions stays in memory what ranks them, some 14 bytes each: precision
is defined by the order of all. The rest of an image, two kilobytes, is in a temporary file.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from partdistillation.evaluation.bootstrap import WEIGHTS
from partdistillation.evaluation.parts import PredictedPart, TruePart
from partdistillation.evaluation.scratch import Candidates, Scratch
from partdistillation.functional.average_precision import Totals, average_precisions, match_detections
from partdistillation.functional.metrics import IOU_THRESHOLDS, mean_over_classes, nan_mean

PartNames = Mapping[str, Mapping[int, str]]
"""By object class, the true part that a part id stands for."""

_AT_ONCE = 1024
"""Detections whose images' weights are in memory at a time, a kilobyte each."""
_BITS = np.arange(len(IOU_THRESHOLDS), dtype=np.uint16)


class PrecisionCounter:
    """Collects images, then scores them: as they are, and in every bootstrap replicate (`WEIGHTS` numbers).

    NaN where nothing could be found.
    """

    def __init__(self) -> None:
        self._agnostic = _Detections()
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        self._scratch = Scratch()

    def add(
        self,
        image_id: str,
        weights: Int64[np.ndarray, f"{WEIGHTS}"],
        truth: Sequence[TruePart],
        predictions: Sequence[PredictedPart],
        overlaps: Float64[np.ndarray, "truth prediction"],
    ) -> None:
        """Count one image, from the IoU of each true part with each prediction.

        Raises:
            StoreError: the temporary file can't be written.
        """
        place = self._scratch.add_image(image_id, weights)
        scores = np.array([part.score for part in predictions], dtype=np.float64)
        self._agnostic.add(place, weights, *match_detections(overlaps, scores), len(truth))
        categories = {part.category for part in truth} | {part.category for part in predictions}
        for category in categories:
            rows = [i for i, part in enumerate(truth) if part.category == category]
            columns = [
                i for i, part in enumerate(predictions) if part.category == category and part.part is not None
            ]
            candidates = Candidates(
                np.array([predictions[i].part for i in columns], dtype=np.int64),
                scores[columns],
                tuple(truth[i].name for i in rows),
                overlaps[np.ix_(rows, columns)],
            )
            self._names[category].update(candidates.names)
            self._scratch.add_candidates(category, place, candidates)

    def scores(self, names: PartNames) -> dict[str, Float64[np.ndarray, " weight"]]:
        """`ap` and `ap50` of all parts as one category; `part_ap` and `part_ap50`, means over named parts.

        AP is the mean over IoU .5:.05:.95, AP50 that at .5. Part ids without a name are left out. A part id
        has the same name in every replicate, as names decide on an image's matches.
        """
        order = self._scratch.order()
        agnostic = self._agnostic.precisions(self._scratch, order)
        named = [detections.precisions(self._scratch, order) for detections in self._of_names(names)]
        over_parts = {
            "part_ap": mean_over_classes([nan_mean(precisions) for precisions in named]),
            "part_ap50": mean_over_classes([precisions[:, 0] for precisions in named]),
        }
        return {
            "ap": nan_mean(agnostic),
            "ap50": agnostic[:, 0],
            **{name: np.broadcast_to(values, WEIGHTS) for name, values in over_parts.items()},
        }

    def _of_names(self, names: PartNames) -> Iterator["_Detections"]:
        """The detections of each true part, one object class after the other."""
        for category, mapping in names.items():
            ids = {
                name: [part_id for part_id, part in mapping.items() if part == name]
                for name in sorted(self._names[category])
            }
            named = {name: _Detections() for name in ids}
            for place, weights, candidates in self._scratch.candidates(category):
                for name, detections in named.items():
                    detections.add(place, weights, *_named(candidates, ids[name], name))
            yield from named.values()


class _Detections:
    """Detections in one category, and how many true ones there are."""

    def __init__(self) -> None:
        self._scores, self._hits, self._places = array("d"), array("H"), array("I")
        self._totals = Totals(
            np.zeros(WEIGHTS, dtype=np.int64),
            np.zeros((len(IOU_THRESHOLDS), WEIGHTS), dtype=np.int64),
            np.zeros(WEIGHTS, dtype=np.int64),
        )

    def add(
        self,
        place: int,
        weights: Int64[np.ndarray, f"{WEIGHTS}"],
        scores: Float64[np.ndarray, " detection"],
        hits: Bool[np.ndarray, "detection threshold"],
        positives: int,
    ) -> None:
        """Those of one image, which is called by its place in the scratch file."""
        self._scores.frombytes(scores.tobytes())
        self._hits.frombytes((hits << _BITS).sum(axis=1, dtype=np.uint16).tobytes())
        self._places.extend([place] * len(scores))
        self._totals.detections[:] += len(scores) * weights
        self._totals.hits[:] += hits.sum(axis=0, dtype=np.int64)[:, None] * weights
        self._totals.positives[:] += positives * weights

    def precisions(
        self, scratch: Scratch, order: Int64[np.ndarray, " image"]
    ) -> Float64[np.ndarray, "weight threshold"]:
        """Of equal scores that of the image comes first that is first in `order`."""
        places = np.array(self._places, dtype=np.int64)
        ranked = np.lexsort((order[places], -np.array(self._scores, dtype=np.float64)))
        return average_precisions(self._last_first(scratch, ranked, places[ranked]), self._totals)

    def _last_first(
        self,
        scratch: Scratch,
        ranked: Int64[np.ndarray, " detection"],
        places: Int64[np.ndarray, " detection"],
    ) -> Iterator[tuple[Bool[np.ndarray, "some threshold"], UInt8[np.ndarray, "some weight"]]]:
        bits = np.array(self._hits, dtype=np.uint16)
        for start in reversed(range(0, len(ranked), _AT_ONCE)):
            some = slice(start, start + _AT_ONCE)
            hits = (bits[ranked[some], None] >> _BITS & 1).astype(np.bool_)
            yield hits, scratch.weights(places[some])


class _Found(NamedTuple):
    """What `_Detections.add` takes of an image."""

    scores: Float64[np.ndarray, " detection"]
    hits: Bool[np.ndarray, "detection threshold"]
    positives: int


def _named(image: Candidates, ids: Sequence[int], name: str) -> _Found:
    rows = np.array([part == name for part in image.names], dtype=np.bool_)
    columns = np.isin(image.ids, ids)
    matched = match_detections(image.overlaps[np.ix_(rows, columns)], image.scores[columns])
    return _Found(*matched, int(rows.sum()))
