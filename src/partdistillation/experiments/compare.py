"""The paper's main comparison: the method and every baseline, learned and scored on the same images."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from partdistillation import baselines, pipeline
from partdistillation.baselines import contrastive
from partdistillation.config import Inputs, Recipe
from partdistillation.controls import (
    Kind,
    Measured,
    Validation,
    measure_clustered,
    measure_parts,
    measure_proposals,
    measure_segments,
    measure_whole_objects,
)
from partdistillation.evaluation import run as evaluation
from partdistillation.evaluation.compared_runs import ComparedRuns
from partdistillation.evaluation.comparison import Compared, Comparison, save
from partdistillation.evaluation.tables import Provenance
from partdistillation.experiments.paper_rows import PAPER_ROWS
from partdistillation.experiments.runs import Run, require_inputs
from partdistillation.manifest import canonical_hash
from partdistillation.records import PartRow
from partdistillation.run_folder import VALIDATION
from partdistillation.stages import distillation, proposals
from partdistillation.store import contents_hash, read_rows

FOLDER = "comparison"
WITH_LABELS = ("supervised", "supervised_agnostic")
"""Baselines that are taught true parts."""


def compare(
    runs: Iterable[Run],
    out: Path,
    chosen: Sequence[baselines.Name] = baselines.NAMES,
) -> None:
    """Train what isn't there yet, and write `comparison.md` (.csv, .json) into each run's folder.

    Below each way stand the rows that the paper has for it. Of several runs, means and standard deviations
    go into `out`. Without parts to learn from there are no
    supervised baselines.

    Raises:
        ConfigError: images, objects or parts, or the held-out ones, are missing; before any training.
        InputError: they can't be used; before any training.
    """
    found = []
    for run in runs:
        inputs, recipe = run.inputs, run.recipe
        require_inputs(inputs)
        learnable = [name for name in chosen if inputs.parts or name not in WITH_LABELS]
        found.append(_compared(inputs, recipe, learnable))
        save(found[-1], inputs.out / FOLDER)
    if len(found) > 1:
        save(ComparedRuns(found), out / FOLDER)


def _compared(inputs: Inputs, recipe: Recipe, chosen: Sequence[baselines.Name]) -> Comparison:
    validation = Validation(replace(inputs.held_out, out=inputs.out / VALIDATION), recipe)
    validation.prepare()  # first, as it finds out what can't be used
    pipeline.run(inputs, recipe)
    models = {name: baselines.run(name, inputs, recipe) for name in chosen}
    measured = [measure_whole_objects(validation), *measure_segments(validation)]
    measured += measure_proposals(validation, inputs.out / proposals.FOLDER)
    measured += _scored(validation, inputs.out / distillation.FOLDER, "parts", "part model", "result")
    for name, model in models.items():
        measured += _baseline(validation, name, model)
    rows = [Compared(one.name, (one.strict, one.paper), PAPER_ROWS.get(one.name, ())) for one in measured]
    return Comparison(rows, _provenance(inputs, recipe, validation, models))


def _baseline(validation: Validation, name: baselines.Name, model: Path) -> Iterator[Measured]:
    title = name.replace("_", "-")
    match name:
        case "supervised_agnostic":
            overlapping, _ = measure_proposals(validation, model, f"{name}_proposals")
            yield overlapping._replace(name=f"{title}: overlapping", kind="baseline")
            yield measure_clustered(validation, model, f"{name}_clustered", f"{title}: clustered", "baseline")
        case "contrastive":
            parts = contrastive.label(validation.inputs, model, validation.inputs.out / name)
            found = map(evaluation.labelled_parts, read_rows(parts, PartRow))
            yield validation.score(title, "baseline", found)
        case _:
            yield from _scored(validation, model, name, title, "baseline")


def _scored(validation: Validation, model: Path, folder: str, title: str, kind: Kind) -> Iterator[Measured]:
    """A part model in both ways that the paper scores one."""
    yield measure_parts(validation, model, folder, title, kind)
    yield measure_clustered(validation, model, f"{folder}_clustered", f"{title}: clustered", kind)


def _provenance(
    inputs: Inputs, recipe: Recipe, validation: Validation, models: Mapping[baselines.Name, Path]
) -> Provenance:
    """Of the contrastive baseline's many networks, what they say of the held-out images stands for them."""
    made: dict[str, Path] = {
        "objects": validation.objects_dir,
        "proposal model": inputs.out / proposals.FOLDER,
        "part model": inputs.out / distillation.FOLDER,
    }
    for name, model in models.items():
        made[name] = validation.inputs.out / name if name == "contrastive" else model
    return Provenance(
        truth=contents_hash(validation.inputs.need("parts")),
        made_from={name: contents_hash(path) for name, path in made.items()},
        config=canonical_hash(recipe.to_dict()),
    )
