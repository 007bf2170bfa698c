"""Reviewers' scores as text: Markdown, CSV and JSON."""

from collections.abc import Iterator, Sequence

from partdistillation.evaluation.tables import Grid, Record, ScoreTables, by, cell, decimals
from partdistillation.review.manual import KS, Difference, ReviewScores, Scores
from partdistillation.runs.manifest import Json

CURVES = {
    "precision": "at least k images alike",
    "strict_precision": "more than k images alike",
    "unique": "at least k images alike, and a new part",
}
"""The scores that are curves over k, and which part classes they count."""
_SHARES = {
    "auc": "AUC",
    "strict_auc": "strict AUC",
    "diversity": "diversity",
    "unique_of_consistent": "new of consistent",
}
COLUMNS = ("group", "run", "minus", "score", "value", "low", "high")
"""Of the CSV; `minus` is the run whose score is taken off."""


def review_tables(scores: ReviewScores) -> ScoreTables:
    """Scores and curves in percent, and by how much runs differ."""
    records = list(_records(scores))
    return ScoreTables(
        [*_grids(scores, records), *_notes(scores)], _content(scores), records, COLUMNS, indent=1
    )


def curve(scores: Scores, score: str) -> list[float]:
    """A score of `CURVES` at each of `KS`."""
    return [scores.estimates[f"{score}@{k}"].value for k in KS]


def labels(scores: Sequence[Scores]) -> list[str]:
    """What tells each of these apart: its group, its run, or both."""
    runs, groups = {row.run for row in scores}, {row.group for row in scores}
    if len(groups) == 1:
        return [row.run for row in scores]
    return [row.group if len(runs) == 1 else f"{row.run}, {row.group}" for row in scores]


def measured(scores: ReviewScores) -> list[Scores]:
    """Those with part classes to score."""
    return [row for row in scores.scores if row.parts]


def _records(scores: ReviewScores) -> Iterator[Record]:
    rows: list[Scores | Difference] = [*scores.scores, *scores.differences]
    for row in rows:
        for score, (value, (low, high)) in row.estimates.items():
            of: Record = {"group": row.group, "run": row.run, "minus": _minus(row)}
            yield {**of, "score": score, "value": value, "low": low, "high": high}


def _minus(row: Scores | Difference) -> str:
    return row.other if isinstance(row, Difference) else ""


def _grids(scores: ReviewScores, records: Sequence[Record]) -> Iterator[Grid]:
    values = by(records, "group", "run", "minus")

    def of(row: Scores | Difference) -> list[Record]:
        return values[row.group, row.run, _minus(row)]

    def shares(row: Scores | Difference) -> Iterator[str]:
        return (cell(of(row), interval=True, score=score) for score in _SHARES)

    rows = [(row.group, row.run, str(row.classes), str(row.parts), *shares(row)) for row in scores.scores]
    yield _grid(("run", "classes", "parts", *_SHARES.values()), rows)
    for score, counted in CURVES.items():
        rows = [
            (row.group, row.run, *(cell(of(row), score=f"{score}@{k}") for k in KS)) for row in scores.scores
        ]
        yield _grid(("run", *(f"k = {k}" for k in KS)), rows, f"Part classes with {counted}:")
    header = ("run", "new parts a class", "alpha", "verdicts a part", "skipped parts", "few images")
    yield _grid(header, [(row.group, row.run, *_about(row, of(row))) for row in scores.scores])
    if scores.differences:
        rows = [(row.group, f"{row.run} - {row.other}", *shares(row)) for row in scores.differences]
        yield _grid(("difference", *_SHARES.values()), rows)


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> Grid:
    return Grid(("group", *header), {title: rows}, text_columns=(0, 1))


def _about(row: Scores, records: Sequence[Record]) -> Iterator[str]:
    yield cell(records, decimals(2), interval=True, score="unique_per_class")
    yield cell(records, decimals(3), interval=True, score="alpha")
    yield f"{row.verdicts / row.parts:.1f}" if row.parts else "-"
    yield str(row.skipped)
    yield str(row.few_images)


def _content(scores: ReviewScores) -> Json:
    """`curves` and the like are what plots are made from."""
    return {
        "curves": _curves(scores, "precision"),
        "strict_curves": _curves(scores, "strict_precision"),
        "unique_curves": _curves(scores, "unique"),
        "scores": [_plain(row) for row in scores.scores],
        "differences": [_plain(row) for row in scores.differences],
        "classes_left_out": scores.left_out,
    }


def _curves(scores: ReviewScores, score: str) -> dict[str, Json]:
    rows = measured(scores)
    return {
        label: {"k": list(KS), "value": curve(row, score)}
        for label, row in zip(labels(rows), rows, strict=True)
    }


def _plain(row: Scores | Difference) -> dict[str, Json]:
    estimates: dict[str, Json] = {
        score: {"value": value, "low": low, "high": high}
        for score, (value, (low, high)) in row.estimates.items()
    }
    return {**row._asdict(), "estimates": estimates}


def _notes(scores: ReviewScores) -> Iterator[str]:
    yield "In brackets: the middle 95 % of a bootstrap over object classes."
    for run, classes in scores.left_out.items():
        if classes:
            yield f"Left out, as another run lacks verdicts on them: {classes} object classes of {run}."
