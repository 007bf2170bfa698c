"""The method's commands: all stages, each stage, the report, prediction."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from partdistillation import config
from partdistillation.commands.arguments import (
    Arguments,
    Command,
    Positional,
    ProfiledArguments,
    SettingsArguments,
    StageArguments,
    TrainingArguments,
    Written,
)
from partdistillation.config import Device, Engine, Inputs
from partdistillation.recipes import PAPER
from partdistillation.runs.mirror import original
from partdistillation.runs.terminal import say
from partdistillation.settings import NonNegative, PositiveInt, Range, Settings, Share


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


@dataclass(frozen=True, kw_only=True)
class GrowArguments(TrainingArguments):
    model: Annotated[Path, Positional("MODEL")]
    """Part model to grow, in its run's folder: OUT/part_model. It isn't changed."""
    recipe: Annotated[str | None, Written("NAME")] = None
    """Settings to start from, instead of those of the model's run: small, one_gpu, paper, released_1k,
    released_21k, contrastive_manual, demo."""

    @classmethod
    def start(cls, values: Mapping[str, Any]) -> Mapping[str, Settings]:
        """What has begun remembers itself; else the settings, not the inputs, are the model's run's."""
        from partdistillation.runs.run_folder import run_of

        start = super().start(values)
        out = values.get("inputs", {}).get("out", Inputs().out)
        begun = (out / config.CONFIG_FILE).is_file()
        run = None if "model" not in values else run_of(values["model"])
        if begun or run is None or values.keys() & {"recipe", "config"}:
            return start
        _, settings = config.from_yaml(run / config.CONFIG_FILE, Inputs(), PAPER)
        return {**start, "settings": settings}


def grow(arguments: GrowArguments) -> None:
    """Add object classes to a part model; the old ones stay as they are."""
    from partdistillation import pipeline

    model = pipeline.grow(arguments.inputs, arguments.settings, arguments.model)
    say(f"Wrote {model}")


def report(arguments: StageArguments) -> None:
    """Write OUT/report/index.html: what ran, tables, curves and pictures."""
    from partdistillation import pipeline

    pipeline.report(arguments.inputs, arguments.settings)


@dataclass(frozen=True, kw_only=True)
class PredictArguments(ProfiledArguments):
    model: Annotated[Path, Positional("MODEL")]
    """Folder of a part model, as in OUT/part_model, or a published one: owner/name, owner/name@revision."""
    images: Path
    """Folder of photographs, or one photograph; or its URL, as s3://bucket/photos."""
    objects: Path | None = None
    """Object masks (COCO .json, a folder of masks, or a URL); without them the model finds the objects."""
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


@dataclass(frozen=True, kw_only=True)
class StatusArguments(Arguments):
    place: Annotated[str, Positional("OUT")]
    """Folder of a run, or its URL."""
    watch: NonNegative = 12.0
    """Seconds to look for, at most: a worker that shares the run gives a sign of life every 10."""
    json: bool = False
    """Print it for other programs, as JSON."""


def status(arguments: StatusArguments) -> None:
    """How far a run is, who works at it, what went wrong; from any machine."""
    from partdistillation.status.lines import lines
    from partdistillation.status.look import look

    seen = look(arguments.place, arguments.watch)
    say(json.dumps(seen.to_dict(), indent=1) if arguments.json else "\n".join(lines(seen)))


@dataclass(frozen=True, kw_only=True)
class PlanArguments(SettingsArguments):
    images: Annotated[float, Range(1)]
    """How many photographs: 13e6."""
    gpus: PositiveInt
    """How many GPUs; without any, how many processes."""
    price_per_hour: Annotated[float | None, Range(0)] = None
    """Of one of them."""
    objects_per_image: Annotated[float | None, Range(0)] = None
    """Objects of a photograph; by default as many as where the rates come from."""
    classes: Annotated[int | None, Range(1)] = None
    """Object classes; by default as many as where the rates come from."""
    run: Path | None = None
    """Finished run: rates from what it remembers, and its settings where no others are named."""
    rates: Path | None = None
    """File of rates, as `plan --json` prints them or benchmarks/gpu.py writes them."""
    photographs: Path | None = None
    """Folder of photographs on which rates are measured here; without any of these three, on drawings."""
    objects: Path | None = None
    """Object masks of --photographs (COCO .json); without it, objects as `run` finds them."""
    device: Device = "auto"
    """Where rates are measured; auto takes a GPU if there is one."""
    json: bool = False
    """Print plan and rates for other programs, as JSON."""

    @classmethod
    def start(cls, values: Mapping[str, Any]) -> Mapping[str, Settings]:
        if "run" in values and not {"recipe", "config"} & {*values}:
            from partdistillation.status.run_files import RunFiles

            return {"settings": RunFiles(values["run"]).settings()[1]}
        return super().start(values)


def plan(arguments: PlanArguments) -> None:
    """What a large run will take: hours, storage, money by stage."""
    from dataclasses import replace

    from partdistillation.experiments.plan import Size, lines, plan
    from partdistillation.experiments.rate_sources import rates_from

    rates = rates_from(
        arguments.settings,
        run=arguments.run,
        file=arguments.rates,
        photographs=arguments.photographs,
        objects=arguments.objects,
        device=arguments.device,
    )
    if arguments.classes is not None:
        rates = replace(rates, classes=arguments.classes)
    size = Size(round(arguments.images), arguments.gpus, arguments.price_per_hour)
    planned = plan(rates, arguments.settings, size, arguments.objects_per_image)
    if arguments.json:
        say(json.dumps({"plan": planned.to_dict(), "rates": rates.to_dict()}, indent=1))
    else:
        say(original("\n".join(lines(planned))))


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
    Command("grow", GrowArguments, grow, _OBJECTS, ("objects", "ranking", "distillation")),
    Command("report", StageArguments, report, ("images",)),
    Command("predict", PredictArguments, predict),
    Command("status", StatusArguments, status),
    Command("plan", PlanArguments, plan, (), _STAGES_1_TO_5),
    Command("settings", StageArguments, settings),
)
