"""The paper's ablations: one thing is changed at a time, and measured on held-out images beside its numbers.

Each starts from a whole run with the recipe's settings. What a change doesn't touch isn't done again:
segments are only labelled on the held-out images, post-processing only ranks anew, and a training stage
starts from copies of the stages before it.
"""

import json
import random
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from partdistillation import pipeline
from partdistillation.atomic import replace_file
from partdistillation.config import Inputs, Recipe
from partdistillation.controls import (
    Validation,
    measure_clustered,
    measure_parts,
    measure_proposals,
    measure_segments,
)
from partdistillation.data.coco import read_parts
from partdistillation.data.own_parts import require_labels
from partdistillation.errors import CheckpointError
from partdistillation.evaluation.scores import Evaluation
from partdistillation.evaluation.tables import Provenance, values
from partdistillation.experiments import ablation_tables
from partdistillation.experiments.ablation_grids import ABLATIONS, Ablation, Measure, Name, Variant
from partdistillation.experiments.ablation_tables import Found, Origin
from partdistillation.experiments.runs import Run
from partdistillation.manifest import canonical_hash
from partdistillation.models.sources import resolve
from partdistillation.records import ObjectRow
from partdistillation.stages import distillation, objects, proposals, ranking, segments
from partdistillation.store import contents_hash, read_rows

FOLDER = "ablations"


def ablate(name: Name | Literal["all"], runs: Iterable[Run], out: Path) -> None:
    """One ablation, or all of them, on every run; tables go to `out/ablations`."""
    names: Sequence[Name] = tuple(ABLATIONS) if name == "all" else (name,)
    prepared = list(runs)
    for one in names:
        rows = ablation_tables.collected([run(one, its.inputs, its.recipe) for its in prepared])
        ablation_tables.save(ABLATIONS[one], rows, out / FOLDER / one, [_origin(its) for its in prepared])


def _origin(run: Run) -> Origin:
    """What a run's variants start from and are scored on."""
    truth, recipe = run.inputs.need("val_parts"), run.recipe
    files = resolve(recipe.encoder).files  # none of a published model
    made_from = {f"encoder.{place}": contents_hash(file) for place, file in enumerate(files)}
    return Origin(
        len(read_parts(truth).images),
        Provenance(contents_hash(truth), made_from, config=canonical_hash(recipe.to_dict())),
    )


def run(name: Name, base: Inputs, recipe: Recipe) -> list[tuple[Variant, Found | str]]:
    """Every variant on one run: its scores, or why it couldn't be run. Run it again to go on.

    `base.out` is a run with the recipe's settings, which is made where it isn't there.

    Raises:
        ConfigError: images, objects or parts, or the held-out ones, are missing; before any training.
        InputError: they can't be used; before any training.
    """
    for one in ("images", "objects", "val_images", "val_objects", "val_parts"):
        base.need(one)
    require_labels(base)
    require_labels(base.held_out)
    ablation = ABLATIONS[name]
    _prepare(ablation.measure, base, recipe)
    rows = read_rows(base.out / objects.FOLDER, ObjectRow)
    categories = sorted({found.category for row in rows for found in row.objects})
    folder = base.out / FOLDER / name
    found: list[tuple[Variant, Found | str]] = []
    for place, variant in enumerate(ablation.variants(len(categories))):
        try:
            scored = _measure(variant, ablation, folder / str(place), base, recipe, categories)
        except CheckpointError as error:  # a published model that isn't here
            found.append((variant, str(error).split(";")[0]))
        else:
            numbers = values(scored)
            found.append((variant, {column: numbers[column] for column in ablation.columns}))
    return found


def _prepare(measure: Measure, base: Inputs, recipe: Recipe) -> None:
    """The stages that all variants share."""
    pipeline.objects(base, recipe)
    if measure != "segments":
        pipeline.segments(base, recipe)
        if measure != "proposals":
            pipeline.proposals(base, recipe)


def _measure(
    variant: Variant, ablation: Ablation, out: Path, base: Inputs, recipe: Recipe, categories: Sequence[str]
) -> Evaluation:
    changed = variant.change(recipe)
    validation = Validation(replace(base.held_out, out=out / "validation"), changed)
    validation.prepare()
    match ablation.measure:
        case "segments":
            ways = {variant.label: ("result", changed.segments)}
            return measure_segments(validation, ways)[0].strict  # type: ignore[arg-type]
        case "clustered":
            model = base.out / proposals.FOLDER
            return measure_clustered(validation, model, "clustered", variant.label, "result").strict
        case "proposals":
            inputs = _with_classes(replace(base, out=out), variant, categories, recipe.proposals.seed)
            if inputs.objects == base.objects:
                _copy(base.out, out, (objects.FOLDER, segments.FOLDER))
            objects.run(inputs, changed)
            segments.run(inputs, changed)
            model = proposals.run(inputs, changed)
            return measure_proposals(validation, model)[0].strict
        case "parts":
            inputs = replace(base, out=out)
            _copy(base.out, out, (objects.FOLDER, proposals.FOLDER))
            ranking.run(inputs, changed)
            model = distillation.run(inputs, changed)
            return measure_parts(validation, model, "parts", variant.label, "result").strict


def _copy(source: Path, out: Path, folders: Sequence[str]) -> None:
    """Finished stages of another run with the same settings."""
    for folder in folders:
        if not (out / folder).exists():
            partial = out / f"{folder}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(source / folder, partial)
            partial.rename(out / folder)


def _with_classes(inputs: Inputs, variant: Variant, categories: Sequence[str], seed: int) -> Inputs:
    """With the objects of some classes only; smaller choices are within larger ones."""
    if variant.classes is None or variant.classes == len(categories):
        return inputs
    chosen = set(random.Random(seed).sample(list(categories), len(categories))[: variant.classes])
    content = json.loads(inputs.need("objects").read_bytes())
    ids = {one["id"] for one in content["categories"] if one["name"] in chosen}
    content["annotations"] = [one for one in content["annotations"] if one["category_id"] in ids]
    images = {one["image_id"] for one in content["annotations"]}
    content["images"] = [one for one in content["images"] if one["id"] in images]
    path = inputs.out / "objects.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    written = json.dumps(content).encode()
    if not path.exists() or path.read_bytes() != written:
        replace_file(path, written)
    return replace(inputs, objects=path)
