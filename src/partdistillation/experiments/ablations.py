"""The paper's ablations: one thing is changed at a time, and measured on held-out images beside its numbers.

Each starts from a whole run with the recipe's settings. What a change doesn't touch isn't done again:
segments are only labelled on the held-out images, post-processing only ranks anew, and a training stage
starts from copies of the stages before it.
"""

import random
import shutil
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from partdistillation import pipeline
from partdistillation.config import Inputs, Recipe
from partdistillation.errors import CheckpointError
from partdistillation.evaluation.controls import (
    Measured,
    Validation,
    measure_clustered,
    measure_parts,
    measure_proposals,
    measure_segments,
)
from partdistillation.evaluation.provenance import Provenance
from partdistillation.experiments.ablation_grids import ABLATIONS, Ablation, Measure, Name, Variant
from partdistillation.experiments.ablation_tables import ablation_tables, collected
from partdistillation.experiments.runs import Run, require_inputs
from partdistillation.models.sources import resolve
from partdistillation.runs.engine import map_rows
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.run_folder import VALIDATION
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import distillation, objects, proposals, ranking, segments

FOLDER = "ablations"


def ablate(name: Name | Literal["all"], runs: Iterable[Run], out: Path) -> None:
    """One ablation, or all of them, on every run; tables go to `out/ablations`."""
    names: Sequence[Name] = tuple(ABLATIONS) if name == "all" else (name,)
    prepared = list(runs)
    for ablation in names:
        results = {base.seed: run(ablation, base.inputs, base.recipe) for base in prepared}
        origins = {base.seed: _provenance(base) for base in prepared}
        ablation_tables(ABLATIONS[ablation], collected(results), origins).save(out / FOLDER / ablation)


def _provenance(run: Run) -> Provenance:
    """What a run's variants start from and are scored on."""
    files = resolve(run.recipe.encoder).files  # none of a published model
    made_from = {f"encoder.{place}": file for place, file in enumerate(files)}
    return Provenance.of_files(run.inputs.need("val_parts"), made_from, run.recipe)


def run(name: Name, base: Inputs, recipe: Recipe) -> list[tuple[Variant, Measured | str]]:
    """Every variant on one run: its scores, or why it couldn't be run. Run it again to go on.

    `base.out` is a run with the recipe's settings, which is made where it isn't there.

    Raises:
        ConfigError: images, objects or parts, or the held-out ones, are missing; before any training.
        InputError: they can't be used; before any training.
    """
    require_inputs(base, recipe)
    ablation, folder = ABLATIONS[name], base.out / FOLDER / name
    _validation(folder / "0", base, recipe).prepare()  # held-out objects of another kind show here
    _prepare(ablation.measure, base, recipe)
    rows = read_rows(base.out / objects.FOLDER, ObjectRow)
    categories = sorted({instance.category for row in rows for instance in row.objects})
    results: list[tuple[Variant, Measured | str]] = []
    for place, variant in enumerate(ablation.variants(len(categories))):
        try:
            measured = _measure(variant, ablation, folder / str(place), base, recipe, categories)
        except CheckpointError as error:  # a published model that isn't here
            results.append((variant, str(error).split(";")[0]))
        else:
            results.append((variant, measured))
    return results


def _prepare(measure: Measure, base: Inputs, recipe: Recipe) -> None:
    pipeline.objects(base, recipe)
    if measure != "segments":
        pipeline.segments(base, recipe)
        if measure != "proposals":
            pipeline.proposals(base, recipe)


def _validation(out: Path, base: Inputs, recipe: Recipe) -> Validation:
    return Validation(replace(base.held_out, out=out / VALIDATION), recipe)


def _measure(
    variant: Variant, ablation: Ablation, out: Path, base: Inputs, recipe: Recipe, categories: Sequence[str]
) -> Measured:
    changed = variant.change(recipe)
    validation = _validation(out, base, changed)
    validation.prepare()
    match ablation.measure:
        case "segments":
            ways = {variant.label: ("result", changed.segments)}
            return measure_segments(validation, ways)[0]  # type: ignore[arg-type]
        case "clustered":
            model = base.out / proposals.FOLDER
            return measure_clustered(validation, model, "clustered", variant.label, "result")
        case "proposals":
            inputs, chosen = replace(base, out=out), _chosen(variant, categories, recipe.proposals.seed)
            if len(chosen) < len(categories):
                _of_classes(base.out, out, chosen)
            else:
                _copy(base.out, out, (objects.FOLDER, *segments.ways(recipe)))
                objects.run(inputs, changed)
            segments.run(inputs, changed)
            model = proposals.run(inputs, changed)
            return measure_proposals(validation, model)[0]
        case "parts":
            inputs = replace(base, out=out)
            _copy(base.out, out, (objects.FOLDER, proposals.FOLDER))
            ranking.run(inputs, changed)
            model = distillation.run(inputs, changed)
            return measure_parts(validation, model, "parts", variant.label, "result")


def _copy(source: Path, out: Path, folders: Sequence[str]) -> None:
    """Finished stages of another run with the same settings."""
    for folder in folders:
        if not (out / folder).exists():
            partial = out / f"{folder}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(source / folder, partial)
            partial.rename(out / folder)


def _chosen(variant: Variant, categories: Sequence[str], seed: int) -> frozenset[str]:
    """The classes that a variant learns from; smaller choices are within larger ones."""
    ordered = random.Random(seed).sample(list(categories), len(categories))
    return frozenset(ordered[: variant.classes])


def _of_classes(whole: Path, out: Path, chosen: Collection[str]) -> Path:
    """Write `out/objects`: those of another run's objects that are of these classes."""
    return map_rows(
        out / objects.FOLDER,
        source=whole / objects.FOLDER,
        read=ObjectRow,
        row=ObjectRow,
        make=lambda: partial(_without_others, chosen=chosen),
        settings={"classes": sorted(chosen)},
        label=f"objects of {len(chosen)} classes",
    )


def _without_others(row: ObjectRow, chosen: Collection[str]) -> ObjectRow:
    """Objects of the chosen classes, numbered anew; without any, the image is rejected."""
    kept = [instance for instance in row.objects if instance.category in chosen]
    if not kept:
        return replace(row, status="rejected", reason="no objects of the chosen classes", objects=())
    numbered = (replace(instance, object_id=place) for place, instance in enumerate(kept))
    return replace(row, objects=tuple(numbered))
