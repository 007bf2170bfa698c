"""Evaluate a model of any stage on a data set with known objects and parts."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from partdistillation.config import Inputs, Recipe
from partdistillation.data.coco import read_instances
from partdistillation.datasets.own_parts import require_labels
from partdistillation.errors import ConfigError
from partdistillation.evaluation.class_map import read_class_map
from partdistillation.evaluation.comparison import Compared, Comparison
from partdistillation.evaluation.controls import Validation, measure_model, unknown_classes
from partdistillation.evaluation.provenance import Provenance
from partdistillation.evaluation.run import PROTOCOLS
from partdistillation.models.pretrained import read_info
from partdistillation.models.sources import resolve
from partdistillation.runs.part_table import read_part_table
from partdistillation.runs.remote import bring_inputs


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
    bring_inputs(inputs)
    validation = _validation(model, inputs, recipe, class_map, part_table)
    require_labels(inputs)
    validation.prepare()
    files = {
        "model": model,
        "objects": validation.objects_dir,
        "class map": class_map,
        "part table": part_table,
    }
    made_from = {name: path for name, path in files.items() if path is not None}
    unknown = unknown_classes(validation, model)
    origin = Provenance.of_files(inputs.need("parts"), made_from, recipe, unknown)
    protocols = PROTOCOLS if protocol == "both" else (protocol,)
    rows = [Compared(way.name, [*map(way.under, protocols)]) for way in measure_model(validation, model)]
    table = Comparison(rows, origin)
    table.tables().save(inputs.out / "evaluation")
    return table


def _validation(
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
        own = sorted(category.name for category in read_instances(inputs.need("objects")).categories)
        names = read_class_map(class_map, own=own, known=info.class_names)
    table = None if part_table is None else read_part_table(part_table)
    if table is not None:
        table.check(info.num_parts)
    ranked = replace(recipe.ranking, image_size=info.image_size)
    return Validation(inputs, replace(recipe, ranking=ranked), names, table)
