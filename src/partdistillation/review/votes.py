"""What a reviewer says about a part class, and how it is kept as columns."""

from collections.abc import Sequence
from typing import Any, NamedTuple

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
