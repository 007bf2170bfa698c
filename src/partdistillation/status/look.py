"""A look at a run from outside: `partdistill status`."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from partdistillation.errors import InputError, PartDistillationError, StoreError
from partdistillation.status.locks import is_held
from partdistillation.status.metrics import metrics_of
from partdistillation.status.pace import Pace
from partdistillation.status.progress import MOST_SHARDS, Progress, left_in_all, progress
from partdistillation.status.rejected import Rejected, rejected
from partdistillation.status.run_files import RunFiles
from partdistillation.status.stages import Stage, rows_of, stages_of
from partdistillation.status.workers import Deadly, Watch, Worker

State = Literal["nothing there", "going on", "quiet", "finished"]
_BETWEEN = 1.0
"""Seconds between two looks at the claims."""


@dataclass(frozen=True)
class Status:
    """What is to be said of a run."""

    place: str
    state: State
    """Quiet: nothing changed, and nobody gave a sign of life."""
    looked: float
    """For so many seconds."""
    here: bool
    """A command of this machine is at it."""
    stages: tuple[Progress, ...]
    losses: dict[str, float]
    """The last of each training."""
    workers: tuple[Worker, ...]
    deadly: tuple[Deadly, ...]
    rejected: Rejected
    problems: tuple[str, ...]
    """Files that are damaged or missing."""

    @property
    def left(self) -> float | None:
        """Seconds that the whole run may still take."""
        return left_in_all(self.stages) if self.state == "going on" else None

    def to_dict(self) -> dict[str, Any]:
        """For other programs: the same, of JSON's types."""
        return {
            "run": self.place,
            "state": self.state,
            "seconds_looked": round(self.looked, 1),
            "seconds_left": _rounded(self.left),
            "command_on_this_machine": self.here,
            "stages": [
                {
                    "stage": stage.stage.name,
                    "state": stage.state,
                    "done": stage.done,
                    "total": stage.total or None,
                    "unit": stage.stage.unit,
                    "a_second": _rounded(stage.rate),
                    "seconds_left": _rounded(stage.left),
                    "seconds_taken": stage.seconds,
                    "loss": self.losses.get(stage.stage.name),
                }
                for stage in self.stages
            ],
            "workers": [
                {
                    "worker": worker.name,
                    "alive": worker.sign is not None,
                    "seconds_since_sign": _rounded(worker.sign),
                    "tasks": list(worker.tasks),
                }
                for worker in self.workers
            ],
            "deadly": [task._asdict() for task in self.deadly],
            "rejected": {
                "photographs": self.rejected.photographs,
                "of": self.rejected.looked_at,
                "reasons": [{"why": why, "count": count} for why, count in self.rejected.reasons],
            },
            "problems": list(self.problems),
        }


def look(
    out: str,
    seconds: float,
    *,
    wait: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Status:
    """Look at a run, for at most so many seconds: until all who hold claims have given a sign of life.

    Raises:
        InputError: there is no such folder; or a URL can't be reached.
        StoreError: the storage fails.
    """
    files = RunFiles(out)
    if files.folder is not None and not files.folder.is_dir():
        raise InputError(f"expected the folder of a run (--out of `partdistill run`) at {out}, found none")
    watch, pace = Watch(files, clock), Pace()
    watch.look()
    before = progress(files, going_on=True, pace=pace)
    here = files.folder is not None and _is_held_here(files.folder, stages_of(files))
    if _state(before, going_on=False) == "quiet":
        while watch.seconds < seconds and not (watch.is_enough and (here or watch.workers())):
            wait(min(_BETWEEN, max(0.0, seconds - watch.seconds)))
            watch.look()
    looked, files = watch.seconds, files.again()
    after = progress(files, going_on=True, pace=pace)
    workers = tuple(watch.workers())
    goes_on = here or _counts(before) != _counts(after) or any(worker.sign is not None for worker in workers)
    if goes_on:
        earlier = {stage.stage: stage for stage in before}
        stages = [_with_rate(earlier.get(stage.stage, stage), stage, looked) for stage in after]
    else:
        stages = progress(files, going_on=False, pace=pace)
    return Status(
        place=files.place,
        state=_state(stages, going_on=goes_on),
        looked=looked,
        here=here,
        stages=tuple(stages),
        losses=dict(metrics_of(files).loss),
        workers=workers,
        deadly=tuple(watch.deadly()),
        rejected=rejected(files, most_shards=MOST_SHARDS),
        problems=tuple(_problems(files)),
    )


def _is_held_here(out: Path, stages: Sequence[Stage]) -> bool:
    """Whether a command of this machine is at a run, or at one of its folders."""
    places = (path for stage in stages for path in (f".{stage.name}.lock", f"{stage.folders[0]}/.lock"))
    return any(is_held(out / place) for place in places)


def _with_rate(before: Progress, after: Progress, seconds: float) -> Progress:
    """Where the files' times say nothing, as in a bucket: by what was done while looking."""
    if after.rate or after.done <= before.done or not seconds or not after.total:
        return after
    rate = (after.done - before.done) / seconds
    return replace(after, rate=rate, left=(after.total - after.done) / rate)


def _counts(stages: list[Progress]) -> list[tuple[str, int]]:
    return [(stage.state, stage.done) for stage in stages]


def _state(stages: Sequence[Progress], *, going_on: bool) -> State:
    if all(stage.state == "done" for stage in stages):
        return "finished"
    if going_on:
        return "going on"
    return "quiet" if any(stage.state != "waiting" for stage in stages) else "nothing there"


def _problems(files: RunFiles) -> Iterator[str]:
    try:
        files.settings()
    except PartDistillationError as error:
        yield str(error)
    for folder in (folder for stage in stages_of(files) for folder in stage.row_folders):
        try:
            rows = rows_of(files, folder)
        except StoreError as error:
            yield str(error)
            continue
        if rows is not None and rows.missing:
            names = ", ".join(shard.file for shard in rows.missing[:5])
            yield (
                f"{files.place}/{folder}: {len(rows.missing)} committed shards are missing, such as {names}: "
                "the same command does them again"
            )


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
