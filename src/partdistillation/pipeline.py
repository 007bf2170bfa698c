"""The method in order: from images and object masks to a part model (paper, section 4)."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from rich.console import Console

from partdistillation import config
from partdistillation.config import Inputs, Recipe
from partdistillation.data.coco import read_instances, read_parts
from partdistillation.datasets.own_parts import require_labels
from partdistillation.errors import ConfigError, StoreError
from partdistillation.evaluation import run as evaluation
from partdistillation.evaluation.class_map import read_class_map
from partdistillation.evaluation.comparison import Compared, Comparison
from partdistillation.evaluation.controls import Validation, measure_model, unknown_classes
from partdistillation.evaluation.evaluation_tables import evaluation_tables
from partdistillation.evaluation.provenance import Provenance
from partdistillation.evaluation.scores import Evaluation
from partdistillation.models.pretrained import read_config, read_info
from partdistillation.models.sources import resolve
from partdistillation.report import objects_found
from partdistillation.report import run as run_report
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.manifest import canonical_hash
from partdistillation.runs.part_table import read_part_table
from partdistillation.runs.store import contents_hash
from partdistillation.stages import distillation, ranking, retraining
from partdistillation.stages import objects as objects_stage
from partdistillation.stages import pretrain as pretrain_stage
from partdistillation.stages import proposals as proposals_stage
from partdistillation.stages import segments as segments_stage


class Stage(NamedTuple):
    """What a stage writes into a run's folder, and which settings decide it."""

    folders: tuple[str, ...]
    settings: tuple[str, ...]


STAGES = {
    "pretrain": Stage((pretrain_stage.FOLDER,), ("pretrain",)),
    "objects": Stage((objects_stage.FOLDER,), ("objects",)),
    "segments": Stage((segments_stage.FOLDER,), ("segments", "encoder")),
    "proposals": Stage((proposals_stage.FOLDER,), ("proposals", "encoder")),
    "ranking": Stage((ranking.FEATURES, ranking.PART_CLASSES, ranking.PARTS), ("ranking",)),
    "distillation": Stage((distillation.FOLDER,), ("distillation",)),
}
CHECKPOINTS = "checkpoints"
SECONDS = "seconds.json"
"""In a run's folder: how long each stage took."""


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Stages 1 to 5 and the report. Run again with the same arguments to go on where it was stopped.

    Raises:
        CheckpointError: the encoder isn't there; found out before hours are spent.
        SettingsChanged: a stage has begun with other settings; the folder keeps remembering those.
    """
    read_config(resolve(recipe.encoder).path)
    objects(inputs, recipe)  # masks with classes
    show_objects(inputs)
    segments(inputs, recipe)  # every object's pixels, grouped by their features
    proposals(inputs, recipe)  # a model that finds such segments, and better ones, in any image
    rank(inputs, recipe)  # its proposals, clustered within each object class: labelled parts
    distill(inputs, recipe)  # a model that finds and names the parts
    page = report(inputs, recipe)
    Console().print(f"Open {page}", soft_wrap=True)
    return page


def pretrain(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 0: an instance segmentation model, where no published one is used."""
    return _stage("pretrain", pretrain_stage.run, inputs, recipe)


