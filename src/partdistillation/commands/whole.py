"""Whether the files of a run are whole: its stages, models and checkpoints, and what they were made from."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from partdistillation import config
from partdistillation.config import Inputs
from partdistillation.errors import ConfigError, PartDistillationError, StoreError
from partdistillation.recipes import PAPER
from partdistillation.runs import digests, seen, stage_reader
from partdistillation.runs.manifest import MANIFEST


@dataclass(frozen=True)
class Check:
    """What was looked at, and what is wrong with it."""

    name: str
    problems: tuple[str, ...] = ()
    remark: str = "whole"
    """What to say where nothing is wrong."""

    def show(self, console: Console) -> bool:
        """Print it; True if nothing is wrong."""
        for problem in self.problems:
            console.print(f"{self.name}: {problem}", style="red", markup=False, soft_wrap=True)
        if not self.problems:
            style = "green" if self.remark == "whole" else "yellow"
            console.print(f"{self.name}: {self.remark}", style=style, markup=False, soft_wrap=True)
        return not self.problems


def verified(out: Path, *, deep: bool) -> Iterator[Check]:
    """Check every stage and model in a folder, however deep, and the files that it was made from.

    Raises:
        StoreError: there is no such folder.
    """
    if not out.is_dir():
        raise StoreError(f"{out}: expected the folder of a run, found none")
    for folder, subfolders, files in os.walk(out):
        subfolders.sort()
        check = _checked(Path(folder), files)
        if check is not None:
            yield Check(Path(folder).relative_to(out).as_posix(), *check)
    yield from _sources(out, deep=deep)


def _checked(folder: Path, files: list[str]) -> tuple[tuple[str, ...], str] | None:
    """The problems of a folder and what to say without; None where it is neither a stage's nor a model's."""
    if MANIFEST in files or any(name.endswith(".parquet") for name in files):
        return _problems_of_stage(folder), "whole"
    weights = any(name.endswith(".safetensors") for name in files)
    if digests.FILE in files:
        # Of checkpoints the old ones go, and the SHA-256 of the next one comes before it.
        return tuple(digests.problems(folder, absent=folder.parent.name != "checkpoints")), "whole"
    if digests.TRAINING in files and not weights and folder.parent.name != "checkpoints":
        return (f"{folder} has lost its weights",), ""
    if weights:
        return (), f"not checked: it has no {digests.FILE} (older software, or others, made it)"
    return None


def _problems_of_stage(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(stage_reader.verify(folder))
    except StoreError as error:
        return (str(error),)


def _sources(out: Path, *, deep: bool) -> Iterator[Check]:
    """The photographs and masks of a run, against what its first stage has seen."""
    stage = out / "objects"
    if not (stage / MANIFEST).is_file():
        return
    try:
        remembered = out / config.CONFIG_FILE
        inputs = Inputs(out=out)
        if remembered.is_file():
            inputs, _ = config.from_yaml(remembered, inputs, PAPER)
        places = seen.places(inputs.place("images"), inputs.place("objects"))
        if "photographs" not in places:
            yield Check("photographs", remark="not checked: their folder isn't known, or isn't there")
            return
        remark = _looked_at(deep) if seen.is_recorded(stage) else "not checked: nothing says what was read"
        changes = seen.changes(stage, places, deep=deep, absent=True)
        yield Check("photographs and masks", tuple(changes), remark)
    except ConfigError as error:
        yield Check(config.CONFIG_FILE, (str(error),))
    except PartDistillationError as error:
        yield Check("photographs and masks", (str(error),))


def _looked_at(deep: bool) -> str:
    return "whole" if deep else "of the same size and time as when they were read (--deep compares contents)"
