"""The demo's tables: what was measured, and whether what is wanted of the method holds."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from partdistillation.evaluation.bootstrap import UNKNOWN
from partdistillation.evaluation.controls import Measured
from partdistillation.evaluation.scores import Evaluation
from partdistillation.evaluation.tables import Grid, ScoreTables, decimals
from partdistillation.report.data import Score, Table, TableRow
from partdistillation.report.ways import NOTE, PART_MODEL
from partdistillation.runs.manifest import Json

KS = (1, 10, 20, 200)
MARGIN = 5.0
"""How much better than untrained features the trained features are wanted to be, in percent."""
_LABEL_WIDTH = 31
_number = decimals(1)


def tables(measured: Sequence[Measured]) -> tuple[Table, ...]:
    """What the demo found, in percent."""
    recall = Table(
        "Finding parts: average recall",
        tuple(f"AR@{k}" for k in KS),
        tuple(TableRow(row.name, tuple(_scores(row)[: len(KS)]), row.kind) for row in measured),
        note="Of all parts of the validation images by the k best masks an image, given the objects' masks, "
        "over IoU 0.5:0.05:0.95 (protocol strict), in percent.",
        better="high",
    )
    named = [row for row in measured if not math.isnan(row.strict.c_miou)]
    naming = Table(
        "Naming parts: mIoU after a majority vote",
        ("C-mIoU", "A-mIoU", "C-mIoU, paper", "A-mIoU, paper"),
        tuple(TableRow(row.name, tuple(_scores(row)[len(KS) :]), row.kind) for row in named),
        note="Part classes of unseen objects against true parts, in percent. C: mean over object classes, A: "
        "over parts. The paper's protocol drops predictions that miss all true parts, which flatters.",
        better="high",
    )
    return recall, naming


class Claim(NamedTuple):
    """Something wanted of the method, in percent of `of` by more than `margin`."""

    text: str
    ours: Score
    other: Score
    margin: float
    of: str

    @property
    def holds(self) -> Literal["yes", "tie", "no"]:
        """A tie is what another choice of images could turn round: the two intervals overlap."""
        match self.ours.beside(self.other, self.margin):
            case "above":
                return "yes"
            case "tie":
                return "tie"
        return "no"

    def __str__(self) -> str:
        holds = {"yes": "holds", "tie": "a tie", "no": "does not hold"}[self.holds]
        return f"{self.text}: {holds} ({self.ours.value:.1f} against {self.other.value:.1f} of {self.of})"


def claims(measured: Sequence[Measured]) -> list[Claim]:
    """What is wanted of the method; whether it holds is said in the table."""
    tenth, most = ({row.name: _score(row.strict, f"AR@{k}") for row in measured} for k in (10, 200))
    named = {row.name: _score(row.strict, "c_miou") for row in measured}
    grouped = [row for row in measured if row.name.startswith("segments: ")]
    segments = grouped[0].name
    best = max((row.name for row in grouped if row.kind == "control"), key=tenth.__getitem__)
    return [
        Claim(f"trained features beat untrained ones by {MARGIN:g} (AR@10)",
              tenth[segments], tenth[best], MARGIN, best),
        Claim("proposals beat segments (AR@200, as the paper measures proposals)",
              most["proposals: overlapping"], most[segments], 0.0, segments),
        Claim("the part model beats one-stage clustering (C-mIoU)",
              named[PART_MODEL], named["one-stage"], 0.0, "one-stage"),
    ]  # fmt: skip


def wanted(checked: Sequence[Claim]) -> Table:
    """Whether each claim holds, for the report."""
    rows = (TableRow(claim.text, (claim.ours, claim.other, claim.holds)) for claim in checked)
    return Table("What was wanted", ("ours", "the other", "holds"), tuple(rows), note=NOTE)


def _scores(row: Measured) -> list[Score]:
    recall = [_score(row.strict, f"AR@{k}") for k in KS]
    named = [_score(scores, name) for scores in (row.strict, row.paper) for name in ("c_miou", "a_miou")]
    return recall + named


def _score(scores: Evaluation, name: str) -> Score:
    """A score and its interval, in percent."""
    low, high = scores.intervals.get(name, UNKNOWN)
    return Score(*(100 * value for value in (scores.values()[name], low, high)))


def grid(measured: Sequence[Measured]) -> Grid:
    """The rows for a terminal of 80 columns; those printed one after the other line up."""
    header = ("", "AR@1", *(f"@{k}" for k in KS[1:]), "C-mIoU", "A", "C*", "A*")
    rows = [(row.name, *(_number(score.value) for score in _scores(row))) for row in measured]
    return Grid(header, {"": rows}, label_width=_LABEL_WIDTH)


def save_tables(out: Path, tables: Sequence[Table], measured: Sequence[Measured]) -> None:
    """Write `table.md`, and `table.json` with every part's score."""
    texts = (block for table in tables for block in (f"## {table.title}", table.note, _grid(table)))
    content: list[Json] = [
        {"name": row.name, "kind": row.kind, "strict": row.strict.to_dict(), "paper": row.paper.to_dict()}
        for row in measured
    ]
    lines = "\n".join(f"- {claim}" for claim in claims(measured))
    ScoreTables([*texts, lines], content, indent=1).write(out / "table")


def _grid(table: Table) -> Grid:
    rows = []
    for row in table.rows:
        kind = "" if row.kind == "result" else f" ({row.kind})"
        numbers = (_number(value.value) if isinstance(value, Score) else "-" for value in row.values)
        rows.append((f"{row.label}{kind}", *numbers))
    return Grid(("", *table.columns), {"": rows})
