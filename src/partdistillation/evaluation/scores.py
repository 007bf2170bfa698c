"""The result of an evaluation. Fractions in 0..1; NaN = nothing to measure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from partdistillation.evaluation.bootstrap import Interval
from partdistillation.evaluation.tables import Record, plain
from partdistillation.functional.metrics import Protocol
from partdistillation.runs.manifest import Json

TITLES = {
    "best_overlap": "best overlap",
    "ap": "mask AP",
    "ap50": "mask AP50",
    "c_miou": "C-mIoU",
    "a_miou": "A-mIoU",
    "c_miou_hungarian": "C-mIoU (Hungarian)",
    "a_miou_hungarian": "A-mIoU (Hungarian)",
    "c_macc": "C-mAcc",
    "a_macc": "A-mAcc",
    "part_ap": "named parts' AP",
    "part_ap50": "named parts' AP50",
    "nmi": "NMI",
    "ari": "ARI",
    "nmi_foreground": "NMI (foreground)",
    "ari_foreground": "ARI (foreground)",
}
"""The scores besides AR@k, in the tables' order: those of masks alone, then those of part ids."""


@dataclass(frozen=True)
class PartScore:
    """One true part of an object class."""

    part: str
    count: int
    """How often it occurs in the ground truth."""
    best_overlap: float
    """Mean IoU of its occurrences with the prediction that overlaps each most, whatever that one's class."""
    iou: float
    """IoU over all pixels of the set, after the majority vote."""
    part_ids: tuple[int, ...]
    """The part ids that the majority vote maps to it."""


@dataclass(frozen=True)
class CategoryScore:
    """One object class."""

    category: str
    miou: float
    miou_hungarian: float
    nmi: float
    ari: float
    nmi_foreground: float
    ari_foreground: float
    parts: tuple[PartScore, ...]

    @property
    def names(self) -> dict[int, str]:
        """The true part that the majority vote maps each part id to."""
        return {part_id: part.part for part in self.parts for part_id in part.part_ids}


@dataclass(frozen=True)
class Evaluation:
    """What a set of predictions is worth, under one protocol."""

    protocol: Protocol
    images: int
    true_parts: int
    predictions: int
    average_recall: Mapping[int, float]
    """AR@k by k: recall of class-agnostic parts by the k best predictions an image, over IoU .5:.05:.95."""
    best_overlap: float
    """Mean over all true parts of the IoU with the best prediction."""
    c_miou: float
    """mIoU after the majority vote: mean over object classes of the mean over their parts."""
    a_miou: float
    """The same, as the mean over all parts of all object classes."""
    c_macc: float
    a_macc: float
    c_miou_hungarian: float
    """As `c_miou`, but every true part takes at most one part id."""
    a_miou_hungarian: float
    nmi: float
    """Normalized mutual information of part ids and true parts, background among them: mean over classes."""
    ari: float
    """Adjusted Rand index of the same."""
    nmi_foreground: float
    """On the pixels of true parts only."""
    ari_foreground: float
    ap: float
    """COCO's mask AP of all parts as one category."""
    ap50: float
    part_ap: float
    """COCO's mask AP after the majority vote: mean over the parts of all object classes."""
    part_ap50: float
    intervals: Mapping[str, Interval]
    """95 % of a bootstrap over images, by score: `AR@10`, `c_miou`, `nmi`, ..."""
    categories: tuple[CategoryScore, ...]
    replicates: Mapping[str, np.ndarray] = field(repr=False, compare=False)
    """By score: as it is, and in every replicate of the bootstrap (`evaluation.bootstrap.WEIGHTS` values)."""

    def values(self) -> dict[str, float]:
        """All scores by the names that JSON, CSV and `intervals` have."""
        recall = {f"AR@{k}": value for k, value in self.average_recall.items()}
        return recall | {name: getattr(self, name) for name in TITLES}

    def records(self) -> Iterator[Record]:
        """The scores as records of a long table."""
        for score, value in self.values().items():
            low, high = self.intervals.get(score, (math.nan, math.nan))
            yield {
                "protocol": self.protocol,
                "images": self.images,
                "score": score,
                "value": value,
                "low": low,
                "high": high,
            }

    def to_dict(self) -> dict[str, Json]:
        """Plain values for JSON, without the replicates; NaN becomes None."""
        return {key: plain(value) for key, value in asdict(self).items() if key != "replicates"}
