"""Several ways to parts on the same images, a row each: for a terminal, as Markdown, as CSV and as JSON."""

import csv
import io
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table as Printed

from partdistillation.atomic import replace_file
from partdistillation.evaluation.scores import Evaluation, Json
from partdistillation.evaluation.tables import Provenance, percent, values

COLUMNS: Mapping[str, str] = {
    "AR@1": "AR@1",
    "AR@10": "@10",
    "AR@200": "@200",
    "ap50": "AP50",
    "c_miou": "C-mIoU",
    "a_miou": "A-mIoU",
    "nmi_foreground": "NMI",
    "ari_foreground": "ARI",
}
"""What is printed, NMI and ARI of true parts' pixels; CSV and JSON have all scores."""
_LABEL_WIDTH = 27


class Compared(NamedTuple):
    """A way to parts, under every protocol."""

    name: str
    evaluations: Sequence[Evaluation]


@dataclass(frozen=True)
class Comparison:
    """The rows, and what all of them were made from and compared with."""

    rows: Sequence[Compared]
    provenance: Provenance

    def markdown(self) -> str:
        """A table in percent for each protocol."""
        tables = []
        for place, first in enumerate(self.rows[0].evaluations):
            lines = [self._title(first), "", f"| | {' | '.join(COLUMNS.values())} |"]
            lines.append("|---" + "|---:" * len(COLUMNS) + "|")
            for row in self.rows:
                lines.append(f"| {_one_line(row.name)} | {' | '.join(_cells(row.evaluations[place]))} |")
            tables.append("\n".join(lines))
        return "\n\n".join([*tables, str(self.provenance)]) + "\n"

    def printed(self) -> Printed:
        """The same for a terminal of 80 columns."""
        table = Printed(box=None, padding=(0, 0, 0, 1), caption=str(self.provenance), caption_justify="left")
        table.add_column(min_width=_LABEL_WIDTH)
        for title in COLUMNS.values():
            table.add_column(title, justify="right", no_wrap=True)
        for place, first in enumerate(self.rows[0].evaluations):
            table.add_row(f"[bold]{self._title(first)}")
            for row in self.rows:
                table.add_row(row.name, *_cells(row.evaluations[place]))
        return table

    def csv(self) -> str:
        """A line a way, protocol and score."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("name", "protocol", "images", "score", "value", "low", "high"))
        for row in self.rows:
            for one in row.evaluations:
                for score, value in values(one).items():
                    numbers = (value, *one.intervals.get(score, ("", "")))
                    shown = ("" if number != number else number for number in numbers)
                    writer.writerow((row.name, one.protocol, one.images, score, *shown))
        return file.getvalue()

    def json(self) -> str:
        """Everything, as fractions."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_dict(self) -> dict[str, Json]:
        """Plain values for JSON."""
        rows: list[Json] = [
            {"name": row.name, "protocols": [one.to_dict() for one in row.evaluations]} for row in self.rows
        ]
        return {"provenance": self.provenance.to_dict(), "rows": rows}

    def _title(self, one: Evaluation) -> str:
        return f"Protocol {one.protocol}, {one.images} images"


def save_runs(found: Sequence[Comparison], stem: Path) -> None:
    """Write `STEM.md`, `.csv` and `.json` of several runs with the same rows, and print the table."""
    text = "\n\n".join([*_means(found), *(str(one.provenance) for one in found)]) + "\n"
    content: list[Json] = [one.to_dict() for one in found]
    replace_file(stem.with_name(f"{stem.name}.md"), text.encode())
    replace_file(stem.with_name(f"{stem.name}.csv"), _runs_csv(found).encode())
    replace_file(
        stem.with_name(f"{stem.name}.json"), (json.dumps({"runs": content}, indent=2) + "\n").encode()
    )
    print(text, end="")


def _means(found: Sequence[Comparison]) -> Iterator[str]:
    """A table a protocol: mean and standard deviation over runs, in percent."""
    for place, first in enumerate(found[0].rows[0].evaluations):
        images = sorted({one.rows[0].evaluations[place].images for one in found})
        lines = [
            f"Protocol {first.protocol}, {len(found)} runs of {' or '.join(map(str, images))} images",
            "",
        ]
        lines += [f"| | {' | '.join(COLUMNS.values())} |", "|---" + "|---:" * len(COLUMNS) + "|"]
        for name, scores in _scores_of_runs(found, place):
            cells = (mean_and_deviation(scores[column]) for column in COLUMNS)
            lines.append(f"| {_one_line(name)} | {' | '.join(cells)} |")
        yield "\n".join(lines)


def _runs_csv(found: Sequence[Comparison]) -> str:
    """A line a way, protocol, score and run."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("name", "protocol", "score", "run", "value"))
    for place, first in enumerate(found[0].rows[0].evaluations):
        for name, scores in _scores_of_runs(found, place):
            for score, numbers in scores.items():
                for run, number in enumerate(numbers):
                    writer.writerow((name, first.protocol, score, run, "" if number != number else number))
    return file.getvalue()


def _scores_of_runs(
    found: Sequence[Comparison], place: int
) -> Iterator[tuple[str, Mapping[str, Sequence[float]]]]:
    """Every row's scores, a number a run, under the protocol at `place`."""
    for same in zip(*(one.rows for one in found), strict=True):
        scores = [values(row.evaluations[place]) for row in same]
        yield same[0].name, {score: [one[score] for one in scores] for score in scores[0]}


def mean_and_deviation(fractions: Sequence[float]) -> str:
    """In percent: the mean, and the standard deviation of several; `-` where one isn't defined."""
    if not fractions or any(math.isnan(value) for value in fractions):
        return "-"
    spread = f" ± {100 * statistics.stdev(fractions):.1f}" if len(fractions) > 1 else ""
    return f"{100 * statistics.mean(fractions):.1f}{spread}"


def save(found: Comparison, stem: Path) -> None:
    """Write `STEM.md`, `.csv` and `.json`, and print the table: as Markdown, if not in a terminal."""
    for suffix, text in (("md", found.markdown()), ("csv", found.csv()), ("json", found.json())):
        replace_file(stem.with_name(f"{stem.name}.{suffix}"), text.encode())
    console = Console()
    if console.is_terminal:
        console.print(found.printed())
    else:
        print(found.markdown(), end="")


def _one_line(name: str) -> str:
    """A name as a cell of a Markdown table."""
    return " ".join(name.split()).replace("|", "\\|")


def _cells(one: Evaluation) -> list[str]:
    found = values(one)
    return [percent(found[name]) for name in COLUMNS]
