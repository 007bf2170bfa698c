"""The result of an evaluation, as a table and as JSON. Fractions in 0..1; NaN = nothing to measure."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.padding import Padding
from rich.table import Table as Printed
from rich.text import Text

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
        """Markdown: three tables in percent, of recall, mIoU and every part."""
        return "\n\n".join([self._head(), *(table.markdown() for table in self._tables())])

    def printed(self) -> Group:
        """The same for a terminal; on a narrow one long names are folded."""
        return Group(self._head(), *(Padding(table.printed(), (1, 0, 0, 0)) for table in self._tables()))

    def _head(self) -> str:
        return (
            f"Protocol: {self.protocol}; images: {self.images}; true parts: {self.true_parts}; "
            f"predictions: {self.predictions}. In percent."
        )

    def _tables(self) -> tuple["_Table", "_Table", "_Table"]:
        recall = {f"AR@{k}": value for k, value in self.average_recall.items()}
        recall["best overlap"] = self.best_overlap
        miou = {
            "C-mIoU": self.c_miou,
            "A-mIoU": self.a_miou,
            "C-mIoU (Hungarian)": self.c_miou_hungarian,
            "A-mIoU (Hungarian)": self.a_miou_hungarian,
        }
        parts = [
            (category.category, part.part, str(part.count), _percent(part.best_overlap), _percent(part.iou),
             " ".join(map(str, part.part_ids)) or "-")
            for category in self.categories
            for part in category.parts
        ]  # fmt: skip
        columns = ("object class", "part", "count", "best overlap", "IoU", "part ids")
        return _averages(recall), _averages(miou), _Table(columns, parts, text_columns=2)

    def to_dict(self) -> dict[str, Json]:
        """Plain values for JSON; NaN becomes None."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


class _Table(NamedTuple):
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int
    """So many columns, the first ones, are aligned left, the rest right."""

    def markdown(self) -> str:
        rule = ["---" if i < self.text_columns else "---:" for i in range(len(self.columns))]
        lines = (self.columns, rule, *self.rows)
        return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)

    def printed(self) -> Printed:
        table = Printed(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        for i, title in enumerate(self.columns):
            justify: Literal["left", "right"] = "left" if i < self.text_columns else "right"
            table.add_column(title, justify=justify, overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table


def _averages(values: Mapping[str, float]) -> _Table:
    return _Table(tuple(values), [tuple(map(_percent, values.values()))], text_columns=0)


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
