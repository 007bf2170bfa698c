"""The demo's tables: what was measured, and whether what is wanted of the method holds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table as Printed

from partdistillation.evaluation.controls import Measured
from partdistillation.report.data import Table, TableRow
from partdistillation.runs.atomic import replace_file

KS = (1, 10, 20, 200)
MARGIN = 5.0
"""How much better than untrained features the trained features are wanted to be, in percent."""
_LABEL_WIDTH = 31


def tables(measured: Sequence[Measured]) -> tuple[Table, ...]:
    """What the demo found, in percent."""
    recall = Table(
        "Finding parts: average recall",
        tuple(f"AR@{k}" for k in KS),
        tuple(TableRow(one.name, tuple(_percents(one)[: len(KS)]), one.kind) for one in measured),
        note="Of all parts of the validation images by the k best masks an image, given the objects' masks, "
        "over IoU 0.5:0.05:0.95 (protocol strict), in percent.",
        better="high",
    )
    named = [one for one in measured if one.strict.c_miou == one.strict.c_miou]
    columns = ("C-mIoU", "A-mIoU", "C-mIoU, paper", "A-mIoU, paper")
    naming = Table(
        "Naming parts: mIoU after a majority vote",
        columns,
        tuple(TableRow(one.name, tuple(_percents(one)[len(KS) :]), one.kind) for one in named),
        note="Part classes of unseen objects against true parts, in percent. C: mean over object classes, A: "
        "over parts. The paper's protocol drops predictions that miss all true parts, which flatters.",
        better="high",
    )
    return recall, naming


@dataclass(frozen=True)
class Claim:
    """Something wanted of the method, in percent of `of` by more than `margin`."""

    text: str
    ours: float
    other: float
    margin: float
    of: str

    @property
    def holds(self) -> bool:
        return self.ours > self.other + self.margin

    def __str__(self) -> str:
        holds = "holds" if self.holds else "does not hold"
        return f"{self.text}: {holds} ({self.ours:.1f} against {self.other:.1f} of {self.of})"


def claims(measured: Sequence[Measured]) -> list[Claim]:
    """What is wanted of the method; whether it holds is said in the table."""
    recall = {one.name: 100 * one.strict.average_recall[10] for one in measured}
    named = {one.name: 100 * one.strict.c_miou for one in measured}
    segments = next(one.name for one in measured if one.name.startswith("segments: "))
    controls = [one.name for one in measured if one.name.startswith("segments: ") and one.kind == "control"]
    best = max(controls, key=recall.__getitem__)
    many = {one.name: 100 * one.strict.average_recall[200] for one in measured}
    return [
        Claim(f"trained features beat untrained ones by {MARGIN:g} (AR@10)",
              recall[segments], recall[best], MARGIN, best),
        Claim("proposals beat segments (AR@200, as the paper measures proposals)",
              many["proposals: overlapping"], many[segments], 0.0, segments),
        Claim("the part model beats one-stage clustering (C-mIoU)",
              named["part model"], named["one-stage"], 0.0, "one-stage"),
    ]  # fmt: skip


def wanted(found: Sequence[Claim]) -> Table:
    """Whether each claim holds, for the report."""
    rows = tuple(TableRow(one.text, (one.ours, one.other, "yes" if one.holds else "no")) for one in found)
    return Table("What was wanted", ("ours", "the other", "holds"), rows, note="In percent.")


def _percents(one: Measured) -> list[float]:
    scores = [one.strict.average_recall[k] for k in KS]
    scores += [one.strict.c_miou, one.strict.a_miou, one.paper.c_miou, one.paper.a_miou]
    return [100 * value for value in scores]


def printed(measured: Sequence[Measured]) -> Printed:
    """The rows for a terminal of 80 columns; tables printed one after the other line up."""
    table = Printed(box=None, padding=(0, 0, 0, 1))
    table.add_column(min_width=_LABEL_WIDTH, no_wrap=True)
    for title in ("AR@1", *(f"@{k}" for k in KS[1:]), "C-mIoU", "A", "C*", "A*"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in measured:
        table.add_row(one.name, *("-" if value != value else f"{value:.1f}" for value in _percents(one)))
    return table


def save_tables(out: Path, found: Sequence[Table], measured: Sequence[Measured]) -> None:
    """Write `table.md`, and `table.json` with every part's score."""
    text = "\n".join([*map(_markdown, found), *(f"- {line}" for line in claims(measured)), ""])
    replace_file(out / "table.md", text.encode())
    values = [
        {"name": one.name, "kind": one.kind, "strict": one.strict.to_dict(), "paper": one.paper.to_dict()}
        for one in measured
    ]
    replace_file(out / "table.json", (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())


def _markdown(table: Table) -> str:
    lines = [f"## {table.title}", "", table.note, ""]
    lines.append(f"| | {' | '.join(table.columns)} |")
    lines.append("|---" * (len(table.columns) + 1) + "|")
    for row in table.rows:
        kind = "" if row.kind == "result" else f" ({row.kind})"
        cells = (value if isinstance(value, str) else _cell(value) for value in row.values)
        lines.append(f"| {row.label}{kind} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cell(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) and value == value else "-"
