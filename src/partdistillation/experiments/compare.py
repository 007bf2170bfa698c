"""The paper's main comparison: the method and every baseline, learned and scored on the same images."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from partdistillation import baselines, pipeline
from partdistillation.config import Inputs, Recipe
from partdistillation.controls import (
    Measured,
    Validation,
    measure_clustered,
    measure_parts,
    measure_proposals,
    measure_segments,
    measure_whole_objects,
)
from partdistillation.evaluation.comparison import Compared, Comparison, save
from partdistillation.evaluation.tables import Provenance
from partdistillation.experiments.runs import Run
from partdistillation.store import contents_hash

FOLDER = "comparison"
Baseline = Literal["one_stage", "supervised", "supervised_agnostic"]
BASELINES: Sequence[Baseline] = ("one_stage", "supervised", "supervised_agnostic")


def compare(runs: Iterable[Run]) -> None:
    """Train what isn't there yet, and write `out/comparison.md` (.csv, .json) for each run.

    Raises:
        ConfigError: images, objects or parts, or the held-out ones, are missing; before any training.
    """
    for run in runs:
        _compare(run.inputs, run.recipe)


def _compare(inputs: Inputs, recipe: Recipe) -> None:
    for name in ("images", "objects", "val_images", "val_objects", "val_parts"):
        inputs.need(name)
    chosen = BASELINES if inputs.parts else ("one_stage",)
    pipeline.run(inputs, recipe)
    validation = Validation(replace(inputs.held_out, out=inputs.out / "validation"), recipe)
    validation.prepare()
    measured = [measure_whole_objects(validation), *measure_segments(validation)]
    measured += _models(inputs, recipe, validation, chosen)
    made_from = {"objects": contents_hash(validation.objects_dir)}
    truth = contents_hash(validation.inputs.need("parts"))
    rows = [Compared(one.name, (one.strict, one.paper)) for one in measured]
    save(Comparison(rows, Provenance(truth, made_from)), inputs.out / FOLDER)


def _models(
    inputs: Inputs, recipe: Recipe, validation: Validation, chosen: Sequence[Baseline]
) -> Iterator[Measured]:
    """Every model in all the ways that the paper scores one."""
    yield from measure_proposals(validation, inputs.out / "proposal_model")
    yield from _scored(validation, inputs.out / "part_model", "parts", "part model")
    for name in chosen:
        model = baselines.run(name, inputs, recipe)
        title = name.replace("_", "-")
        if name == "supervised_agnostic":
            overlapping, _ = measure_proposals(validation, model, f"{name}_proposals")
            yield overlapping._replace(name=f"{title}: overlapping")
            yield measure_clustered(validation, model, f"{name}_clustered", f"{title}: clustered", "baseline")
        else:
            yield from _scored(validation, model, name, title)


def _scored(validation: Validation, model: Path, folder: str, title: str) -> Iterator[Measured]:
    kind: Literal["result", "baseline"] = "result" if folder == "parts" else "baseline"
    yield measure_parts(validation, model, folder, title, kind)
    yield measure_clustered(validation, model, f"{folder}_clustered", f"{title}: clustered", kind)
