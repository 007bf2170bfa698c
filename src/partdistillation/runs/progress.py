"""Progress of a long task: a bar with the time left on a terminal, one line a minute elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Protocol, TypeVar, runtime_checkable

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from partdistillation.runs.console import PlainConsole
from partdistillation.runs.terminal import say

_SECONDS_BETWEEN_LINES = 60.0

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Advance(Protocol):
    """Report that `count` more units are done, with a few words on how it goes (a loss, say)."""

    def __call__(self, count: int = 1, note: str = "") -> None: ...


_seconds_after: ContextVar[float] = ContextVar("_seconds_after", default=0.0)


@contextmanager
def followed_by(seconds: float) -> Iterator[None]:
    """Within, what is shown says how long is left in all: of the task, and `seconds` for what follows it."""
    token = _seconds_after.set(seconds)
    try:
        yield
    finally:
        _seconds_after.reset(token)


@contextmanager
def progress(label: str, total: int, *, done: int = 0, unit: str) -> Iterator[Advance]:
    """Show on standard error how far a task has come. `done` units were done by an earlier run."""
    console = PlainConsole(stderr=True)
    if not console.is_terminal:
        yield _Lines(label, total, done, unit)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit, markup=False),
        TimeRemainingColumn(),
        _TotalLeft(_seconds_after.get()),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total, completed=done, note="")
        yield lambda count=1, note="": bar.update(task, advance=count, note=note)


class _TotalLeft(ProgressColumn):
    """What is left of this task and of those that follow."""

    def __init__(self, seconds_after: float) -> None:
        super().__init__()
        self._seconds_after = seconds_after

    def render(self, task: Task) -> Text:
        if not self._seconds_after or task.time_remaining is None:
            return Text("")
        return Text(f"({_in_all(task.time_remaining + self._seconds_after)})")


def _in_all(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))} in all"


@runtime_checkable
class Countable(Protocol[T_co]):
    """Items that can be gone through again and again, and how many there are."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[T_co]: ...


def followed(items: Countable[T], label: str, *, unit: str) -> Iterator[T]:
    """Each of the items, showing how many of them are done. Nothing is to be printed in between."""
    with progress(label, len(items), unit=unit) as advance:
        for item in items:
            yield item
            advance()


class _Lines:
    def __init__(self, label: str, total: int, done: int, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._first = self._done = done
        self._start = self._shown = time.monotonic()
        self._seconds_after = _seconds_after.get()

    def __call__(self, count: int = 1, note: str = "") -> None:
        self._done += count
        now = time.monotonic()
        if now - self._shown >= _SECONDS_BETWEEN_LINES or self._done == self._total:
            self._shown = now
            say(self._line(now, note), stderr=True)

    def _line(self, now: float, note: str) -> str:
        seconds = (now - self._start) / (self._done - self._first) * (self._total - self._done)
        left = f", {timedelta(seconds=round(seconds))} left" if seconds else ""
        if left and self._seconds_after:
            left += f" ({_in_all(seconds + self._seconds_after)})"
        return f"{self._label}: {self._done}/{self._total} {self._unit}{left}{', ' if note else ''}{note}"
