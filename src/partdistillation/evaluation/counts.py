"""An object class's pixels and overlaps, added up over images."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int
from scipy.optimize import linear_sum_assignment

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
)

_BACKGROUND = None


class ClassScores(NamedTuple):
    """The class's parts under both mappings; `category` is the same for the table.

    The last are of the images as they are and of every bootstrap replicate (`bootstrap.WEIGHTS`).
    """

    majority: IouScores
    hungarian: IouScores
    category: CategoryScore
    ious: Float64[np.ndarray, "weight part"]
    """After the majority vote, which every replicate takes for itself."""
    agreement: Mapping[str, Float64[np.ndarray, " weight"]]
    """NMI and ARI of part ids and true parts, by name."""
    accuracies: Float64[np.ndarray, "weight part"]
    """After the majority vote."""
    hungarian_ious: Float64[np.ndarray, "weight part"]
    """After the assignment that every replicate makes for itself."""


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
                if matrix[i, j]:
                    counted = self._pixels.setdefault((part, name), np.zeros_like(weights))
                    counted += matrix[i, j] * weights

    def scores(self, category: str, *, measured: bool) -> ClassScores:
        """Map the part ids and score the parts; IoUs are NaN unless `measured`: predictions have part ids."""
        ids = sorted({part for part, _ in self._pixels if part is not _BACKGROUND})
        names = sorted(self.occurrences)
        replicates = self._confusions(ids if measured else (), names)
        confusion = replicates[0] if measured else np.zeros((1, len(names) + 1), dtype=np.int64)
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
        agreement = _agreement(replicates) if measured else dict.fromkeys(AGREEMENT, np.full(WEIGHTS, np.nan))
        numbers = {name: float(values[0]) for name, values in agreement.items()}
        unmeasured = np.full((WEIGHTS, len(names)), np.nan)
        voted = _voted(replicates) if measured else _Mapped(unmeasured, unmeasured)
        return ClassScores(
            majority,
            hungarian,
            CategoryScore(category, majority.mean_iou, hungarian.mean_iou, **numbers, parts=parts),
            voted.ious,
            agreement,
            voted.accuracies,
            _assigned(replicates).ious if measured else unmeasured,
        )

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


class _Mapped(NamedTuple):
    """Scores of confusion matrices whose part ids were mapped; NaN where a part isn't there."""

    ious: Float64[np.ndarray, "weight part"]
    accuracies: Float64[np.ndarray, "weight part"]


def _voted(confusions: Int[np.ndarray, "weight rows columns"]) -> _Mapped:
    """`mean_iou(apply_mapping(c, majority_vote(c)))` of every one."""
    votes = confusions[:, :-1, :-1]
    if not votes.shape[2]:
        return _Mapped(*[np.zeros((len(votes), 0))] * 2)
    return _mapped(confusions, votes.argmax(axis=2))


def _assigned(confusions: Int[np.ndarray, "weight rows columns"]) -> _Mapped:
    """`mean_iou(apply_mapping(c, hungarian_match(c)))` of every one."""
    votes = confusions[:, :-1, :-1]
    mappings = np.full(votes.shape[:2], -1)
    for mapping, its in zip(mappings, votes, strict=True):
        rows, columns = linear_sum_assignment(its, maximize=True)
        mapping[rows] = columns
    # As in `hungarian_match`, which takes twice as long for a thousand matrices: pairs must share pixels.
    shared = (votes > 0) & (mappings[..., None] == np.arange(votes.shape[2]))
    return _mapped(confusions, np.where(shared.any(axis=2), mappings, -1))


def _mapped(
    confusions: Int[np.ndarray, "weight rows columns"], mappings: Int[np.ndarray, "weight rows-1"]
) -> _Mapped:
    chosen = mappings[..., None] == np.arange(confusions.shape[2] - 1)
    right = (confusions[:, :-1, :-1] * chosen).sum(axis=1)
    predicted = (confusions[:, :-1].sum(axis=2)[..., None] * chosen).sum(axis=1)
    truth = confusions.sum(axis=1)[:, :-1].astype(np.float64)
    truth[truth == 0] = np.nan
    return _Mapped(right / (truth + predicted - right), right / truth)


def _painted(
    parts: Sequence[TruePart | PredictedPart], ids: Sequence[int], size: tuple[int, ...]
) -> Int[np.ndarray, "height width"]:
    masks = stacked([part.mask for part in parts]) if parts else EncodedMasks([], *size)
    return label_map(masks, ids)
