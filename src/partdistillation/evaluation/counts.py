"""An object class's pixels and overlaps, added up over images."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from partdistillation.evaluation.bootstrap import WEIGHTS
from partdistillation.evaluation.parts import PredictedPart, TruePart
from partdistillation.evaluation.scores import CategoryScore, PartScore
from partdistillation.functional.clustering_scores import adjusted_rand_index, normalized_mutual_information
from partdistillation.functional.masks import EncodedMasks, stacked
from partdistillation.functional.metrics import (
    IouScores,
    apply_mapping,
    confusion_matrix,
    hungarian_match,
    label_map,
    majority_vote,
    mean_iou,
    nan_mean,
)

_BACKGROUND = None


class ClassScores(NamedTuple):
    """The class's scores on the images as they are and in every bootstrap replicate (`bootstrap.WEIGHTS`)."""

    majority: IouScores
    """After the majority vote, which every replicate takes for itself."""
    hungarian: IouScores
    """After the assignment that every replicate makes for itself."""
    agreement: Mapping[str, Float64[np.ndarray, " weight"]]
    """NMI and ARI of part ids and true parts, by name."""
    category: CategoryScore
    """Of the images as they are, for the table."""


class ClassCounts:
    """Counts of one object class; its size depends on part ids and part names, not on images."""

    def __init__(self) -> None:
        self.occurrences: Counter[str] = Counter()
        self.overlap_sums: defaultdict[str, float] = defaultdict(float)
        self._pixels: dict[tuple[int | None, str | None], Int[np.ndarray, " weight"]] = {}

    def add_occurrence(self, name: str, best_overlap: float) -> None:
        """Count a true part, found with this IoU."""
        self.occurrences[name] += 1
        self.overlap_sums[name] += best_overlap

    def add_pixels(
        self,
        truth: Sequence[TruePart],
        predictions: Sequence[PredictedPart],
        weights: Int[np.ndarray, " weight"],
    ) -> None:
        """Count pixels by part id and part name; where masks overlap, the later one has the pixel.

        Every prediction has a part id.
        """
        names = sorted({part.name for part in truth})
        ids = sorted({part.part for part in predictions if part.part is not None})
        size = (truth or predictions)[0].mask.shape
        numbers = [ids.index(part.part) for part in predictions if part.part is not None]
        matrix = confusion_matrix(
            _painted(predictions, numbers, size),
            _painted(truth, [names.index(part.name) for part in truth], size),
            num_predicted=len(ids),
            num_truth=len(names),
        )
        for i, part in enumerate((*ids, _BACKGROUND)):
            for j, name in enumerate((*names, _BACKGROUND)):
                if matrix[i, j]:
                    counted = self._pixels.setdefault((part, name), np.zeros_like(weights))
                    counted += matrix[i, j] * weights

    def scores(self, category: str, *, measured: bool) -> ClassScores:
        """Map the part ids and score the parts; NaN unless `measured`: predictions have part ids."""
        ids = sorted({part for part, _ in self._pixels if part is not _BACKGROUND}) if measured else []
        names = sorted(self.occurrences)
        confusions = self._confusions(ids, names) if measured else np.zeros((WEIGHTS, 1, len(names) + 1))
        mappings = majority_vote(confusions)
        majority = mean_iou(apply_mapping(confusions, mappings))
        hungarian = mean_iou(apply_mapping(confusions, hungarian_match(confusions)))
        agreement = _agreement(confusions) if measured else dict.fromkeys(AGREEMENT, np.full(WEIGHTS, np.nan))
        parts = tuple(
            PartScore(
                part=name,
                count=self.occurrences[name],
                best_overlap=self.overlap_sums[name] / self.occurrences[name],
                iou=float(majority.iou[0, j]),
                part_ids=tuple(int(ids[i]) for i in np.flatnonzero(mappings[0] == j)),
            )
            for j, name in enumerate(names)
        )
        miou, miou_hungarian = (float(nan_mean(mapped.iou[0])) for mapped in (majority, hungarian))
        numbers = {name: float(values[0]) for name, values in agreement.items()}
        summary = CategoryScore(category, miou, miou_hungarian, **numbers, parts=parts)
        return ClassScores(majority, hungarian, agreement, summary)

    def _confusions(self, ids: Sequence[int], names: Sequence[str]) -> Int[np.ndarray, "weight rows columns"]:
        confusions = np.zeros((WEIGHTS, len(ids) + 1, len(names) + 1), dtype=np.int64)
        for i, part in enumerate((*ids, _BACKGROUND)):
            for j, name in enumerate((*names, _BACKGROUND)):
                if (part, name) in self._pixels:
                    confusions[:, i, j] = self._pixels[part, name]
        return confusions


AGREEMENT = ("nmi", "ari", "nmi_foreground", "ari_foreground")
"""On all pixels of images with the class, background as a part of its own; and on true parts' pixels only."""


def _agreement(
    confusions: Int[np.ndarray, "weight rows columns"],
) -> dict[str, Float64[np.ndarray, " weight"]]:
    inside = confusions[..., :-1]
    scores = (normalized_mutual_information, adjusted_rand_index)
    values = [score(table) for table in (confusions, inside) for score in scores]
    return dict(zip(AGREEMENT, values, strict=True))


def _painted(
    parts: Sequence[TruePart | PredictedPart], ids: Sequence[int], size: tuple[int, ...]
) -> Int[np.ndarray, "height width"]:
    masks = stacked([part.mask for part in parts]) if parts else EncodedMasks([], *size)
    return label_map(masks, ids)
