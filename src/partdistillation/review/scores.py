"""`partdistill review-scores`: what reviewers' verdicts say of one run, or of several side by side."""

import re
from collections.abc import Sequence, Set
from pathlib import Path

from partdistillation.classes.class_list import read_class_list
from partdistillation.errors import ConfigError, InputError
from partdistillation.pictures.curves import Curve
from partdistillation.pictures.plots import plot
from partdistillation.review.manual import KS, ReviewScores, score
from partdistillation.review.manual_tables import CURVES, curve, labels, measured, review_tables
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.majority import from_verdicts
from partdistillation.runs.part_table import FILE, read_part_table, write_part_table
from partdistillation.runs.verdicts import Verdict, read_verdicts, verdicts_file

ALL = "all"
"""The group of all object classes, which is always there."""
STEM = "scores"
_GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


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
    scores = score(_read(files), {ALL: None, **_read_groups(groups)})
    folder = out or files[0].parent
    tables = review_tables(scores)
    tables.write(folder / STEM)
    _plot(scores, folder)
    tables.show()
    print(f"Look into {folder}")
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
    table = from_verdicts(read_verdicts(file), run)
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
    print(f"{named} part classes are named, {joined} joined with another, {rejected} rejected")
    print(f"Look into {path}")
    return path


def _read(files: Sequence[Path]) -> list[Verdict]:
    places: dict[tuple[object, ...], Path] = {}
    verdicts = []
    for file in files:
        for verdict in read_verdicts(file):
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


# ---------------------------------------------------------------------- curves


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
