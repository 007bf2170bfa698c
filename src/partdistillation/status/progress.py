"""How far the stages of a run are, and how long they may still take."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from partdistillation.config import Recipe
from partdistillation.errors import PartDistillationError, StoreError
from partdistillation.recipes import PAPER
from partdistillation.runs.manifest import MANIFEST
from partdistillation.runs.stage_log import EXPECTED, SECONDS
from partdistillation.status.metrics import METRICS, metrics_of
from partdistillation.status.pace import Pace
from partdistillation.status.rejected import rejected
from partdistillation.status.run_files import RunFiles
from partdistillation.status.stages import Rows, Stage, is_done, rows_of, stages_of

StageState = Literal["waiting", "going on", "begun", "done"]
MOST_SHARDS = 256
"""So many are looked into for what was rejected, where time counts."""


@dataclass(frozen=True)
class Progress:
    """How far a stage is."""

    stage: Stage
    state: StageState
    done: int
    total: int
    """0 where it isn't known."""
    seconds: float | None = None
    """That a finished one took."""
    rate: float | None = None
    """Units a second, lately."""
    left: float | None = None
    """Seconds that it may still take, where there is something to go by."""


def progress(
    files: RunFiles, *, going_on: bool, pace: Pace, totals: Mapping[str, int] | None = None
) -> list[Progress]:
    """Of every stage of a run.

    Args:
        files: the run's.
        going_on: whether it does.
        pace: what was seen of it before.
        totals: how many steps stages take, where it is known.
    """
    if not going_on:
        pace.forget(files.place)
    expected, spent, current, photographs = files.note(EXPECTED), files.note(SECONDS), True, 0
    stages = list[Progress]()
    for stage in stages_of(files):
        done, total = _counts(files, stage)
        if stage.unit == "photographs":
            photographs = total = total or photographs
        else:
            total = (totals or {}).get(stage.name) or _steps(files, stage)
        if is_done(files, stage):
            stages.append(Progress(stage, "done", total, total, _number(spent, stage.name)))
            continue
        begun = bool(done or (current and (stages or files.names(stage.folders[0]))))
        state: StageState = "begun" if done else "waiting"
        if begun and current and going_on:
            state = "going on"
        done = min(done, total) if total else done
        left = _number(expected, stage.name)
        if left is not None and total:
            left *= 1 - done / total
        rate = None
        if state != "waiting":
            now = time.monotonic()
            rate = pace.a_second(files.place, stage.name, done, now) if state == "going on" else None
            rate = rate or _rate(files, stage)
        if rate and total:
            left = (total - done) / rate
        stages.append(Progress(stage, state, done, total, rate=rate, left=left))
        current = False
    return stages


def left_in_all(stages: Sequence[Progress]) -> float | None:
    """Seconds that all stages may still take; None where that of one isn't known."""
    left = [stage.left for stage in stages if stage.state != "done"]
    known = [seconds for seconds in left if seconds is not None]
    return sum(known) if len(known) == len(left) else None


def _counts(files: RunFiles, stage: Stage) -> tuple[int, int]:
    """What is done of a stage, and of how many; of one with several folders, the first takes the time."""
    if stage.unit == "steps":
        return metrics_of(files).steps.get(stage.name, 0), 0
    try:
        rows = rows_of(files, stage.folders[0])
    except StoreError:
        rows = None
    return (0, 0) if rows is None else (rows.done, rows.total)


def _steps(files: RunFiles, stage: Stage) -> int:
    """How many it is likely to take, by how many photographs have objects; 0 before that is known."""
    recipe = _recipe(files)
    training = recipe.proposals if stage.name == "proposals" else recipe.distillation
    if not training.max_epochs:
        return training.steps
    objects = rejected(files, most_shards=MOST_SHARDS)
    usable = round(objects.usable_share * objects.done)
    return training.limited(usable).steps if usable else 0


def _recipe(files: RunFiles) -> Recipe:
    try:
        return files.settings()[1]
    except PartDistillationError:
        return PAPER


def _rate(files: RunFiles, stage: Stage) -> float | None:
    """Units a second by when files were written: two times of one disk, so that no clock here counts."""
    if files.folder is None:
        return None
    if stage.unit == "steps":
        return _steps_a_second(files.folder, stage, metrics_of(files).steps.get(stage.name, 0))
    try:
        rows = rows_of(files, stage.folders[0])
    except StoreError:
        return None
    return None if rows is None else _rows_a_second(files.folder / stage.folders[0], rows)


def _rows_a_second(folder: Path, rows: Rows) -> float | None:
    """Since the stage was begun, or gone on with: then its manifest was written.

    Workers come and go: where nothing came for more than half of that time, what came after it counts.
    """
    times = _times(folder)
    begun = times.get(MANIFEST, 0.0)
    shards = sorted((times[shard.file], shard.rows) for shard in rows.committed if shard.file in times)
    commits = [(written, count) for written, count in shards if written > begun]
    for place in range(len(commits) - 1, 0, -1):
        if commits[place][0] - commits[place - 1][0] > (commits[-1][0] - begun) / 2:
            begun, commits = commits[place][0], commits[place + 1 :]
            break
    return sum(count for _, count in commits) / (commits[-1][0] - begun) if commits else None


def _steps_a_second(run: Path, stage: Stage, done: int) -> float | None:
    """From the newest checkpoint to the newest line of the log."""
    checkpoints = {
        int(digits): written
        for name, written in _times(run / "checkpoints" / stage.name).items()
        if (digits := name.removeprefix("step-").removesuffix(".safetensors")).isdecimal()
    }
    logged = _times(run).get(METRICS)
    if not checkpoints or logged is None:
        return None
    step, written = max(checkpoints.items())
    return (done - step) / (logged - written) if done > step and logged > written else None


def _times(folder: Path) -> dict[str, float]:
    """When a folder's files were written, in seconds, by the clock of whoever keeps them."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_mtime for entry in entries}
    except OSError:
        return {}


def _number(note: Mapping[str, object], name: str) -> float | None:
    value = note.get(name)
    return float(value) if isinstance(value, int | float) else None
