"""Consistency of a run's part classes as files: JSON, CSV and a ranked table."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from partdistillation.data.coco import read_parts
from partdistillation.errors import InputError
from partdistillation.evaluation.bootstrap import REPLICATES
from partdistillation.evaluation.consistency import (
    Key,
    PartConsistency,
    human_scores,
    measure,
    purities,
)
from partdistillation.evaluation.scores import Json
from partdistillation.functional.rank_correlation import Correlation, spearman
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.verdicts import FILE, Verdict, read_verdicts
from partdistillation.stages import ranking

FOLDER = "consistency"
Judge = Literal["people", "purity"]
MEASURES = ("score", "cosine", "silhouette", "overlap")
_SHOWN = 20
_SCRATCH = ".samples"


@dataclass(frozen=True)
class ConsistencyReport:
    """Part classes, most consistent first, and what they are compared with."""

    parts: Sequence[PartConsistency]
    judges: Mapping[Judge, Mapping[Key, float]] = field(default_factory=dict)
    """What people marked, and purity, by part class; each where there is any."""

    def correlations(self) -> dict[Judge, dict[str, Correlation]]:
        """Spearman's of each measure with each judge; the bootstrap draws object classes."""
        groups = [one.category for one in self.parts]
        return {
            judge: {
                name: spearman(self._column(name), values, groups, replicates=REPLICATES, seed=0)
                for name in MEASURES
            }
            for judge, known in self.judges.items()
            for values in [np.array([known.get(one.key, math.nan) for one in self.parts])]
        }

    def _column(self, name: str) -> np.ndarray:
        return np.array([getattr(one, name) for one in self.parts], np.float64)

    def markdown(self, shown: int | None = None) -> str:
        """The ranked table, of which the first and the last `shown` rows; then the correlations."""
        rows = [self._row(rank, one) for rank, one in enumerate(self.parts, start=1)]
        if shown is not None and len(rows) > 2 * shown:
            rows = [*rows[:shown], ["..."] * len(rows[0]), *rows[-shown:]]
        head = ["rank", "object class", "part", "masks", *MEASURES, *self.judges]
        lines = [head, ["---:", "---", *["---:"] * (len(head) - 2)], *rows]
        return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + self._agreement()) + "\n"

    def _row(self, rank: int, one: PartConsistency) -> list[str]:
        values = [getattr(one, name) for name in MEASURES]
        values += [known.get(one.key, math.nan) for known in self.judges.values()]
        name = " ".join(one.category.split()).replace("|", "\\|")
        return [str(rank), name, str(one.part), str(one.masks), *map(_decimal, values)]

    def _agreement(self) -> list[str]:
        lines = []
        for judge, found in self.correlations().items():
            lines += [
                "",
                f"Spearman's correlation with {judge}, 95 % of a bootstrap over object classes in brackets:",
            ]
            lines += [
                f"- {name}: {_decimal(one.value)} [{_decimal(one.low)}, {_decimal(one.high)}], "
                f"{one.compared} part classes"
                for name, one in found.items()
            ]
        return lines

    def csv(self) -> str:
        """A line a part class, as fractions; empty where there is nothing to measure."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("object_class", "part", "masks", *MEASURES, *self.judges))
        for one in self.parts:
            writer.writerow((one.category, one.part, one.masks, *self._values(one).values()))
        return file.getvalue()

    def json(self) -> str:
        """`parts`, and in `correlations` an object a judge and measure."""
        parts: list[Json] = [
            {"object_class": one.category, "part": one.part, "masks": one.masks, **self._values(one)}
            for one in self.parts
        ]
        correlations: dict[str, Json] = {
            judge: {
                name: {key: _json(value) for key, value in one._asdict().items()}
                for name, one in found.items()
            }
            for judge, found in self.correlations().items()
        }
        document: dict[str, Json] = {"parts": parts, "correlations": correlations}
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def _values(self, one: PartConsistency) -> dict[str, float | None]:
        found = {name: _json(getattr(one, name)) for name in MEASURES}
        return found | {judge: known.get(one.key) for judge, known in self.judges.items()}


def run(
    out: Path, *, parts: Path | None = None, verdicts: Path | None = None, seed: int = 0
) -> ConsistencyReport:
    """Measure a run's part classes, print the table, and write `out/consistency`.

    Args:
        out: the run's folder.
        parts: true parts in the COCO layout, to compare with purity.
        verdicts: reviewers' verdicts; without it those in the run's folder, if any.
        seed: draws the masks that are compared.

    Raises:
        StoreError: the run has no parts yet.
        InputError: true parts or verdicts that can't be used, or are about other images or another run.
    """
    judges: dict[Judge, Mapping[Key, float]] = {}
    judged = verdicts or (out / FILE if (out / FILE).is_file() else None)
    if judged is not None:
        judges["people"] = human_scores(_of_run(read_verdicts(judged), out, judged))
    if parts is not None:
        judges["purity"] = purities(out / ranking.PARTS, read_parts(parts))
    folder = out / FOLDER
    report = ConsistencyReport(measure(out, folder / _SCRATCH, seed=seed), judges)
    for name, text in (("csv", report.csv()), ("json", report.json()), ("md", report.markdown())):
        replace_file(folder / f"{FOLDER}.{name}", text.encode())
    print(report.markdown(_SHOWN), end="")
    return report


def _of_run(verdicts: Sequence[Verdict], out: Path, path: Path) -> list[Verdict]:
    """The verdicts about a run, by the end of its path; all, if they are about one run only."""
    runs = {one.run for one in verdicts}
    if len(runs) > 1:
        whole = out.resolve().parts
        runs = {name for name in runs if whole[-len(Path(name).parts) :] == Path(name).parts}
    if len(runs) != 1:
        names = ", ".join(sorted({one.run for one in verdicts})) or "none"
        raise InputError(f"{path}: expected verdicts about {out.resolve().name}, found those about {names}")
    return [one for one in verdicts if one.run in runs]


def _decimal(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _json(value: float) -> float | None:
    return None if math.isnan(value) else value
