"""The ablations' tables: the paper's numbers beside ours."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from partdistillation.evaluation.controls import Measured
from partdistillation.evaluation.provenance import Provenance
from partdistillation.evaluation.run import PROTOCOLS
from partdistillation.evaluation.tables import Grid, Record, ScoreTables, by, cell, fraction, percent
from partdistillation.experiments.ablation_grids import Ablation, Variant
from partdistillation.runs.manifest import Json

TITLES = {"c_miou": "C-mIoU", "a_miou": "A-mIoU", "nmi_foreground": "NMI", "ari_foreground": "ARI"}
COLUMNS = ("ablation", "variant", "seed", "protocol", "images", "score", "value", "low", "high", "paper")
"""Of the CSV, before the hashes of what a seed's run was made from; fractions, the paper's too."""


class Row(NamedTuple):
    """A variant's scores by seed; none where it couldn't be run, for that reason."""

    label: str
    paper: Mapping[str, float]
    measured: Mapping[int, Measured]
    missing: str = ""


def collected(runs: Mapping[int, Sequence[tuple[Variant, Measured | str]]]) -> list[Row]:
    """The runs of several seeds, variant by variant."""
    rows = []
    for same in zip(*runs.values(), strict=True):
        variant = same[0][0]
        by_seed = dict(zip(runs, (result for _, result in same), strict=True))
        measured = {seed: result for seed, result in by_seed.items() if not isinstance(result, str)}
        missing = next((result for result in by_seed.values() if isinstance(result, str)), "")
        rows.append(Row(variant.label, variant.paper, measured, missing))
    return rows


def ablation_tables(
    ablation: Ablation, rows: Sequence[Row], origins: Mapping[int, Provenance]
) -> ScoreTables:
    """An ablation's variants: mean and standard deviation over seeds in percent, and the paper's number.

    `origins` are what each seed's run was made from. In JSON the paper's numbers are in percent.
    """
    hashes = {seed: provenance.columns() for seed, provenance in origins.items()}
    records = [record for row in rows for record in _records(ablation, row, hashes)]
    made_from = "\n".join(f"- Seed {seed}. {provenance}" for seed, provenance in origins.items())
    content: Json = {
        "title": ablation.title,
        "source": ablation.source,
        "runs": [{"seed": seed, "provenance": origin.to_dict()} for seed, origin in origins.items()],
        "rows": [
            {
                "label": row.label,
                "paper": row.paper,
                "runs": [
                    {"seed": seed, "protocols": [scores.to_dict() for scores in measured.evaluations]}
                    for seed, measured in row.measured.items()
                ],
                "missing": row.missing,
            }
            for row in rows
        ],
    }
    return ScoreTables(
        [
            f"### {ablation.title}",
            _note(ablation, rows, len(origins)),
            _grid(ablation, rows, records),
            made_from,
        ],
        content,
        records,
        (*COLUMNS, *dict.fromkeys(name for named in hashes.values() for name in named)),
        indent=1,
    )


def _records(ablation: Ablation, row: Row, hashes: Mapping[int, Mapping[str, str]]) -> Iterator[Record]:
    of: Record = {"ablation": ablation.title, "variant": row.label}
    paper = {score: fraction(value) for score, value in row.paper.items()}
    for seed, measured in row.measured.items():
        for evaluation in measured.evaluations:
            for record in evaluation.records():
                published = paper.get(str(record["score"]))
                yield {**of, **record, "seed": seed, "paper": published, **hashes[seed]}
    if not row.measured:
        for score, value in paper.items():
            yield {**of, "score": score, "paper": value}


def _grid(ablation: Ablation, rows: Sequence[Row], records: Sequence[Record]) -> Grid:
    """A section a protocol; beside a score stands the paper's, where it has any."""
    published = {score for row in rows for score in row.paper}
    header = [""]
    for score in ablation.columns:
        title = TITLES.get(score, score)
        header += [title, f"{title}, paper"] if score in published else [title]
    values = by(records, "variant", "protocol")

    def cells(row: Row, protocol: str) -> Iterator[str]:
        yield row.label
        for score in ablation.columns:
            yield cell(values.get((row.label, protocol), ()), score=score)
            if score in published:
                yield percent(fraction(row.paper[score])) if score in row.paper else "-"

    return Grid(header, {f"Protocol {name}": [[*cells(row, name)] for row in rows] for name in PROTOCOLS})


def _note(ablation: Ablation, rows: Sequence[Row], runs: int) -> str:
    images = sorted({measured.strict.images for row in rows for measured in row.measured.values()})
    seeds = f"{runs} runs, mean ± standard deviation" if runs > 1 else "1 run"
    note = f"Paper: {ablation.source}. Ours: in percent, {seeds}"
    note += f", {' or '.join(map(str, images))} images." if images else "."
    reasons: dict[str, list[Row]] = {}
    for row in rows:
        if row.missing:  # before the colon there may be a model's name
            reasons.setdefault(row.missing.partition(": ")[2], []).append(row)
    for same in reasons.values():
        note += f" Not run: {'; '.join(row.label for row in same)} ({same[0].missing})."
    return note
