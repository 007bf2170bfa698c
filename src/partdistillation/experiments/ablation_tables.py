"""The ablations' tables: the paper's numbers beside ours, as Markdown, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.table import Table as Printed
from rich.text import Text

from partdistillation.evaluation.compared_runs import mean_and_deviation
from partdistillation.evaluation.comparison import hashes
from partdistillation.evaluation.tables import Provenance
from partdistillation.experiments.ablation_grids import Ablation, Variant

Found = Mapping[str, float]
"""Scores by column, as fractions."""

TITLES = {"c_miou": "C-mIoU", "a_miou": "A-mIoU", "nmi": "NMI", "ari": "ARI"}


class Row(NamedTuple):
    """A variant's scores, one a seed; none where it couldn't be run, for that reason."""

    label: str
    paper: Mapping[str, float]
    scores: tuple[Found, ...]
    missing: str = ""


class Origin(NamedTuple):
    """What a run was scored on and made from."""

    images: int
    provenance: Provenance


def collected(runs: Sequence[Sequence[tuple[Variant, Found | str]]]) -> list[Row]:
    """The runs of several seeds, variant by variant."""
    rows = []
    for same in zip(*runs, strict=True):
        variant = same[0][0]
        scores = tuple(found for _, found in same if not isinstance(found, str))
        missing = next((found for _, found in same if isinstance(found, str)), "")
        rows.append(Row(variant.label, variant.paper, scores, missing))
    return rows


@dataclass(frozen=True)
class AblationTable:
    """An ablation's variants, and of each run what it was scored on and made from."""

    ablation: Ablation
    rows: Sequence[Row]
    origins: Sequence[Origin] = ()

    def markdown(self) -> str:
        """In percent: mean and standard deviation over seeds, and the paper's number where it has one."""
        ablation, rows = self.ablation, self.rows
        columns = list(_columns(ablation, rows))
        lines = [f"### {ablation.title}", "", _note(ablation, rows), "", f"| | {' | '.join(columns)} |"]
        lines.append("|---" + "|---:" * len(columns) + "|")
        lines += [f"| {row.label} | {' | '.join(_cells(ablation, rows, row))} |" for row in rows]
        return "\n".join([*lines, "", *(f"- {one}" for one in self._origins()), ""])

    def printed(self) -> Printed:
        """The same for a terminal."""
        caption = "\n".join([_note(self.ablation, self.rows), *self._origins()])
        table = Printed(
            title=self.ablation.title,
            title_justify="left",
            caption=Text(caption, style="dim"),
            caption_justify="left",
        )
        table.add_column("")
        for column in _columns(self.ablation, self.rows):
            table.add_column(column, justify="right")
        for row in self.rows:
            table.add_row(row.label, *_cells(self.ablation, self.rows, row))
        return table

    def csv(self) -> str:
        """A line a variant, score and seed, with what its run was made from; fractions, the paper's too."""
        file = io.StringIO()
        made_from = [hashes(one.provenance) for one in self.origins]
        named = list(dict.fromkeys(name for one in made_from for name in one))
        header = ["ablation", "variant", "score", "run", "value", "paper", *named]
        writer = csv.DictWriter(file, header, restval="", lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            for score in self.ablation.columns:
                paper = round(row.paper[score] / 100, 6) if score in row.paper else ""
                line = {"ablation": self.ablation.title, "variant": row.label, "score": score, "paper": paper}
                for run, found in enumerate(row.scores):
                    value = "" if math.isnan(found[score]) else found[score]
                    origin = made_from[run] if made_from else {}
                    writer.writerow({**line, "run": run, "value": value, **origin})
                if not row.scores:
                    writer.writerow(line)
        return file.getvalue()

    def json(self) -> str:
        """Everything; scores as fractions, the paper's in percent as printed there."""
        content = {
            "title": self.ablation.title,
            "source": self.ablation.source,
            "protocol": "strict",
            "runs": [{"images": one.images, "provenance": one.provenance.to_dict()} for one in self.origins],
            "rows": [
                {
                    "label": row.label,
                    "paper": dict(row.paper),
                    "scores": [
                        {name: None if math.isnan(value) else value for name, value in found.items()}
                        for found in row.scores
                    ],
                    "missing": row.missing,
                }
                for row in self.rows
            ],
        }
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def _origins(self) -> list[str]:
        return [f"{one.images} images, {one.provenance}" for one in self.origins]


def _columns(ablation: Ablation, rows: Sequence[Row]) -> Iterator[str]:
    for column in ablation.columns:
        title = TITLES.get(column, column)
        yield title
        if any(column in row.paper for row in rows):
            yield f"{title}, paper"


def _cells(ablation: Ablation, rows: Sequence[Row], row: Row) -> Iterator[str]:
    for column in ablation.columns:
        yield mean_and_deviation([found[column] for found in row.scores])
        if any(column in one.paper for one in rows):
            yield f"{row.paper[column]:.1f}" if column in row.paper else "-"


def _note(ablation: Ablation, rows: Sequence[Row]) -> str:
    runs = max((len(row.scores) for row in rows), default=0)
    count = f"{runs} runs" if runs != 1 else "1 run"
    note = f"Paper: {ablation.source}. Ours: protocol strict, in percent, {count}."
    reasons: dict[str, list[Row]] = {}
    for row in rows:
        if row.missing:  # before the colon there may be a model's name
            reasons.setdefault(row.missing.partition(": ")[2], []).append(row)
    for same in reasons.values():
        note += f" Not run: {'; '.join(row.label for row in same)} ({same[0].missing})."
    return note