def objects(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 1: the objects whose parts are learned (section 4.1)."""
    return _stage("objects", objects_stage.run, inputs, recipe)


def show_objects(inputs: Inputs, count: int = 0) -> None:
    """Print what stage 1 has found, and draw `count` images as `out/objects_sheet.png`.

    Raises:
        StoreError: the stage isn't finished.
    """
    folder, sheet = inputs.out / objects_stage.FOLDER, inputs.out / objects_found.SHEET
    if objects_found.show(folder).classes and count:
        objects_found.draw(folder, inputs.need("images"), count, sheet)
        Console().print(f"Look at {sheet}", soft_wrap=True)


def segments(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 2: class-agnostic segments of every object (section 4.2)."""
    return _stage("segments", segments_stage.run, inputs, recipe)


def proposals(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 3: the proposal model, taught by the segments (section 4.2)."""
    return _stage("proposals", proposals_stage.run, inputs, recipe)


def rank(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 4: proposals become parts (section 4.3)."""
    return _stage("ranking", ranking.run, inputs, recipe)


def distill(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 5: the part model, taught by the parts (section 4.4)."""
    return _stage("distillation", distillation.run, inputs, recipe)


def report(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/report/index.html` about whatever of the run is there, and return it."""
    return run_report.write(inputs, recipe, seconds=seconds(inputs.out))


def retrain(inputs: Inputs, recipe: Recipe, part_table: Path) -> Path:
    """Stage 5 on the parts as a part table has them: `out/retrained`, beside the run's own model.

    Raises:
        InputError: the table can't be read or used.
    """
    return retraining.run(inputs, recipe, read_part_table(part_table))


def evaluate(
    predictions: Path,
    parts: Path,
    *,
    protocol: Literal["both", "paper", "strict"] = "both",
    part_table: Path | None = None,
) -> list[Evaluation]:
    """Compare predictions with ground-truth parts; print the tables and write them beside the predictions.

    Args:
        predictions: a run's folder, one that `predict` wrote, or a COCO .json.
        parts: ground truth in the COCO layout.
        protocol: see `evaluation.protocol`.
        part_table: leaves predicted parts out, joins and names them, before they are compared.

    Raises:
        InputError: something else is given, or it doesn't fit together.
    """
    protocols = evaluation.PROTOCOLS if protocol == "both" else (protocol,)
    truth = read_parts(parts)
    truth.log_notes()
    table = None if part_table is None else read_part_table(part_table)
    evaluation.check_images(predictions, truth)
    scores = evaluation.score(evaluation.read_predictions(predictions, table), truth, protocols)
    provenance = evaluation.provenance(predictions, parts, part_table)
    folder = predictions if predictions.is_dir() else predictions.parent
    stem = "evaluation" if table is None else "evaluation_part_table"
    evaluation_tables(scores, provenance, table).save(folder / stem)
    return scores


def evaluate_model(
    model: Path,
    inputs: Inputs,
    recipe: Recipe,
    *,
    protocol: Literal["both", "paper", "strict"] = "both",
    class_map: Path | None = None,
    part_table: Path | None = None,
) -> Comparison:
    """Score a model of any stage on images with known objects and parts, of any data set.

    Prints the table of `controls.measure_model` and writes `evaluation.*` and all labels into `inputs.out`.

    Args:
        model: its folder.
        inputs: images, objects and parts, and the folder to write to.
        recipe: how proposals are filtered and clustered.
        protocol: see `evaluation.protocol`.
        class_map: by which of a part model's classes those of the data set are read, where their names
            differ (`evaluation.class_map`).
        part_table: which of a part model's own part classes are joined and left out.

    Raises:
        CheckpointError: it isn't a model of this method.
        ConfigError: a class map or a part table is given, but the model has no object classes.
        InputError: objects, parts, class map or part table can't be used; before anything is labelled.
    """
    given = {"class map": class_map, "part table": part_table}
    files = {name: path for name, path in given.items() if path is not None}
    validation = _model_validation(model, inputs, recipe, class_map, part_table)
    require_labels(inputs)
    validation.prepare()
    made_from = {"model": contents_hash(model), "objects": contents_hash(validation.objects_dir)}
    origin = Provenance(
        contents_hash(inputs.need("parts")),
        made_from | {name: contents_hash(path) for name, path in files.items()},
        config=canonical_hash(recipe.to_dict()),
        unknown_classes=unknown_classes(validation, model),
    )
    protocols = evaluation.PROTOCOLS if protocol == "both" else (protocol,)
    measured = measure_model(validation, model)
    found = Comparison([Compared(one.name, [*map(one.under, protocols)]) for one in measured], origin)
    found.tables().save(inputs.out / "evaluation")
    return found


def _model_validation(
    model: Path, inputs: Inputs, recipe: Recipe, class_map: Path | None, part_table: Path | None
) -> Validation:
    """What a model is measured on, at its own image size and under its own class names."""
    info = read_info(resolve(str(model)).path)
    if info.head != "parts" and (class_map or part_table):
        raise ConfigError(
            f"{model}: expected a part model, as --class-map and --parts-table are about its classes; found "
            "a model without part classes"
        )
    names: dict[str, str] = {}
    if class_map is not None:
        own = sorted(one.name for one in read_instances(inputs.need("objects")).categories)
        names = read_class_map(class_map, own=own, known=info.class_names)
    table = None if part_table is None else read_part_table(part_table)
    if table is not None:
        table.check(info.num_parts)
    ranked = replace(recipe.ranking, image_size=info.image_size)
    return Validation(inputs, replace(recipe, ranking=ranked), names, table)


def seconds(out: Path) -> dict[str, float]:
    """How long each finished stage of a run took, in the call that finished it."""
    path = out / SECONDS
    found: dict[str, float] = json.loads(path.read_bytes()) if path.exists() else {}
    return found


def _stage(name: str, run: Callable[[Inputs, Recipe], Path], inputs: Inputs, recipe: Recipe) -> Path:
    """Run a stage, remember its settings once it has accepted them, and note how long it took.

    A stage that has begun refuses other settings by itself. One that hasn't is remembered before it starts,
    so that it can be resumed without repeating the settings.
    """
    out = inputs.out
    if int(os.environ.get("RANK", "0")) > 0:  # of torchrun's processes the first one writes
        return run(inputs, recipe)
    if not _has_begun(name, out):
        _remember(name, inputs, recipe)
    before, start = _contents(name, out), time.monotonic()
    made = run(inputs, recipe)
    _remember(name, inputs, recipe)
    if _contents(name, out) != before:
        spent = seconds(out) | {name: round(time.monotonic() - start, 1)}
        replace_file(out / SECONDS, (json.dumps(spent, indent=1) + "\n").encode())
    return made


def _remember(name: str, inputs: Inputs, recipe: Recipe) -> None:
    """Write `config.yaml`: the settings that what is in `out` was, or will be, made with.

    So the settings of other stages that have begun stay as they were.
    """
    path = inputs.out / config.CONFIG_FILE
    if path.exists():
        inputs_then, recipe_then = config.from_yaml(path, inputs, recipe)
        begun = [stage for stage in STAGES if stage != name and _has_begun(stage, inputs.out)]
        kept = {setting for stage in begun for setting in STAGES[stage].settings} - set(STAGES[name].settings)
        recipe = replace(recipe, **{setting: getattr(recipe_then, setting) for setting in kept})
        if "objects" in begun:
            inputs = replace(inputs, objects=inputs_then.objects)
    config.save(inputs, recipe)


def _has_begun(name: str, out: Path) -> bool:
    return any((out / place).exists() for place in (*STAGES[name].folders, f"{CHECKPOINTS}/{name}"))


def _contents(name: str, out: Path) -> list[str] | None:
    """Hashes of what a stage has made, None if it isn't finished."""
    try:
        return [contents_hash(out / folder) for folder in STAGES[name].folders]
    except StoreError:
        return None
