"""What a run remembers of its stages: the settings that each was made with, and how long it took."""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from partdistillation import config
from partdistillation.config import InputName, Inputs, Recipe
from partdistillation.errors import CheckpointError, StoreError
from partdistillation.runs.atomic import locked, make_folder
from partdistillation.runs.claims import by_one
from partdistillation.runs.manifest import MANIFEST, load
from partdistillation.runs.mirror import original, refresh, refresh_folder
from partdistillation.runs.notes import read_note, write_note
from partdistillation.runs.progress import followed_by
from partdistillation.runs.remote import bring_inputs
from partdistillation.runs.run_folder import save_settings
from partdistillation.runs.stage_reader import contents_hash
from partdistillation.runs.terminal import say

SECONDS = "seconds.json"
"""In a run's folder: how long each stage took."""
EXPECTED = "expected_seconds.json"
"""In a run's folder: how long each stage was expected to take, before it began."""
_CHECKPOINTS = "checkpoints"


class Stage(NamedTuple):
    """What a stage writes into a run's folder, and what decides it."""

    name: str
    folders: tuple[str, ...]
    sections: tuple[str, ...]
    """Of the recipe."""
    reads: tuple[InputName, ...] = ()
    """Inputs that other stages don't read."""
    has_rows: bool = False
    """Whether its result is a row a photograph, which workers can divide; else it is a model."""
    optional: tuple[str, ...] = ()
    """Folders that it writes before the others, with some settings."""

    def has_begun(self, out: Path) -> bool:
        """Whether anything of it is there."""
        places = (*self.optional, *self.folders, f"{_CHECKPOINTS}/{self.name}")
        return any((out / place).exists() for place in places)

    def contents(self, out: Path) -> list[str] | None:
        """Hashes of what it has made, None if it isn't finished."""
        there = [folder for folder in self.optional if (out / folder).exists()]
        try:
            return [contents_hash(out / folder) for folder in (*there, *self.folders)]
        except (CheckpointError, StoreError):
            return None

    def photographs(self, out: Path) -> tuple[int, int] | None:
        """How many have their row, and how many are to get one, in the last of its folders that has rows.

        None for a model, and before a stage has begun.
        """
        for folder in reversed(self.folders):
            if (out / folder / MANIFEST).is_file():
                shards = load(out / folder).shards
                return sum(shard.rows for shard in shards if shard.sha256), sum(
                    shard.rows for shard in shards
                )
        return None


class StageLog(NamedTuple):
    """Runs stages, and writes what a run remembers of them."""

    stages: tuple[Stage, ...]

    def run(
        self, stage: Stage, work: Callable[[Inputs, Recipe], Path], inputs: Inputs, recipe: Recipe
    ) -> Path:
        """Run a stage, remember its settings once it has accepted them, and note how long it took.

        A stage that has begun refuses other settings by itself. One that hasn't is remembered before it
        starts, so that it can be resumed without repeating the settings.
        """
        refresh_folder(inputs.out)
        bring_inputs(inputs)
        if not is_first_process():
            return work(inputs, recipe)
        out = make_folder(inputs.out)
        with self._turn(stage, inputs):
            if not stage.has_begun(out):
                self._remember(stage, inputs, recipe)
            before, start = stage.contents(out), time.monotonic()
            with followed_by(self._seconds_after(stage, out)):
                made = work(inputs, recipe)
            self._remember(stage, inputs, recipe)
            if stage.contents(out) != before:
                _note_seconds(out, stage.name, time.monotonic() - start)
            elif before is not None:
                photographs = stage.photographs(out)
                what = f"{photographs[0]:,} photographs" if photographs else f"{out / stage.folders[-1]}"
                say(original(f"{stage.name}: done before, {what}"), stderr=True)
            return made

    def _turn(self, stage: Stage, inputs: Inputs) -> AbstractContextManager[None]:
        """This command's alone, or two that start at once remember each other's settings.

        With the engine "shared" a training is one worker's at a time, and rows are everybody's.
        """
        if inputs.engine != "shared":
            return locked(inputs.out, name=f".{stage.name}.lock")
        if stage.has_rows:
            return nullcontext()
        return by_one(inputs, stage.name, done=lambda: stage.contents(inputs.out) is not None)

    def _seconds_after(self, stage: Stage, out: Path) -> float:
        """What the stages that follow are expected to take; 0 where nothing is."""
        later = [other.name for other in self.stages[self.stages.index(stage) + 1 :]]
        return sum(count for name, count in _numbers(out / EXPECTED).items() if name in later)

    def _remember(self, stage: Stage, inputs: Inputs, recipe: Recipe) -> None:
        """Write `config.yaml`: the settings that what is in `out` was, or will be, made with.

        So the settings of other stages that have begun stay as they were.
        """
        path = inputs.out / config.CONFIG_FILE
        with locked(inputs.out, wait=True):
            if refresh(path).exists():
                inputs_then, recipe_then = config.from_yaml(path, inputs, recipe)
                begun = [other for other in self.stages if other != stage and other.has_begun(inputs.out)]
                kept = {section for other in begun for section in other.sections} - set(stage.sections)
                recipe = replace(recipe, **{section: getattr(recipe_then, section) for section in kept})
                read = {name for other in begun for name in other.reads}
                inputs = replace(inputs, **{name: getattr(inputs_then, name) for name in read})
            save_settings(inputs, recipe)


def remember_first(inputs: Inputs, recipe: Recipe) -> None:
    """Write `config.yaml` where a folder remembers no settings yet."""
    if is_first_process():
        with locked(make_folder(inputs.out), wait=True):
            if not (inputs.out / config.CONFIG_FILE).exists():
                save_settings(inputs, recipe)


def is_first_process() -> bool:
    """Of torchrun's processes the first one writes."""
    return int(os.environ.get("RANK", "0")) == 0


def seconds(out: Path) -> dict[str, float]:
    """How long each finished stage of a run took, in the call that finished it."""
    return _numbers(out / SECONDS)


def _numbers(path: Path) -> dict[str, float]:
    return {name: count for name, count in read_note(path).items() if isinstance(count, int | float)}


def _note_seconds(out: Path, stage: str, spent: float) -> None:
    with locked(out, wait=True):
        refresh(out / SECONDS)
        write_note(out / SECONDS, seconds(out) | {stage: round(spent, 1)})
