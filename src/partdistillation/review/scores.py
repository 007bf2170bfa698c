"""`partdistill review-scores`: what reviewers' verdicts say of one run, or of several side by side."""

import re
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from partdistillation.classes.class_list import read_class_list
from partdistillation.errors import ConfigError, InputError
from partdistillation.evaluation.tables import Grid, Record, ScoreTables, by, cell, decimals
from partdistillation.pictures.curves import Curve
from partdistillation.pictures.plots import plot
from partdistillation.review import manual
from partdistillation.review.manual import KS, Difference, ReviewScores, Scores
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.majority import from_verdicts
from partdistillation.runs.manifest import Json
from partdistillation.runs.part_table import FILE, read_part_table, write_part_table
from partdistillation.runs.terminal import say
from partdistillation.runs.verdicts import Verdict, read_verdicts, verdicts_file

ALL = "all"
"""The group of all object classes, which is always there."""
STEM = "scores"
_GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
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


def run(sources: Sequence[Path], groups: Sequence[str], *, out: Path | None = None) -> ReviewScores:
    """Score verdicts; print the tables, and write them with the curves: `scores.md`, `.csv`, `.json`, `.png`.

    Args:
        sources: folders of runs that were reviewed, or files of verdicts.
        groups: NAME=FILE each: a class list whose object classes are scored by themselves too.
        out: the folder to write to; by default the one of the first source's verdicts.

    Raises:
        ConfigError: a group that isn't NAME=FILE, or whose name is taken, or can't be a file's.
        InputError: verdicts or a class list that can't be used, or a reviewer's verdict in two files.
    """
    files = [verdicts_file(source) for source in sources]
    scores = manual.score(_read(files), {ALL: None, **_read_groups(groups)})
    folder = out or files[0].parent
    tables = review_tables(scores)
    tables.write(folder / STEM)
    _plot(scores, folder)
    tables.show()
    say(f"Look into {folder}")
    return scores


def make_part_table(reviewed: Path, *, run: str | None = None, out: Path | None = None) -> Path:
    """Write what the reviewers of a run agree on as a part table, and return its file.

    Args:
        reviewed: the folder of a run that was reviewed, or a file of verdicts.
        run: whose part classes, where several runs were reviewed together.
        out: the file to write; by default `part_table.json` beside the verdicts.

    Raises:
        InputError: the verdicts can't be used, or the file is there with other content: somebody may have
            edited it.
    """
    file = verdicts_file(reviewed)
    table = from_verdicts(_said(file), run)
    path = out or file.parent / FILE
    if path.exists() and read_part_table(path) != table:
        raise InputError(
            f"{path} is there and says something else, maybe by hand: move it away, or give another --out"
        )
    write_part_table(path, table)
    named, joined, rejected = (
        sum(len(getattr(parts, decision)) for parts in table.classes.values())
        for decision in ("names", "merged", "rejected")
    )
    say(f"{named} part classes are named, {joined} joined with another, {rejected} rejected")
    say(f"Look into {path}")
    return path


def _said(file: Path) -> list[Verdict]:
    verdicts = read_verdicts(file)
    if not verdicts:
        raise InputError(f"{file}: expected verdicts, found none: nobody has answered yet")
    return verdicts


def _read(files: Sequence[Path]) -> list[Verdict]:
    places: dict[tuple[object, ...], Path] = {}
    verdicts = []
    for file in files:
        for verdict in _said(file):
            if places.setdefault(verdict[:4], file) != file:
                raise InputError(
                    f"{file}: expected other verdicts than in {places[verdict[:4]]}, found that both have "
                    f"{verdict.reviewer!r} on part {verdict.part} of {verdict.category!r} ({verdict.run})"
                )
            verdicts.append(verdict)
    return verdicts


def _read_groups(groups: Sequence[str]) -> dict[str, Set[str]]:
    classes: dict[str, Set[str]] = {}
    for group in groups:
        name, equals, file = group.partition("=")
        if not (equals and file and _GROUP_NAME.fullmatch(name)):
            raise ConfigError(
                "--groups: expected NAME=FILE with a name of letters, digits, '.', '_' and '-', "
                f"found {group!r}"
            )
        if name in (ALL, *classes):
            raise ConfigError(f"--groups: expected every name once and none {ALL!r}, found {name!r} again")
        classes[name] = {entry.name for entry in read_class_list(Path(file)).entries}
    return classes


# ---------------------------------------------------------------------- tables and curves


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


def _plot(scores: ReviewScores, folder: Path) -> None:
    """Precision and diversity over k: several runs in a picture for each group, or the groups of one run."""
    rows = measured(scores)
    several = len({row.run for row in rows}) > 1
    for group in sorted({row.group for row in rows}) if several else [ALL]:
        curves = [row for row in rows if row.group == group or not several]
        place = "" if group == ALL else f"_{group}"
        for counted, name in (("precision", "precision"), ("unique", "diversity")):
            drawn = plot(
                [
                    Curve(label, tuple(zip(KS, (100 * value for value in curve(row, counted)), strict=True)))
                    for label, row in zip(labels(curves), curves, strict=True)
                ],
                x=f"k ({CURVES[counted]})",
                y="part classes, %",
            )
            replace_file(make_folder(folder) / f"{name}{place}.png", drawn)
