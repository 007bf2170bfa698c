"""What reviewers said about part classes: one record a reviewer and part class, kept as JSON lines.

A part class is (run, object class, part id). What it is judged by is a collage of at most 9 images.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from partdistillation.errors import InputError
from partdistillation.runs.atomic import replace_file

FILE = Path("review/verdicts.jsonl")
"""In a run's folder: the verdicts of its review."""
MAX_MARKS = 9

Action = Literal["judged", "rejected", "skipped"]


class Verdict(NamedTuple):
    """What one reviewer said about one part class."""

    reviewer: str
    run: str
    """Name of the run that the part class is from."""
    category: str
    """Its object class."""
    part: int
    """Its id within the object class."""
    marks: tuple[bool, ...]
    """For each image of its collage, at most 9: whether it shows the same part. Of no meaning if skipped."""
    duplicate_of: int | None
    """Another part id of the same object class that shows the same part; None: it is unique."""
    merged_into: int | None
    """Another part id of the same object class that this one is to be joined with; None: none."""
    name: str
    """What the part is; empty: not said."""
    action: Action
    """`judged`; `rejected`: no part at all; `skipped`: the reviewer can't say."""


def write_verdicts(path: Path, verdicts: Iterable[Verdict]) -> None:
    """Write verdicts, one JSON object a line, in the order of run, object class, part and reviewer.

    Raises:
        StoreError: the file can't be written. What was there is left as it was.
    """
    ordered = sorted(verdicts, key=lambda verdict: (verdict[1:4], verdict.reviewer))
    lines = (json.dumps(verdict._asdict(), ensure_ascii=False) for verdict in ordered)
    replace_file(path, "".join(f"{line}\n" for line in lines).encode())


def verdicts_file(path: Path) -> Path:
    """The verdicts of a run's folder; a file is itself.

    Raises:
        InputError: there are none.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"{path}: expected verdicts, or a run's folder with {FILE} in it; found neither. "
            "`partdistill review` collects verdicts, and writes them when it ends (or by its --export)"
        )
    return file


def read_verdicts(path: Path) -> list[Verdict]:
    """Read what `write_verdicts` wrote, or a file of the same form; empty lines are skipped.

    Raises:
        InputError: the file can't be read, or a line (which the message names) is no verdict, or a second
            one by the same reviewer about the same part class.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected verdicts, one JSON object a line: {error}") from error
    places: dict[tuple[str, str, str, int], int] = {}
    verdicts = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            verdict = _parse(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        earlier = places.setdefault(verdict[:4], number)
        if earlier != number:
            raise InputError(
                f"{path}, line {number}: expected one verdict a reviewer and part class, found a second one "
                f"by {verdict.reviewer!r} about part {verdict.part} of {verdict.category!r} "
                f"(line {earlier} is the first)"
            )
        verdicts.append(verdict)
    return verdicts


def _parse(line: str) -> Verdict:
    values = json.loads(line)
    if not isinstance(values, dict) or set(values) != set(Verdict._fields):
        keys = sorted(values) if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"expected a JSON object with {', '.join(Verdict._fields)}, found {keys}")
    for name, value in values.items():
        expected, fits = _FORMS[name]
        if not fits(value):
            raise ValueError(f"{name}: expected {expected}, found {value!r}")
    verdict = Verdict(**{**values, "marks": tuple(values["marks"])})
    if verdict.part in (verdict.duplicate_of, verdict.merged_into):
        raise ValueError(f"expected part {verdict.part} to be the same as another part, found itself")
    return verdict


def _is_text(value: object) -> bool:
    """Half a surrogate pair, which JSON can say, is no text: no file could hold it."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_id(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_id_or_none(value: object) -> bool:
    return value is None or _is_id(value)


def _are_marks(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MAX_MARKS and all(type(mark) is bool for mark in value)


_FORMS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("reviewer", "run", "category", "name"), ("text", _is_text)),
    "part": ("an integer from 0", _is_id),
    **dict.fromkeys(("duplicate_of", "merged_into"), ("an integer from 0, or null", _is_id_or_none)),
    "marks": (f"at most {MAX_MARKS} values true or false", _are_marks),
    "action": (f"one of {', '.join(get_args(Action))}", get_args(Action).__contains__),
}
