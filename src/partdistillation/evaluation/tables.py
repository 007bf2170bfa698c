"""Evaluations of the same predictions side by side: for a terminal, as Markdown, as CSV and as JSON."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.padding import Padding
from rich.table import Table as Printed
from rich.text import Text

from partdistillation.evaluation.bootstrap import Interval
from partdistillation.evaluation.scores import Evaluation, Json
from partdistillation.runs.part_table import PartTable

_TITLES = {
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
_HASH = 12


@dataclass(frozen=True)
class Provenance:
    """What was compared; SHA-256 of contents, paths don't count."""

    truth: str
    made_from: Mapping[str, str]
    """What the predictions were made from, by name: models, objects."""
    predictions: str = ""
    """Of the rows or the file; empty where a model was evaluated."""
    config: str = ""
    """Of the settings, or of a run's `config.yaml` where its files are scored; empty where there is none."""
    unknown_classes: tuple[str, ...] = ()
    """Object classes with true parts that the model doesn't know: its own part ids aren't scored on them."""

    def to_dict(self) -> dict[str, Json]:
        """Plain values for JSON."""
        return {
            "predictions": self.predictions or None,
            "truth": self.truth,
            "made_from": dict(self.made_from),
            "config": self.config or None,
            "unknown_classes": list(self.unknown_classes),
        }

    def hashes(self) -> dict[str, str]:
        """The beginnings of all hashes, by name."""
        named = {
            "predictions": self.predictions,
            "truth": self.truth,
            **self.made_from,
            "config": self.config,
        }
        return {name: value[:_HASH] for name, value in named.items() if value}

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {value}" for name, value in self.hashes().items())
        unknown = ", ".join(self.unknown_classes)
        note = f"The model doesn't know: {unknown}; only clustered scores count them.\n\n" if unknown else ""
        return f"{note}SHA-256: {shown}"


@dataclass(frozen=True)
class EvaluationTables:
    """One evaluation a protocol, all of the same predictions and images."""

    evaluations: Sequence[Evaluation]
    provenance: Provenance
    part_table: PartTable | None = None
    """What to call part classes; without it they are shown by their ids."""

    def markdown(self) -> str:
        """Two tables in percent: all scores, and every part."""
        tables = (table.markdown() for table in (self._scores(), self._parts()))
        return "\n\n".join([self._head(), *tables, str(self.provenance)]) + "\n"

    def printed(self) -> Group:
        """The same for a terminal; on a narrow one long names are folded."""
        tables = (Padding(table.printed(), (1, 0, 0, 0)) for table in (self._scores(), self._parts()))
        return Group(self._head(), *tables, "", Text(str(self.provenance), style="dim"))

    def csv(self) -> str:
        """A line a score: protocol, object class and part (empty: over all), score, value, low, high."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("protocol", "images", "object_class", "part", "score", "value", "low", "high"))
        for one in self.evaluations:
            for score, value in values(one).items():
                edges = one.intervals.get(score, Interval(math.nan, math.nan))
                numbers = map(_number, (value, *edges))
                writer.writerow((one.protocol, one.images, "", "", score, *numbers))
            for category in one.categories:
                for part in category.parts:
                    for score in ("best_overlap", "iou"):
                        found = _number(getattr(part, score))
                        where = (one.protocol, one.images, category.category, part.part)
                        writer.writerow((*where, score, found, "", ""))
        return file.getvalue()

    def json(self) -> str:
        """Everything, as fractions: `provenance`, and in `protocols` an object a protocol."""
        protocols: list[Json] = [one.to_dict() for one in self.evaluations]
        content: dict[str, Json] = {"provenance": self.provenance.to_dict(), "protocols": protocols}
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def _head(self) -> str:
        counts = "; ".join(
            f"{one.protocol}: {one.predictions} predictions in {one.images} images"
            for one in self.evaluations
        )
        return (
            f"True parts: {self.evaluations[0].true_parts}; {counts}. In percent, with 95 % of a bootstrap "
            "over images in brackets."
        )

    def _scores(self) -> "_Table":
        columns = [values(one) for one in self.evaluations]
        rows = [
            (
                _TITLES.get(score, score),
                *(
                    _with_interval(found[score], one.intervals.get(score))
                    for one, found in zip(self.evaluations, columns, strict=True)
                ),
            )
            for score in columns[0]
        ]
        return _Table(("score", *(one.protocol for one in self.evaluations)), rows, text_columns=1)

    def _parts(self) -> "_Table":
        first, *others = self.evaluations
        ious = [
            {(its.category, part.part): part.iou for its in one.categories for part in its.parts}
            for one in others
        ]
        rows = [
            (its.category, part.part, str(part.count), percent(part.best_overlap), percent(part.iou),
             *(percent(found.get((its.category, part.part), math.nan)) for found in ious),
             self._named(its.category, part.part_ids) or "-")
            for its in first.categories
            for part in its.parts
        ]  # fmt: skip
        titles = ["IoU", *(f"IoU, {one.protocol}" for one in others)]
        last = "part ids" if self.part_table is None else "part classes"
        columns = ("object class", "part", "count", "best overlap", *titles, last)
        return _Table(columns, rows, text_columns=2)

    def _named(self, category: str, part_ids: Sequence[int]) -> str:
        if self.part_table is None:
            return " ".join(map(str, part_ids))
        return ", ".join(self.part_table.name(category, part) for part in part_ids)


def values(one: Evaluation) -> dict[str, float]:
    """All scores of an evaluation, by the names that JSON and CSV have."""
    recall = {f"AR@{k}": value for k, value in one.average_recall.items()}
    return recall | {name: getattr(one, name) for name in _TITLES}


def percent(value: float) -> str:
    """One digit, without the percent sign, and none of a negative zero; `-` for NaN."""
    return "-" if math.isnan(value) else f"{100 * value:z.1f}"


def _with_interval(value: float, edges: Interval | None) -> str:
    if edges is None or math.isnan(edges.low):
        return percent(value)
    return f"{percent(value)} [{percent(edges.low)}, {percent(edges.high)}]"


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


class _Table(NamedTuple):
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int
    """So many columns, the first ones, are aligned left, the rest right."""

    def markdown(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        rule = ["---" if i < self.text_columns else "---:" for i in range(len(self.columns))]
        for line in (self.columns, rule, *self.rows):
            yield "| " + " | ".join(map(_cell, line)) + " |"

    def printed(self) -> Printed:
        table = Printed(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        for i, title in enumerate(self.columns):
            justify: Literal["left", "right"] = "left" if i < self.text_columns else "right"
            table.add_column(title, justify=justify, overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
