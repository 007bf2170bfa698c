"""Progress of a long task: a bar with the time left on a terminal, one line a minute elsewhere."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from partdistillation.runs.console import PlainConsole
from partdistillation.runs.terminal import say

_SECONDS_BETWEEN_LINES = 60.0

T = TypeVar("T")


class Advance(Protocol):
    """Report that `count` more units are done, with a few words on how it goes (a loss, say)."""

    def __call__(self, count: int = 1, note: str = "") -> None: ...


@contextmanager
def progress(label: str, total: int, *, done: int = 0, unit: str = "shards") -> Iterator[Advance]:
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
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total, completed=done, note="")
        yield lambda count=1, note="": bar.update(task, advance=count, note=note)


def followed(items: Collection[T], label: str, *, unit: str) -> Iterator[T]:
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

    def __call__(self, count: int = 1, note: str = "") -> None:
        self._done += count
        now = time.monotonic()
        if now - self._shown >= _SECONDS_BETWEEN_LINES or self._done == self._total:
            self._shown = now
            say(self._line(now, note), stderr=True)

    def _line(self, now: float, note: str) -> str:
        seconds = (now - self._start) / (self._done - self._first) * (self._total - self._done)
        left = f", {timedelta(seconds=round(seconds))} left" if seconds else ""
        return f"{self._label}: {self._done}/{self._total} {self._unit}{left}{', ' if note else ''}{note}"
