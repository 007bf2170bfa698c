"""Reviewers' scores as text: Markdown, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from partdistillation.evaluation.scores import Json
from partdistillation.evaluation.tables import percent
from partdistillation.review.manual import KS, Estimate, ReviewScores, Scores

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


def markdown(found: ReviewScores) -> str:
    """Scores and curves in percent, and by how much runs differ."""
    tables = [
        _table(
            ("group", "run", "classes", "parts", *_SHARES.values()),
            [
                (one.group, one.run, str(one.classes), str(one.parts), *_shares(one.estimates))
                for one in found.scores
            ],
        ),
        *(_curves(found, score) for score in CURVES),
        _table(
            ("group", "run", "new parts a class", "alpha", "verdicts a part", "skipped parts", "few images"),
            [(one.group, one.run, *_about(one)) for one in found.scores],
        ),
    ]
    if found.differences:
        rows = [(one.group, f"{one.run} - {one.other}", *_shares(one.estimates)) for one in found.differences]
        tables.append(_table(("group", "difference", *_SHARES.values()), rows))
    return "\n\n".join([*("\n".join(table) for table in tables), *_notes(found)]) + "\n"


def csv_lines(found: ReviewScores) -> str:
    """A line a group, run and score, as fractions; `minus`: the run whose score is taken off."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("group", "run", "minus", "score", "value", "low", "high"))
    scores = ((one.group, one.run, "", one.estimates) for one in found.scores)
    differences = ((one.group, one.run, one.other, one.estimates) for one in found.differences)
    for *names, estimates in (*scores, *differences):
        for score, (value, edges) in estimates.items():
            numbers = ("" if math.isnan(number) else number for number in (value, *edges))
            writer.writerow((*names, score, *numbers))
    return file.getvalue()


def json_text(found: ReviewScores) -> str:
    """Everything, as fractions; `curves` and the like are what plots are made from."""
    document: dict[str, Json] = {
        "curves": _json_curves(found, "precision"),
        "strict_curves": _json_curves(found, "strict_precision"),
        "unique_curves": _json_curves(found, "unique"),
        "scores": [{**one._asdict(), "estimates": _json_estimates(one.estimates)} for one in found.scores],
        "differences": [
            {**one._asdict(), "estimates": _json_estimates(one.estimates)} for one in found.differences
        ],
        "classes_left_out": dict(found.left_out),
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def curve(one: Scores, score: str) -> list[float]:
    """A score of `CURVES` at each of `KS`."""
    return [one.estimates[f"{score}@{k}"].value for k in KS]


def labels(scores: Sequence[Scores]) -> list[str]:
    """What tells each of these apart: its group, its run, or both."""
    runs, groups = {one.run for one in scores}, {one.group for one in scores}
    if len(groups) == 1:
        return [one.run for one in scores]
    return [one.group if len(runs) == 1 else f"{one.run}, {one.group}" for one in scores]


def measured(found: ReviewScores) -> list[Scores]:
    """Those with part classes to score."""
    return [one for one in found.scores if one.parts]


def _json_curves(found: ReviewScores, score: str) -> dict[str, Json]:
    shown = measured(found)
    return {
        label: {"k": list(KS), "value": list(curve(one, score))}
        for label, one in zip(labels(shown), shown, strict=True)
    }


def _json_estimates(estimates: Mapping[str, Estimate]) -> dict[str, Json]:
    return {
        score: dict(zip(("value", "low", "high"), map(_or_none, (value, *edges)), strict=True))
        for score, (value, edges) in estimates.items()
    }


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else number


def _curves(found: ReviewScores, score: str) -> list[str]:
    rows = [(one.group, one.run, *map(percent, curve(one, score))) for one in found.scores]
    return [
        f"Part classes with {CURVES[score]}:",
        "",
        *_table(("group", "run", *(f"k = {k}" for k in KS)), rows),
    ]


def _about(one: Scores) -> Iterator[str]:
    yield _shown(one.estimates["unique_per_class"], lambda number: f"{number:.2f}")
    yield _shown(one.estimates["alpha"], lambda number: f"{number:.3f}")
    yield f"{one.verdicts / one.parts:.1f}" if one.parts else "-"
    yield str(one.skipped)
    yield str(one.few_images)


def _shares(estimates: Mapping[str, Estimate]) -> list[str]:
    return [_shown(estimates[score], percent) for score in _SHARES]


def _shown(estimate: Estimate, form: Callable[[float], str]) -> str:
    value, (low, high) = estimate
    if math.isnan(value):
        return "-"
    return form(value) if math.isnan(low) else f"{form(value)} [{form(low)}, {form(high)}]"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown's lines: two columns of text, then numbers."""
    rule = ["---", "---", *["---:"] * (len(titles) - 2)]
    return ["| " + " | ".join(map(_cell, line)) + " |" for line in (titles, rule, *rows)]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _notes(found: ReviewScores) -> Iterator[str]:
    yield "In brackets: the middle 95 % of a bootstrap over object classes."
    for run, classes in found.left_out.items():
        if classes:
            yield f"Left out, as another run lacks verdicts on them: {classes} object classes of {run}."
