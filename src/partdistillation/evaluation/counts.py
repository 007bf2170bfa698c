"""An object class's pixels and overlaps, added up over images."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from partdistillation.evaluation.parts import PredictedPart, TruePart
from partdistillation.evaluation.scores import CategoryScore, PartScore
from partdistillation.functional.bit_masks import EncodedMasks
from partdistillation.functional.masks import stacked
from partdistillation.functional.metrics import (
    IouScores,
    apply_mapping,
    confusion_matrix,
    hungarian_match,
    label_map,
    majority_vote,
    mean_iou,
)

_BACKGROUND = None


class ClassScores(NamedTuple):
    """The class's parts under both mappings; `category` is the same for the table."""

    majority: IouScores
    hungarian: IouScores
    category: CategoryScore


class ClassCounts:
    """Counts of one object class; its size depends on part ids and part names, not on images."""

    def __init__(self) -> None:
        self.occurrences: Counter[str] = Counter()
        self.overlap_sums: defaultdict[str, float] = defaultdict(float)
        self._pixels: Counter[tuple[int | None, str | None]] = Counter()

    @property
    def has_part_ids(self) -> bool:
        return any(part is not _BACKGROUND for part, _ in self._pixels)

    def add_occurrence(self, name: str, best_overlap: float) -> None:
        """Count a true part, found with this IoU."""
        self.occurrences[name] += 1
        self.overlap_sums[name] += best_overlap

    def add_pixels(self, truth: Sequence[TruePart], predictions: Sequence[PredictedPart]) -> None:
        """Count pixels by part id and part name; where masks overlap, the later one has the pixel.

        Every prediction has a part id.
        """
        names = sorted({part.name for part in truth})
        ids = sorted({part.part for part in predictions if part.part is not None})
        size = (truth or predictions)[0].mask.shape
        matrix = confusion_matrix(
            _painted(
                predictions, [ids.index(part.part) for part in predictions if part.part is not None], size
            ),
            _painted(truth, [names.index(part.name) for part in truth], size),
            num_predicted=len(ids),
            num_truth=len(names),
        )
        for i, part in enumerate((*ids, _BACKGROUND)):
            for j, name in enumerate((*names, _BACKGROUND)):
                self._pixels[part, name] += int(matrix[i, j])

    def scores(self, category: str, *, measured: bool) -> ClassScores:
        """Map the part ids and score the parts; IoUs are NaN unless `measured`: predictions have part ids."""
        ids = sorted({part for part, _ in self._pixels if part is not _BACKGROUND})
        names = sorted(self.occurrences)
        confusion = self._confusion(ids, names) if measured else np.zeros((1, len(names) + 1), dtype=np.int64)
        mapping = majority_vote(confusion)
        majority = mean_iou(apply_mapping(confusion, mapping))
        hungarian = mean_iou(apply_mapping(confusion, hungarian_match(confusion)))
        parts = tuple(
            PartScore(
                part=name,
                count=self.occurrences[name],
                best_overlap=self.overlap_sums[name] / self.occurrences[name],
                iou=float(majority.iou[j]),
                part_ids=tuple(int(ids[i]) for i in np.flatnonzero(mapping == j)),
            )
            for j, name in enumerate(names)
        )
        return ClassScores(
            majority, hungarian, CategoryScore(category, majority.mean_iou, hungarian.mean_iou, parts)
        )

    def _confusion(self, ids: Sequence[int], names: Sequence[str]) -> Int[np.ndarray, "rows columns"]:
        rows, columns = (*ids, _BACKGROUND), (*names, _BACKGROUND)
        return np.array([[self._pixels[part, name] for name in columns] for part in rows], dtype=np.int64)


def _painted(
    parts: Sequence[TruePart | PredictedPart], ids: Sequence[int], size: tuple[int, ...]
) -> Int[np.ndarray, "height width"]:
    masks = stacked([part.mask for part in parts]) if parts else EncodedMasks([], *size)
    return label_map(masks, ids)
