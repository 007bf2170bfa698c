"""Experiments: the demonstration, the paper's comparison and ablations, few-shot training, baselines."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from partdistillation.baselines import NAMES as BASELINES
from partdistillation.baselines import Name as Baseline
from partdistillation.commands.arguments import (
    Command,
    Positional,
    ProfiledArguments,
    StageArguments,
    TrainingArguments,
    Written,
)
from partdistillation.config import CONFIG_FILE, Device
from partdistillation.errors import ConfigError
from partdistillation.experiments.ablation_grids import Name as Ablation

if TYPE_CHECKING:
    from partdistillation.experiments.runs import Run


@dataclass(frozen=True, kw_only=True)
class DemoArguments(ProfiledArguments):
    out: Path = Path("out/demo")
    """Folder of the run."""
    seed: int = 0
    """Decides the drawings and everything learned from them."""
    from_scratch: bool = False
    """Train stage 0 too, instead of starting from the weights in the package."""
    device: Device = "auto"
    """Where networks run; auto takes a GPU if there is one."""
    workers: int = 2
    """Processes that label images side by side; above 1, the baselines are trained beside the method."""

    @property
    def folder(self) -> Path:
        return self.out


def demo(arguments: DemoArguments) -> None:
    """The whole pipeline on PartShapes, the data set in the package."""
    from partdistillation.experiments import demo

    demo.run(
        arguments.out,
        seed=arguments.seed,
        from_scratch=arguments.from_scratch,
        device=arguments.device,
        workers=arguments.workers,
    )


@dataclass(frozen=True, kw_only=True)
class ExperimentArguments(StageArguments):
    """What experiments over several seeds take."""

    seeds: Annotated[tuple[int, ...], Written("SEED")] = (0,)
    """A run for each, in OUT/seed-N; of several there are means and standard deviations."""
    demo: bool = False
    """On PartShapes, the drawings in the package, with the recipe `demo` unless another is named."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            seeds = " ".join(map(str, self.seeds)) or "none"
            raise ConfigError(f"--seeds: expected numbers of at least 0, each once, found {seeds}")

    @classmethod
    def default_recipe(cls, values: Mapping[str, Any]) -> str:
        return "demo" if "demo" in values else "paper"

    @classmethod
    def remembering(cls, out: Path, values: Mapping[str, Any]) -> list[Path]:
        """In its runs, which differ by their seeds alone."""
        runs = sorted(out.glob(f"seed-*/{CONFIG_FILE}"))
        return runs if "demo" in values else [*runs, *super().remembering(out, values)]

    def runs(self) -> "Iterable[Run]":
        """A run a seed."""
        from partdistillation.experiments import runs

        if self.demo:
            return runs.part_shapes(self.inputs, self.seeds, self.settings)
        return runs.own_data(self.inputs, self.seeds, self.settings)


@dataclass(frozen=True, kw_only=True)
class CompareArguments(ExperimentArguments):
    baselines: Annotated[tuple[Baseline, ...], Written("NAME")] = BASELINES
    """Which of them to train; `contrastive` is a training for each object class."""


def compare(arguments: CompareArguments) -> None:
    """The paper's main comparison: the method and all baselines."""
    from partdistillation.experiments import compare

    compare.compare(arguments.runs(), arguments.inputs.out, arguments.baselines)


@dataclass(frozen=True, kw_only=True)
class AblateArguments(ExperimentArguments):
    name: Annotated[Literal["all", Ablation], Positional("NAME")] = "all"
    """What is changed."""


def ablate(arguments: AblateArguments) -> None:
    """The paper's ablations, its numbers beside ours."""
    from partdistillation.experiments import ablations

    ablations.ablate(arguments.name, arguments.runs(), arguments.inputs.out)


@dataclass(frozen=True, kw_only=True)
class FewShotArguments(ExperimentArguments):
    models: Annotated[tuple[str, ...], Written("MODEL")] = ("run:part_model",)
    """What to start from, each by itself: models' folders, published models' names, `builtin:part-shapes`, or
    `run:` and a folder in each run's own, such as run:part_model, which is made where it isn't there."""


def few_shot(arguments: FewShotArguments) -> None:
    """Fine-tune models on 1 to 100 % of the true parts: learning curves."""
    from partdistillation.experiments import few_shot

    few_shot.few_shot(arguments.runs(), arguments.inputs.out, arguments.models)


def supervised(arguments: TrainingArguments) -> None:
    """Train the network on true parts, every object class's by name."""
    _baseline("supervised", arguments)


def supervised_agnostic(arguments: TrainingArguments) -> None:
    """Supervised, but all parts as one class (to compare with proposals)."""
    _baseline("supervised-agnostic", arguments)


def one_stage(arguments: TrainingArguments) -> None:
    """One-stage self-training: a class's pixels of all images clustered."""
    _baseline("one-stage", arguments)


def contrastive(arguments: TrainingArguments) -> None:
    """Choudhury et al.'s contrastive reconstruction, a network a class."""
    _baseline("contrastive", arguments)


def _baseline(name: Baseline, arguments: TrainingArguments) -> None:
    from partdistillation.baselines.run import run_baseline

    run_baseline(name, arguments.inputs, arguments.settings)


_OBJECTS = ("images", "objects", "device", "workers")
_LABELLED = (*_OBJECTS, "engine", "ray_address")
_PARTS = (*_OBJECTS, "parts", "parts_class")
_HELD_OUT = (*_PARTS, "val_images", "val_objects", "val_parts")
_SUPERVISED = ("encoder", "supervised")
_ONE_STAGE = ("encoder", "segments", "ranking", "distillation")

COMMANDS = (
    Command("demo", DemoArguments, demo),
    Command("compare", CompareArguments, compare, _HELD_OUT, (*_SUPERVISED, "contrastive")),
    Command("ablate", AblateArguments, ablate, _HELD_OUT, ("encoder",)),
    Command("few-shot", FewShotArguments, few_shot, _HELD_OUT, ("finetune",)),
    Command("baseline supervised", TrainingArguments, supervised, _PARTS, _SUPERVISED),
    Command("baseline supervised-agnostic", TrainingArguments, supervised_agnostic, _PARTS, _SUPERVISED),
    Command("baseline one-stage", TrainingArguments, one_stage, _LABELLED, _ONE_STAGE),
    Command("baseline contrastive", TrainingArguments, contrastive, _LABELLED, ("encoder", "contrastive")),
)
