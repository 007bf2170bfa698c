"""The numbers that matter: the part model beside what it should beat, as the run's folder has them.

`partdistill compare` leaves them in `comparison.json`, the demo in `table.json`, `partdistill evaluate` (the
run's parts alone) in `evaluation.json`.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from partdistillation.errors import InputError
from partdistillation.evaluation.controls import Kind
from partdistillation.report.data import Headline, Score, Table, TableRow

PART_MODEL = "part model"
NOTE = (
    "In percent; ranges: 95 % of a bootstrap over images. Where two ranges overlap it is a tie; another seed "
    "moves the numbers too."
)
_BESIDE = {
    "one-stage": "clusters learned at once",
    "whole object as one part": "control",
    "supervised": "with all part labels",
}
"""What the part model stands beside, in this order, and what that is."""
_SCORE = "C-mIoU"
_COLUMNS = {"AR@1": "AR@1", "AR@10": "AR@10", "AR@200": "AR@200", _SCORE: "c_miou", "A-mIoU": "a_miou"}


class Way(NamedTuple):
    """A way to parts, and what it is worth by the names of columns, in percent (protocol strict)."""

    name: str
    kind: Kind
    scores: Mapping[str, Score]


def compared(out: Path) -> tuple[Way, ...]:
    """The ways that `partdistill compare` or the demo measured in a run's folder; none, if neither did.

    Raises:
        InputError: a file that isn't as they write it.
    """
    comparison, demo = out / "comparison.json", out / "table.json"
    if comparison.is_file():
        return tuple(_read(comparison, lambda content: map(_compared, content.get("rows", ()))))
    if demo.is_file():
        return tuple(
            _read(demo, lambda content: (_way(row["name"], row["strict"], row["kind"]) for row in content))
        )
    return ()


def evaluated(out: Path) -> tuple[Way, ...]:
    """The run's own parts, a row a protocol, if `partdistill evaluate` has been run on this folder.

    Raises:
        InputError: the file isn't as that command writes it.
    """
    path = out / "evaluation.json"
    if not path.is_file():
        return ()
    return tuple(
        _read(
            path,
            lambda content: (
                _way(f"protocol {scores['protocol']}", scores) for scores in content["protocols"]
            ),
        )
    )


def headlines(ways: Sequence[Way], own: Sequence[Way]) -> tuple[Headline, ...]:
    """The part model's C-mIoU, beside it that of what it should beat and of the best that there could be.

    Where these weren't measured, that of the run's `own` parts.
    """
    named = {way.name: way.scores[_SCORE] for way in ways}
    ours = named.get(PART_MODEL)
    if ours is None:
        strict = (way.scores[_SCORE] for way in own if way.name == "protocol strict")
        return tuple(_headline("Parts of this run", score, "against true parts") for score in strict)
    beside = (
        _headline(name.capitalize(), named[name], what, _verdict(named[name], ours))
        for name, what in _BESIDE.items()
        if name in named
    )
    return _headline("Part model", ours, "no part labels"), *beside


def tables(ways: Sequence[Way], own: Sequence[Way]) -> Iterator[Table]:
    """All scores, with intervals."""
    for title, measured in (("All ways to parts", ways), ("Against ground-truth parts", own)):
        rows = tuple(TableRow(way.name, tuple(way.scores.values()), way.kind) for way in measured)
        if rows:
            better: Literal["high", "none"] = "high" if measured is ways else "none"
            yield Table(title, tuple(_COLUMNS), rows, note=NOTE, better=better)


def _headline(name: str, score: Score, what: str, verdict: str = "") -> Headline:
    between = "" if math.isnan(score.low) else f", {score.low:.1f} to {score.high:.1f}"
    return Headline(name, f"{score.value:.1f}", f"{_SCORE}{between}; {what}", verdict)


def _read(path: Path, ways: Callable[[Any], Iterable[Way]]) -> list[Way]:
    try:
        return list(ways(json.loads(path.read_bytes())))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected scores, found {error!r:.80}; delete it, or measure again"
        ) from error


def _compared(row: Mapping[str, Any]) -> Way:
    strict = [scores for scores in row["protocols"] if scores["protocol"] == "strict"]
    return _way(row["name"], strict[0], row.get("kind", "result"))


def _way(name: str, scores: Mapping[str, Any], kind: Kind = "result") -> Way:
    by_title = {}
    for title, key in _COLUMNS.items():
        value = scores["average_recall"][key.removeprefix("AR@")] if key.startswith("AR@") else scores[key]
        by_title[title] = Score(*map(_percent, (value, *scores["intervals"].get(key, (None, None)))))
    return Way(str(name), kind, by_title)


def _percent(value: float | None) -> float:
    return math.nan if value is None else 100 * value


def _verdict(other: Score, ours: Score) -> str:
    match other.beside(ours):
        case "tie":
            return "a tie with the part model"
        case "above" | "below" as place:
            return f"{place} the part model"
        case _:
            return ""
