"""What the commands' arguments have in common. No torch here, nor in any file of this folder when imported.

A command's arguments are a frozen dataclass. A field is a flag, its docstring the help; a field without a
default must be given. `parsing.py` makes them from a command line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from partdistillation import config
from partdistillation.config import Inputs, Recipe, Tracker
from partdistillation.recipes import DEFAULT, PAPER, recipe
from partdistillation.settings import Settings


@dataclass(frozen=True)
class Written:
    """How a value is written in the help, where its type doesn't say."""

    metavar: str


class Positional(Written):
    """A value that stands without a flag."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What every command takes."""

    debug: bool = False
    """Show the traceback of an error."""

    @classmethod
    def start(cls, values: Mapping[str, Any]) -> Mapping[str, Settings]:  # noqa: ARG003
        """The settings that flags change, by field; `values` are those of the command line, by field."""
        return {}


@dataclass(frozen=True, kw_only=True)
class ProfiledArguments(Arguments):
    """What every command takes that may take long."""

    profile: bool = False
    """Print, and write to OUT/profile.json, time and memory by step."""

    @property
    def folder(self) -> Path:
        """What the command writes to."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class SettingsArguments(Arguments):
    """What commands take that settings decide; they come, later over earlier, from recipe, file and flags."""

    settings: Recipe = PAPER
    recipe: Annotated[str | None, Written("NAME")] = None
    """Settings to start from: small, one_gpu, paper, released_1k, released_21k, contrastive_manual, demo."""
    config: Path | None = None
    """YAML file with settings to start from, over the recipe's."""

    @classmethod
    def start(cls, values: Mapping[str, Any]) -> Mapping[str, Settings]:
        """The inputs in a file are not taken: they are another run's."""
        settings = recipe(values.get("recipe", "paper"))
        if "config" in values:
            _, settings = config.from_yaml(values["config"], Inputs(), settings)
        return {"settings": settings}


@dataclass(frozen=True, kw_only=True)
class StageArguments(SettingsArguments, ProfiledArguments):
    """What every stage, and all of them in a row, takes."""

    inputs: Inputs = field(default_factory=Inputs)
    recipe: Annotated[str | None, Written("NAME")] = None
    """Settings to start from, instead of the run's: small, one_gpu, paper, released_1k, released_21k,
    contrastive_manual, demo."""

    @property
    def folder(self) -> Path:
        return self.inputs.out

    @classmethod
    def start(cls, values: Mapping[str, Any]) -> Mapping[str, Settings]:
        """A run remembers its inputs, and its settings where neither a recipe nor a file is named."""
        inputs, settings = Inputs(), recipe(values.get("recipe", cls.default_recipe(values)))
        out = values.get("inputs", {}).get("out", inputs.out)
        remembered = next(filter(Path.is_file, cls.remembering(out, values)), None)
        if remembered:
            inputs, settings_then = config.from_yaml(remembered, inputs, PAPER)
            if "recipe" not in values and "config" not in values:
                settings = settings_then
        if "config" in values:
            inputs, settings = config.from_yaml(values["config"], inputs, settings)
        return {"inputs": inputs, "settings": settings}

    @classmethod
    def default_recipe(cls, values: Mapping[str, Any]) -> str:  # noqa: ARG003
        """The recipe where none is named or remembered."""
        return DEFAULT

    @classmethod
    def remembering(cls, out: Path, values: Mapping[str, Any]) -> list[Path]:  # noqa: ARG003
        """Where settings may be remembered, the first file that is there."""
        return [out / config.CONFIG_FILE]


@dataclass(frozen=True, kw_only=True)
class TrainingArguments(StageArguments):
    """What stages take that train."""

    log: Annotated[Tracker | None, Written("TRACKER")] = None
    """Send the losses there too."""


class Command(NamedTuple):
    """A command; its function's docstring is its line in the overview."""

    name: str
    arguments: type[Arguments]
    function: Callable[[Any], None]
    inputs: tuple[str, ...] = ()
    """The inputs that it reads: its help shows these only."""
    settings: tuple[str, ...] = ()
    """The settings and sections of settings that decide its result: its help shows these only."""
