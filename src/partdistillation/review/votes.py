"""What a reviewer says about a part class, how it is kept as columns, and how far reviewers agree."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import isnan
from typing import Any, NamedTuple

import numpy as np

from partdistillation.functional.krippendorff import nominal_alpha
from partdistillation.runs.verdicts import Action

COLUMNS = "version, parent, changed, action, marks, duplicate_of, merged_into, name"
"""Of the tables of votes, in the order of `state_of`."""


class Vote(NamedTuple):
    """An answer about an item. Other items are named by their part ids within the class."""

    action: Action
    marks: tuple[bool, ...]
    duplicate_of: int | None = None
    merged_into: int | None = None
    name: str = ""


class State(NamedTuple):
    """What is stored for a reviewer and an item; version 0 and no vote before the first."""

    version: int
    parent: int
    changed: int
    vote: Vote | None


NOTHING = State(0, 0, 0, None)


class Receipt(NamedTuple):
    """What a stored vote is answered with."""

    state: State
    """What is stored now; after a replay that may be a later vote's."""
    replaced: State | None
    """The version that another window had stored meanwhile and that this vote took the place of."""


def state_of(rows: Sequence[tuple[Any, ...]]) -> State:
    """The state in the first of these rows of `COLUMNS`; none where there is no row."""
    if not rows:
        return NOTHING
    version, parent, changed, action, marks, duplicate_of, merged_into, name = rows[0]
    if action is None:
        return State(version, parent, changed, None)
    vote = Vote(action, tuple(mark == "1" for mark in marks), duplicate_of, merged_into, name)
    return State(version, parent, changed, vote)


def columns_of(vote: Vote | None) -> tuple[Any, ...]:
    """A vote as the columns from `action` on; None is an undone one."""
    if vote is None:
        return (None,) * len(Vote._fields)
    marks = "".join("01"[mark] for mark in vote.marks)
    return (vote.action, marks, vote.duplicate_of, vote.merged_into, vote.name)


def agreement(answers: Iterable[tuple[int, Vote]]) -> float | None:
    """Krippendorff's alpha of the marks: 1 is agreement on every image, 0 what chance would bring.

    Args:
        answers: votes with the items they are about. Nothing counts as marked where an item was rejected, and
            one who skipped it has no say.

    Returns:
        None as long as nobody could have disagreed: no item with two answers, or all marks alike.
    """
    counts: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
    for item, vote in answers:
        if vote.action != "skipped":
            for position, mark in enumerate(vote.marks):
                counts[item, position][mark and vote.action == "judged"] += 1
    alpha = nominal_alpha(np.array(list(counts.values()), dtype=np.int64).reshape(-1, 2))
    return None if isnan(alpha) else alpha
