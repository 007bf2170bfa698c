"""How far a run is, as the page shows it: of a process that the studio started, or of one of a terminal."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from partdistillation.config import Inputs, Recipe
from partdistillation.errors import PartDistillationError, StoreError
from partdistillation.recipes import PAPER
from partdistillation.runs import manifest
from partdistillation.runs.run_folder import STUDIO
from partdistillation.status.locks import is_held
from partdistillation.status.pace import Pace
from partdistillation.status.progress import Progress
from partdistillation.status.progress import progress as progress_of
from partdistillation.status.run_files import RunFiles
from partdistillation.status.stages import REPORT, STAGES, is_done
from partdistillation.studio.processes import Command

State = Literal["going on", "stopping", "stopped", "failed", "finished"]
_STEPS = re.compile(r"(\w+): \d+/(\d+) steps")


def commands_of(out: Path) -> Command:
    """The process that runs, or ran, a run."""
    return Command(out / STUDIO)


def state_of(out: Path) -> State:
    """Of a run, begun here or in a terminal."""
    command, files = commands_of(out), RunFiles(out)
    if command.is_alive():
        return "stopping" if command.is_stopping else "going on"
    if any(is_held(out / f".{stage.name}.lock") for stage in STAGES):
        return "going on"
    if all(is_done(files, stage) for stage in STAGES) and (out / REPORT).is_file():
        return "finished"
    if command.note:
        return command.ended()
    return "finished" if is_done(files, STAGES[-1]) else "stopped"


def progress(out: Path, *, going_on: bool, pace: Pace) -> list[Progress]:
    """Of every stage of a run; how many steps its trainings take it has said itself."""
    return progress_of(RunFiles(out), going_on=going_on, pace=pace, totals=_totals(commands_of(out).said()))


def settings_of(out: Path) -> tuple[Inputs, Recipe]:
    """What a run remembers; defaults where it has written nothing yet, or nothing that can be read."""
    try:
        return RunFiles(out).settings()
    except PartDistillationError:
        return Inputs(), PAPER


def manifest_of(folder: Path) -> manifest.Manifest | None:
    """A stage's manifest, where it has begun."""
    try:
        return manifest.load(folder)
    except StoreError:
        return None


def _totals(said: Sequence[str]) -> dict[str, int]:
    """How many steps stages take, as they say themselves."""
    return {match[1]: int(match[2]) for line in said if (match := _STEPS.match(line))}
