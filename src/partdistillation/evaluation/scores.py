"""The result of an evaluation, as a table and as JSON. Fractions in 0..1; NaN = nothing to measure."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from partdistillation.functional.metrics import Protocol

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


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
    parts: tuple[PartScore, ...]


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
    categories: tuple[CategoryScore, ...]

    def as_table(self) -> str:
        """Two Markdown tables, in percent: the averages, and every part."""
        head = (
            f"Protocol: {self.protocol}; images: {self.images}; true parts: {self.true_parts}; "
            f"predictions: {self.predictions}. In percent."
        )
        averages = {f"AR@{k}": value for k, value in self.average_recall.items()} | {
            "best overlap": self.best_overlap,
            "C-mIoU": self.c_miou,
            "A-mIoU": self.a_miou,
            "C-mIoU (Hungarian)": self.c_miou_hungarian,
            "A-mIoU (Hungarian)": self.a_miou_hungarian,
        }
        columns = ("object class", "part", "count", "best overlap", "IoU", "part ids")
        parts = [
            (category.category, part.part, str(part.count), _percent(part.best_overlap), _percent(part.iou),
             " ".join(map(str, part.part_ids)) or "-")
            for category in self.categories
            for part in category.parts
        ]  # fmt: skip
        summary = _markdown(tuple(averages), [tuple(map(_percent, averages.values()))], text_columns=0)
        return f"{head}\n\n{summary}\n\n{_markdown(columns, parts, text_columns=2)}"

    def to_dict(self) -> dict[str, Json]:
        """Plain values for JSON; NaN becomes None."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int) -> str:
    """A Markdown table; the first `text_columns` are aligned left, the rest right."""
    rule = ["---" if i < text_columns else "---:" for i in range(len(columns))]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in (columns, rule, *rows))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _plain(value: object) -> Json:
    match value:
        case float():
            return None if math.isnan(value) else value
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case None | bool() | int() | str():
            return value
    raise TypeError(f"expected plain values, found {type(value).__name__}")
