"""Consistency of a run's part classes as files: JSON, CSV and a ranked table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from partdistillation.data.coco import read_parts
from partdistillation.errors import InputError
from partdistillation.evaluation.bootstrap import REPLICATES
from partdistillation.evaluation.consistency import Key, PartConsistency, human_scores, measure, purities
from partdistillation.evaluation.tables import Grid, Record, Scalar, ScoreTables, decimals, number
from partdistillation.functional.rank_correlation import Correlation, spearman
from partdistillation.runs.terminal import say
from partdistillation.runs.verdicts import FILE, Verdict, read_verdicts
from partdistillation.stages import ranking

FOLDER = "consistency"
Judge = Literal["people", "purity"]
MEASURES = ("score", "cosine", "silhouette", "overlap")
_ENDS = 20
_decimal = decimals(2)
_SCRATCH = ".samples"


@dataclass(frozen=True)
class ConsistencyReport:
    """Part classes, most consistent first, and what they are compared with."""

    parts: Sequence[PartConsistency]
    judges: Mapping[Judge, Mapping[Key, float]] = field(default_factory=dict)
    """What people marked, and purity, by part class; each where there is any."""

    def correlations(self) -> dict[Judge, dict[str, Correlation]]:
        """Spearman's of each measure with each judge; the bootstrap draws object classes."""
        groups = [part.category for part in self.parts]
        columns = {name: [getattr(part, name) for part in self.parts] for name in MEASURES}
        return {
            judge: {
                name: spearman(np.array(column), values, groups, replicates=REPLICATES, seed=0)
                for name, column in columns.items()
            }
            for judge, known in self.judges.items()
            for values in [np.array([known.get(part.key, math.nan) for part in self.parts])]
        }

    def tables(self, ends: int | None = None) -> ScoreTables:
        """The ranked table, of which the first and the last `ends` rows; then the correlations.

        CSV has a line a part class; in JSON `correlations` has an object a judge and measure.
        """
        correlations = self.correlations()
        columns = ("object_class", "part", "masks", *MEASURES, *self.judges)
        records = [dict(zip(columns, self._values(part), strict=True)) for part in self.parts]
        return ScoreTables(
            [self._ranked(records, ends), *(_agreement(*pair) for pair in correlations.items())],
            {
                "parts": records,
                "correlations": {
                    judge: {name: correlation._asdict() for name, correlation in measures.items()}
                    for judge, measures in correlations.items()
                },
            },
            records,
            columns,
            indent=1,
        )

    def _values(self, part: PartConsistency) -> list[Scalar]:
        measures = (getattr(part, name) for name in MEASURES)
        judged = (known.get(part.key) for known in self.judges.values())
        return [part.category, part.part, part.masks, *measures, *judged]

    def _ranked(self, records: Sequence[Record], ends: int | None) -> Grid:
        numbers = (*MEASURES, *self.judges)
        rows = [
            [str(rank), *(str(record[name]) for name in ("object_class", "part", "masks")),
             *(_decimal(number(record, name)) for name in numbers)]
            for rank, record in enumerate(records, start=1)
        ]  # fmt: skip
        if ends is not None and len(rows) > 2 * ends:
            rows = [*rows[:ends], ["..."] * len(rows[0]), *rows[-ends:]]
        return Grid(("rank", "object class", "part", "masks", *numbers), {"": rows}, text_columns=(1,))


def _agreement(judge: Judge, correlations: Mapping[str, Correlation]) -> str:
    title = f"Spearman's correlation with {judge}, 95 % of a bootstrap over object classes in brackets:"
    lines = (
        f"- {name}: {_decimal(value)} [{_decimal(low)}, {_decimal(high)}], {compared} part classes"
        for name, (value, low, high, compared) in correlations.items()
    )
    return "\n".join([title, *lines])


def run(
    out: Path,
    *,
    parts: Path | None = None,
    parts_class: str = "",
    verdicts: Path | None = None,
    seed: int = 0,
) -> ConsistencyReport:
    """Measure a run's part classes, print the table, and write `out/consistency`.

    Args:
        out: the run's folder.
        parts: true parts in the COCO layout, to compare with purity.
        parts_class: the object class of all true parts, where their file doesn't say it.
        verdicts: reviewers' verdicts; without it those in the run's folder, if any.
        seed: draws the masks that are compared.

    Raises:
        StoreError: the run has no parts yet.
        InputError: true parts or verdicts that can't be used, or are about other images or another run.
    """
    judges: dict[Judge, Mapping[Key, float]] = {}
    judged = verdicts or (out / FILE if (out / FILE).is_file() else None)
    said = [] if judged is None else read_verdicts(judged)
    if judged is not None and said and (marks := human_scores(_of_run(said, out, judged))):
        judges["people"] = marks
    elif verdicts is not None:
        raise InputError(f"{verdicts}: expected verdicts that judge parts, found none but skipped ones")
    if parts is not None:
        judges["purity"] = purities(out / ranking.PARTS, read_parts(parts, parts_class))
    folder = out / FOLDER
    report = ConsistencyReport(measure(out, folder / _SCRATCH, seed=seed), judges)
    report.tables().write(folder / FOLDER)
    report.tables(_ENDS).show()
    if "people" not in judges:
        say(f"People have judged none of these parts, to compare with: `partdistill review {out}` asks them")
    return report


def _of_run(verdicts: Sequence[Verdict], out: Path, path: Path) -> list[Verdict]:
    """The verdicts about a run, by the end of its path; all, if they are about one run only."""
    runs = {verdict.run for verdict in verdicts}
    if len(runs) > 1:
        whole = out.resolve().parts
        runs = {name for name in runs if whole[-len(Path(name).parts) :] == Path(name).parts}
    if len(runs) != 1:
        names = ", ".join(sorted({verdict.run for verdict in verdicts})) or "none"
        raise InputError(f"{path}: expected verdicts about {out.resolve().name}, found those about {names}")
    return [verdict for verdict in verdicts if verdict.run in runs]
