"""Comparisons of several seeds as one table: mean and standard deviation of every score."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from partdistillation.atomic import replace_file
from partdistillation.evaluation.comparison import COLUMNS

Scores = Mapping[str, float]


def save(files: Sequence[Path], path: Path) -> None:
    """Write a Markdown table of the `comparison.json` of several runs, and print it.

    Rows that not every run has are left out.
    """
    runs = [_read(file) for file in files]
    lines = [f"Protocol strict, {len(runs)} runs, mean ± standard deviation, in percent", ""]
    lines.append(f"| | {' | '.join(COLUMNS.values())} |")
    lines.append("|---" + "|---:" * len(COLUMNS) + "|")
    for name in runs[0]:
        if all(name in run for run in runs):
            cells = (_cell([run[name][column] for run in runs]) for column in COLUMNS)
            lines.append(f"| {name} | {' | '.join(cells)} |")
    text = "\n".join([*lines, ""])
    replace_file(path, text.encode())
    print(text)


def _read(file: Path) -> dict[str, Scores]:
    """By row, its scores under the protocol strict."""
    rows = json.loads(file.read_bytes())["rows"]
    return {row["name"]: _scores(row["protocols"][0]) for row in rows}


def _scores(one: Mapping[str, object]) -> Scores:
    recall = one["average_recall"]
    assert isinstance(recall, Mapping)
    found = {f"AR@{k}": value for k, value in recall.items()} | {
        name: one[name] for name in COLUMNS if name in one
    }
    return {name: math.nan if value is None else float(value) for name, value in found.items()}


def _cell(values: Sequence[float]) -> str:
    if any(math.isnan(value) for value in values):
        return "-"
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{spread}"
