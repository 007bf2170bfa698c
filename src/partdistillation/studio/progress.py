"""How far a run is, and how long it may still take.

No torch: what the stages are called stands here once more (a test compares it).
"""

import re
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from partdistillation import config
from partdistillation.config import CONFIG_FILE, Inputs, Recipe
from partdistillation.errors import PartDistillationError, StoreError
from partdistillation.recipes import PAPER
from partdistillation.runs import manifest
from partdistillation.runs.notes import read_note
from partdistillation.runs.run_folder import (
    FEATURES,
    OBJECTS,
    PART_CLASSES,
    PART_MODEL,
    PARTS,
    PROPOSAL_MODEL,
    SEGMENTS,
    STUDIO,
)
from partdistillation.runs.stage_log import EXPECTED, SECONDS
from partdistillation.studio.losses import steps_done
from partdistillation.studio.processes import Command, is_held
from partdistillation.studio.rejected import usable

State = Literal["going on", "stopping", "stopped", "failed", "finished"]
StageState = Literal["waiting", "going on", "begun", "done"]
REPORT = Path("report", "index.html")
_STEPS = re.compile(r"(\w+): \d+/(\d+) steps")


class Stage(NamedTuple):
    """What a stage of `partdistill run` is called, and what it writes."""

    name: str
    label: str
    folders: tuple[str, ...]
    """With rows; or of a model."""
    unit: Literal["photographs", "steps"]


STAGES = (
    Stage("objects", "Find the objects", (OBJECTS,), "photographs"),
    Stage("segments", "Group each object's pixels", (SEGMENTS,), "photographs"),
    Stage("proposals", "Learn to propose parts", (PROPOSAL_MODEL,), "steps"),
    Stage("ranking", "Sort proposals into part classes", (FEATURES, PART_CLASSES, PARTS[0]), "photographs"),
    Stage("distillation", "Learn the parts", (PART_MODEL,), "steps"),
)


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
    left: float | None = None
    """Seconds that it may still take, where there is something to go by."""


class Pace:
    """How quickly stages go on, by when their counts were seen to change."""

    _KEPT = 10

    def __init__(self) -> None:
        self._seen: dict[tuple[Path, str], deque[tuple[float, int]]] = {}

    def forget(self, out: Path) -> None:
        """A run doesn't go on: what comes later has nothing to do with what was seen."""
        self._seen = {key: seen for key, seen in self._seen.items() if key[0] != out}

    def a_second(self, out: Path, stage: str, done: int, now: float) -> float | None:
        """How many units a second are done, by the latest; None before two changes were seen."""
        seen = self._seen.setdefault((out, stage), deque(maxlen=self._KEPT))
        if seen and done < seen[-1][1]:
            seen.clear()
        if not seen or done > seen[-1][1]:
            seen.append((now, done))
        if len(seen) < 3:
            return None
        (start, first), (end, last) = seen[1], seen[-1]  # the first may have been there for long
        if len(seen) == self._KEPT:
            start, first = seen[0]
        usual = (end - start) / max(1, len(seen) - 2)
        spent = max(end, now - usual) - start  # where nothing comes any more, it gets slower
        return (last - first) / spent if last > first and spent > 0 else None


def commands_of(out: Path) -> Command:
    """The process that runs, or ran, a run."""
    return Command(out / STUDIO)


def state_of(out: Path) -> State:
    """Of a run, begun here or in a terminal."""
    command = commands_of(out)
    if command.is_alive():
        return "stopping" if command.is_stopping else "going on"
    if any(is_held(out / f".{stage.name}.lock") for stage in STAGES):
        return "going on"
    if all(_is_done(out, stage) for stage in STAGES) and (out / REPORT).is_file():
        return "finished"
    if command.note:
        return command.ended()
    return "finished" if _is_done(out, STAGES[-1]) else "stopped"


def progress(out: Path, *, going_on: bool, pace: Pace) -> list[Progress]:
    """Of every stage of a run.

    Args:
        out: the run's folder.
        going_on: whether it does.
        pace: what was seen of it before.
    """
    if not going_on:
        pace.forget(out)
    recipe, expected, spent = settings_of(out)[1], read_note(out / EXPECTED), read_note(out / SECONDS)
    totals, rows, current = _totals(commands_of(out).said()), 0, True
    stages = []
    for stage in STAGES:
        done, total = _counts(out, stage)
        if stage.unit == "photographs":
            rows = total = total or rows
        else:
            total = totals.get(stage.name) or _steps(recipe, stage, out)
        if _is_done(out, stage):
            stages.append(Progress(stage, "done", total, total, _number(spent, stage.name)))
            continue
        begun = bool(done or (current and (stages or (out / stage.folders[0]).exists())))
        state: StageState = "begun" if done else "waiting"
        if begun and current and going_on:
            state = "going on"
        done = min(done, total) if total else done
        left = _number(expected, stage.name)
        if left is not None and total:
            left *= 1 - done / total
        if state == "going on" and total:
            rate = pace.a_second(out, stage.name, done, time.monotonic())
            left = (total - done) / rate if rate else left
        stages.append(Progress(stage, state, done, total, left=left))
        current = False
    return stages


def settings_of(out: Path) -> tuple[Inputs, Recipe]:
    """What a run remembers; defaults where it has written nothing yet, or nothing that can be read."""
    try:
        return config.from_yaml(out / CONFIG_FILE, Inputs(), PAPER)
    except (OSError, PartDistillationError):
        return Inputs(), PAPER


def manifest_of(folder: Path) -> manifest.Manifest | None:
    """A stage's manifest, where it has begun."""
    try:
        return manifest.load(folder)
    except StoreError:
        return None


def left_in_all(stages: Sequence[Progress]) -> float | None:
    """Seconds that all stages may still take; None where that of one isn't known."""
    left = [stage.left for stage in stages if stage.state != "done"]
    known = [seconds for seconds in left if seconds is not None]
    return sum(known) if len(known) == len(left) else None


def _is_done(out: Path, stage: Stage) -> bool:
    last = out / stage.folders[-1]
    if stage.unit == "steps":
        return (last / "config.json").is_file()
    rows = manifest_of(last)
    return rows is not None and all(shard.sha256 for shard in rows.shards)


def _counts(out: Path, stage: Stage) -> tuple[int, int]:
    """What is done of a stage, and of how many; of one with several folders, the first takes the time."""
    if stage.unit == "steps":
        return steps_done(out, stage.name), 0
    rows = manifest_of(out / stage.folders[0])
    if rows is None:
        return 0, 0
    done = sum(shard.rows for shard in rows.shards if shard.sha256)
    return done, sum(shard.rows for shard in rows.shards)


def _totals(said: Sequence[str]) -> dict[str, int]:
    """How many steps stages take, as they say themselves."""
    return {match[1]: int(match[2]) for line in said if (match := _STEPS.match(line))}


def _steps(recipe: Recipe, stage: Stage, out: Path) -> int:
    """How many it is likely to take, by how many photographs have objects; 0 before that is known."""
    photographs = usable(out)
    if not photographs:
        return 0
    training = recipe.proposals if stage.name == "proposals" else recipe.distillation
    return training.limited(photographs).steps


def _number(note: Mapping[str, object], name: str) -> float | None:
    value = note.get(name)
    return float(value) if isinstance(value, int | float) else None
