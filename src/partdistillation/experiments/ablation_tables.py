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
from partdistillation.evaluation.controls import Measured
from partdistillation.evaluation.run import PROTOCOLS
from partdistillation.evaluation.scores import Evaluation
from partdistillation.evaluation.tables import Provenance, values
from partdistillation.experiments.ablation_grids import Ablation, Variant
from partdistillation.functional.metrics import Protocol

TITLES = {"c_miou": "C-mIoU", "a_miou": "A-mIoU", "nmi_foreground": "NMI", "ari_foreground": "ARI"}


class Row(NamedTuple):
    """A variant's scores by seed; none where it couldn't be run, for that reason."""

    label: str
    paper: Mapping[str, float]
    found: Mapping[int, Measured]
    missing: str = ""

    def scores(self, protocol: Protocol, column: str) -> list[float]:
        """Fractions, one a seed."""
        return [values(one.under(protocol))[column] for one in self.found.values()]


def collected(runs: Mapping[int, Sequence[tuple[Variant, Measured | str]]]) -> list[Row]:
    """The runs of several seeds, variant by variant."""
    rows = []
    for same in zip(*runs.values(), strict=True):
        variant = same[0][0]
        by_seed = dict(zip(runs, (found for _, found in same), strict=True))
        measured = {seed: found for seed, found in by_seed.items() if not isinstance(found, str)}
        missing = next((found for found in by_seed.values() if isinstance(found, str)), "")
        rows.append(Row(variant.label, variant.paper, measured, missing))
    return rows


@dataclass(frozen=True)
class AblationTable:
    """An ablation's variants, and what each seed's run was made from."""

    ablation: Ablation
    rows: Sequence[Row]
    origins: Mapping[int, Provenance]

    def markdown(self) -> str:
        """In percent: mean and standard deviation over seeds, and the paper's number where it has one."""
        columns = list(self._columns())
        lines = [f"### {self.ablation.title}", "", self._note(), ""]
        for protocol in PROTOCOLS:
            lines += [f"Protocol {protocol}", "", f"| | {' | '.join(columns)} |"]
            lines.append("|---" + "|---:" * len(columns) + "|")
            lines += [f"| {row.label} | {' | '.join(self._cells(row, protocol))} |" for row in self.rows]
            lines.append("")
        return "\n".join([*lines, *(f"- {one}" for one in self._made_from()), ""])

    def printed(self) -> Printed:
        """The same for a terminal."""
        table = Printed(
            title=self.ablation.title,
            title_justify="left",
            caption=Text("\n".join([self._note(), *self._made_from()]), style="dim"),
            caption_justify="left",
        )
        table.add_column("")
        for column in self._columns():
            table.add_column(column, justify="right")
        for protocol in PROTOCOLS:
            table.add_section()
            table.add_row(Text(f"Protocol {protocol}", style="bold"))
            for row in self.rows:
                table.add_row(row.label, *self._cells(row, protocol))
        return table

    def csv(self) -> str:
        """A line a variant, seed, protocol and score; fractions, the paper's too."""
        file = io.StringIO()
        made_from = {seed: hashes(one) for seed, one in self.origins.items()}
        named = list(dict.fromkeys(name for one in made_from.values() for name in one))
        header = [
            "ablation",
            "variant",
            "seed",
            "protocol",
            "images",
            "score",
            "value",
            "low",
            "high",
            "paper",
        ]
        writer = csv.DictWriter(file, [*header, *named], restval="", lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            variant: dict[str, object] = {"ablation": self.ablation.title, "variant": row.label}
            paper = {score: round(value / 100, 6) for score, value in row.paper.items()}
            for seed, measured in row.found.items():
                for one in (measured.strict, measured.paper):
                    for line in _lines(one):
                        beside = {"paper": paper.get(str(line["score"]), "")}
                        writer.writerow({**variant, "seed": seed, **line, **beside, **made_from[seed]})
            if not row.found:
                writer.writerows(
                    {**variant, "score": score, "paper": value} for score, value in paper.items()
                )
        return file.getvalue()

    def json(self) -> str:
        """Everything; scores as fractions, the paper's in percent as printed there."""
        content = {
            "title": self.ablation.title,
            "source": self.ablation.source,
            "runs": [{"seed": seed, "provenance": one.to_dict()} for seed, one in self.origins.items()],
            "rows": [
                {
                    "label": row.label,
                    "paper": dict(row.paper),
                    "runs": [
                        {"seed": seed, "protocols": [one.strict.to_dict(), one.paper.to_dict()]}
                        for seed, one in row.found.items()
                    ],
                    "missing": row.missing,
                }
                for row in self.rows
            ],
        }
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def _made_from(self) -> list[str]:
        return [f"Seed {seed}. {one}" for seed, one in self.origins.items()]

    def _columns(self) -> Iterator[str]:
        for column in self.ablation.columns:
            title = TITLES.get(column, column)
            yield title
            if self._published(column):
                yield f"{title}, paper"

    def _cells(self, row: Row, protocol: Protocol) -> Iterator[str]:
        for column in self.ablation.columns:
            yield mean_and_deviation(row.scores(protocol, column))
            if self._published(column):
                yield f"{row.paper[column]:.1f}" if column in row.paper else "-"

    def _published(self, column: str) -> bool:
        return any(column in row.paper for row in self.rows)

    def _note(self) -> str:
        images = sorted({one.strict.images for row in self.rows for one in row.found.values()})
        runs = f"{len(self.origins)} runs, mean ± standard deviation" if len(self.origins) > 1 else "1 run"
        note = f"Paper: {self.ablation.source}. Ours: in percent, {runs}"
        note += f", {' or '.join(map(str, images))} images." if images else "."
        reasons: dict[str, list[Row]] = {}
        for row in self.rows:
            if row.missing:  # before the colon there may be a model's name
                reasons.setdefault(row.missing.partition(": ")[2], []).append(row)
        for same in reasons.values():
            note += f" Not run: {'; '.join(row.label for row in same)} ({same[0].missing})."
        return note


def _lines(one: Evaluation) -> Iterator[dict[str, object]]:
    for score, value in values(one).items():
        low, high = one.intervals.get(score, (math.nan, math.nan))
        numbers = {"value": value, "low": low, "high": high}
        shown = {name: "" if math.isnan(number) else number for name, number in numbers.items()}
        yield {"protocol": one.protocol, "images": one.images, "score": score, **shown}
