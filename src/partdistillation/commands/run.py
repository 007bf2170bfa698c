"""The method's commands: all stages, each stage, the report, prediction."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from partdistillation.commands.arguments import (
    Command,
    Positional,
    ProfiledArguments,
    StageArguments,
    TrainingArguments,
)
from partdistillation.config import Device, Engine, Inputs
from partdistillation.runs.mirror import original
from partdistillation.runs.terminal import say
from partdistillation.settings import PositiveInt, Range, Share


@dataclass(frozen=True, kw_only=True)
class RunArguments(TrainingArguments):
    estimate: bool = False
    """Say how long each stage will take, after trying it on a few photographs and steps, and stop."""


def run(arguments: RunArguments) -> None:
    """Stages 1 to 5 and the report: from photographs to labelled parts."""
    from partdistillation import pipeline
    from partdistillation.experiments.estimate import announce

    named = arguments.recipe is not None or arguments.config is not None
    if not announce(arguments.inputs, arguments.settings, named=named, stop=arguments.estimate):
        pipeline.run(arguments.inputs, arguments.settings)


def pretrain(arguments: TrainingArguments) -> None:
    """Stage 0: train an instance segmentation model on object masks."""
    from partdistillation import pipeline

    pipeline.pretrain(arguments.inputs, arguments.settings)


@dataclass(frozen=True, kw_only=True)
class ObjectsArguments(StageArguments):
    show: Annotated[int, Range(0, 100)] = 0
    """Draw this many images (at most 100), chosen at random, with their objects: OUT/objects_sheet.png."""


def objects(arguments: ObjectsArguments) -> None:
    """Stage 1: find, or collect, the object masks of every image."""
    from partdistillation import pipeline
    from partdistillation.report.objects_found import show_objects

    pipeline.objects(arguments.inputs, arguments.settings)
    show_objects(arguments.inputs, arguments.show)


def segments(arguments: StageArguments) -> None:
    """Stage 2: group the pixels of every object into segments."""
    from partdistillation import pipeline

    pipeline.segments(arguments.inputs, arguments.settings)


def proposals(arguments: TrainingArguments) -> None:
    """Stage 3: train the class-agnostic proposal model on the segments."""
    from partdistillation import pipeline

    pipeline.proposals(arguments.inputs, arguments.settings)


def rank(arguments: StageArguments) -> None:
    """Stage 4: cluster each object class's proposals into part classes."""
    from partdistillation import pipeline

    pipeline.rank(arguments.inputs, arguments.settings)


@dataclass(frozen=True, kw_only=True)
class DistillArguments(TrainingArguments):
    parts_table: Path | None = None
    """Part table: learn its joined parts as one and its rejected ones not at all, into OUT/retrained."""


def distill(arguments: DistillArguments) -> None:
    """Stage 5: train the part model on the ranked parts."""
    from partdistillation import pipeline

    if arguments.parts_table is None:
        pipeline.distill(arguments.inputs, arguments.settings)
    else:
        pipeline.retrain(arguments.inputs, arguments.settings, arguments.parts_table)


def report(arguments: StageArguments) -> None:
    """Write OUT/report/index.html: what ran, tables, curves and pictures."""
    from partdistillation import pipeline

    pipeline.report(arguments.inputs, arguments.settings)


@dataclass(frozen=True, kw_only=True)
class PredictArguments(ProfiledArguments):
    model: Annotated[Path, Positional("MODEL")]
    """Folder of a part model, as in OUT/part_model, or a published one: owner/name, owner/name@revision."""
    images: Path
    """Folder of photographs, or one photograph."""
    objects: Path | None = None
    """Object masks (COCO .json, or a folder of masks); without them the model finds the objects itself."""
    out: Path = Path("out/predictions")
    """Folder to write to."""
    device: Device = "auto"
    """Where networks run; auto takes a GPU if there is one."""
    parts_table: Path | None = None
    """Part table: which parts are joined, left out and what they are called; without it the model's own."""
    objects_model: str = ""
    """Instance segmentation model that finds the objects: a folder or hub name; empty: the one in MODEL."""
    min_score: Share = 0.3
    """Least score of a part."""
    min_object_score: Share = 0.3
    """Least score of an object that the model finds."""
    max_overlap: Share = 0.5
    """Largest IoU of two objects that it finds, of any class: over it, the better is kept; 1 keeps all."""
    workers: PositiveInt = 1
    """Processes that work side by side; what they find doesn't depend on it."""
    engine: Engine = "processes"
    """Who works: this command's processes, (shared) all commands with this --out, or (ray) a Ray cluster."""
    ray_address: str = ""
    """With --engine ray: the cluster's head, HOST:PORT or auto; without it a Ray on this machine."""

    @property
    def folder(self) -> Path:
        return self.out


def predict(arguments: PredictArguments) -> None:
    """Find the parts in new photographs with a part model."""
    from partdistillation import inference

    who = Inputs(engine=arguments.engine, ray_address=arguments.ray_address, device=arguments.device)
    folder = inference.predict(
        arguments.model,
        arguments.images,
        arguments.objects,
        out=arguments.out,
        device=arguments.device,
        part_table=arguments.parts_table,
        objects_model=arguments.objects_model or None,
        min_score=arguments.min_score,
        min_object_score=arguments.min_object_score,
        max_overlap=arguments.max_overlap,
        workers=arguments.workers,
        engine=who.driver,
    )
    say(original(f"Look into {folder}"))


def settings(arguments: StageArguments) -> None:
    """List every setting of every stage: what it means and its value."""
    from partdistillation.commands.help import settings_help

    say(settings_help(arguments.settings))


_LABELLING = ("images", "device", "workers", "engine", "ray_address")
_OBJECTS = (*_LABELLING, "objects")
_STAGES_1_TO_5 = ("encoder", "objects", "segments", "proposals", "ranking", "distillation")
_VALIDATED = ("images", "objects", "val_images", "val_objects", "device")

COMMANDS = (
    Command("run", RunArguments, run, _OBJECTS, _STAGES_1_TO_5),
    Command("pretrain", TrainingArguments, pretrain, _VALIDATED, ("pretrain",)),
    Command("objects", ObjectsArguments, objects, _OBJECTS, ("encoder", "objects")),
    Command("segments", StageArguments, segments, _LABELLING, ("encoder", "segments")),
    Command("proposals", TrainingArguments, proposals, ("images", "device"), ("encoder", "proposals")),
    Command("rank", StageArguments, rank, _LABELLING, ("ranking",)),
    Command("distill", DistillArguments, distill, ("images", "device"), ("distillation",)),
    Command("report", StageArguments, report, ("images",)),
    Command("predict", PredictArguments, predict),
    Command("settings", StageArguments, settings),
)
