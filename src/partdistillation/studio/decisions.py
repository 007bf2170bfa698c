"""A run's part table while people change it: every step is kept, and can be taken back.

`OUT/review/part_table.json` is the table, the same file that `partdistill part-table` writes; it is replaced
whole. `OUT/studio/part_table.jsonl` is its history, a step a line, in which object classes have their
decisions before and after. The table is written first: whatever it says that the history doesn't know, after
a kill or because somebody edited the file, becomes a step of its own.
"""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from partdistillation.errors import InputError, PartDistillationError, StoreError
from partdistillation.runs.atomic import append_line, make_folder, replace_file
from partdistillation.runs.manifest import Json
from partdistillation.runs.part_table import (
    FILE,
    ClassParts,
    PartTable,
    from_json,
    read_part_table,
    to_json,
    write_part_table,
)
from partdistillation.runs.run_folder import STUDIO
from partdistillation.runs.verdicts import FILE as VERDICTS
from partdistillation.studio.workspace import Workspace

TABLE = VERDICTS.parent / FILE
"""In a run's folder: its part table."""
HISTORY = Path(STUDIO) / "part_table.jsonl"
"""In a run's folder: how the part table came about."""
_UNDECIDED = ClassParts()
_NOT_LOOKED = (-1, -1)

Action = Mapping[str, Json]
"""What was done, for people to read: `kind`, and what it was done to."""


class StaleError(PartDistillationError):
    """What was to be changed has been changed by somebody else."""


class _Step(NamedTuple):
    action: Action
    before: Mapping[str, ClassParts]
    after: Mapping[str, ClassParts]


class Decisions:
    """The part table of a run, for several threads at once.

    Args:
        out: the run's folder.

    Raises:
        StoreError: the history is damaged.
    """

    def __init__(self, out: Path) -> None:
        self.path = out / TABLE
        self._history = out / HISTORY
        self._lock = threading.RLock()
        self._table: dict[str, ClassParts] = {}
        self._changed: dict[str, int] = {}
        """By object class, the version that changed it last."""
        self._undoable: list[_Step] = []
        self._version = 0
        self._signature: tuple[int, int] | None = _NOT_LOOKED
        try:
            for line in self._lines():
                self._remember(_step(line), undone=bool(line["undone"]))
        except (ValueError, LookupError, TypeError, AttributeError, InputError) as error:
            raise StoreError(
                f"{self._history}: expected the history of a part table, found something else ({error}). "
                "Move it away to go on without steps that can be taken back"
            ) from error

    def now(self) -> tuple[PartTable, int, Action | None]:
        """The table, its version, and what undoing would take back.

        Raises:
            InputError: somebody edited the file, and it is no part table now.
            StoreError: the folder can't be written.
        """
        with self._lock:
            self._catch_up()
            last = self._undoable[-1].action if self._undoable else None
            return PartTable(dict(self._table)), self._version, last

    def change(self, base: int, action: Action, edit: Callable[[PartTable], PartTable]) -> None:
        """Change the table. When this returns, the change is on disk; without a difference nothing is done.

        Args:
            base: the version that whoever changes it has seen.
            action: what is done, for people to read.
            edit: makes another table of the present one.

        Raises:
            StaleError: an object class that is changed has been changed since.
            InputError: as `now`, and what `edit` raises.
            StoreError: the folder can't be written.
        """
        with self._lock:
            self._catch_up()
            before, after = _difference(self._table, edit(PartTable(self._table)).classes)
            if any(self._changed.get(category, 0) > base for category in after):
                raise StaleError("somebody else has changed this object class: look at it, and do it again")
            if after:
                self._write(_Step(action, before, after), undone=False)

    def undo(self, base: int) -> None:
        """Take the last step back, whoever took it; it is forgotten. Any number of steps, one a call.

        Raises:
            StaleError: there was another step since `base`.
            InputError: there is nothing to take back; or as `now`.
            StoreError: the folder can't be written.
        """
        with self._lock:
            self._catch_up()
            if base != self._version:
                raise StaleError("somebody else has changed a name since: look at it, and undo again")
            if not self._undoable:
                raise InputError("expected a step to take back, found none")
            action, before, after = self._undoable[-1]
            self._write(_Step(action, after, before), undone=True)

    def _write(self, step: _Step, *, undone: bool) -> None:
        make_folder(self.path.parent)
        write_part_table(self.path, PartTable(_with(self._table, step.after)))
        self._record(step, undone=undone)

    def _record(self, step: _Step, *, undone: bool) -> None:
        """Write a step into the history. The table has it already."""
        line = {
            "action": dict(step.action),
            "before": {category: to_json(decided) for category, decided in step.before.items()},
            "after": {category: to_json(decided) for category, decided in step.after.items()},
            "undone": undone,
        }
        make_folder(self._history.parent)
        append_line(self._history, json.dumps(line, ensure_ascii=False).encode())
        self._remember(step, undone=undone)
        self._signature = self._signed()

    def _remember(self, step: _Step, *, undone: bool) -> None:
        self._version += 1
        self._table = _with(self._table, step.after)
        self._changed |= dict.fromkeys(step.after, self._version)
        if undone:
            self._undoable.pop()
        else:
            self._undoable.append(step)

    def _catch_up(self) -> None:
        """Take over what the file says and the history doesn't."""
        if (signature := self._signed()) == self._signature:
            return
        table = read_part_table(self.path).classes if signature else {}
        before, after = _difference(self._table, table)
        if after:
            self._record(_Step({"kind": "elsewhere"}, before, after), undone=False)
        self._signature = signature

    def _signed(self) -> tuple[int, int] | None:
        """What changes when the file does."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino

    def _lines(self) -> list[dict[str, Any]]:
        """The history; what a kill left of a last line is removed.

        Raises:
            ValueError: it is damaged.
        """
        data = self._history.read_bytes() if self._history.is_file() else b""
        whole, _, torn = data.rpartition(b"\n")
        if torn:
            replace_file(self._history, whole + b"\n" if whole else b"")
        lines = [json.loads(line) for line in whole.split(b"\n") if line]
        if not all(isinstance(line, dict) for line in lines):
            raise ValueError("a line that isn't an object")
        return lines


def _step(line: Mapping[str, Any]) -> _Step:
    before, after = (
        {category: from_json(values) for category, values in line[side].items()}
        for side in ("before", "after")
    )
    return _Step(line["action"], before, after)


def _difference(
    before: Mapping[str, ClassParts], after: Mapping[str, ClassParts]
) -> tuple[dict[str, ClassParts], dict[str, ClassParts]]:
    """The object classes on which two tables differ, in the one and in the other."""
    pairs = {
        category: (before.get(category, _UNDECIDED), after.get(category, _UNDECIDED))
        for category in sorted({*before, *after})
    }
    differing = {category: pair for category, pair in pairs.items() if pair[0] != pair[1]}
    return (
        {category: pair[0] for category, pair in differing.items()},
        {category: pair[1] for category, pair in differing.items()},
    )


def _with(table: Mapping[str, ClassParts], changed: Mapping[str, ClassParts]) -> dict[str, ClassParts]:
    return {category: decided for category, decided in {**table, **changed}.items() if decided != _UNDECIDED}


class Tables:
    """The part tables of a studio's runs, opened when somebody comes."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._open: dict[Path, Decisions] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> Decisions:
        """The part table of a run.

        Raises:
            HTTPException: there is no such run.
            StoreError: its history is damaged.
        """
        out = self._workspace.out(name)
        with self._lock:
            if out not in self._open:
                self._open[out] = Decisions(out)
            return self._open[out]
