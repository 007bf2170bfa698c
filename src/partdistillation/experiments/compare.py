"""The paper's main comparison: the method and every baseline, learned and scored on the same images."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from partdistillation import baselines, pipeline
from partdistillation.baselines import contrastive, one_stage
from partdistillation.baselines.run import train_baseline
from partdistillation.config import Inputs, Recipe
from partdistillation.evaluation import run as evaluation
from partdistillation.evaluation.comparison import Compared, ComparedRuns, Comparison, Published
from partdistillation.evaluation.controls import (
    Kind,
    Measured,
    Validation,
    measure_clustered,
    measure_parts,
    measure_proposals,
    measure_segments,
    measure_whole_objects,
)
from partdistillation.evaluation.provenance import Provenance
from partdistillation.experiments.runs import Run, require_inputs
from partdistillation.runs import terminal
from partdistillation.runs.records import PartRow
from partdistillation.runs.run_folder import VALIDATION
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import distillation, part_classes, proposals

_log = terminal.logger(__name__)

FOLDER = "comparison"
WITH_LABELS: tuple[baselines.Name, ...] = ("supervised", "supervised-agnostic")
"""Baselines that are taught true parts."""

_TABLE_2, _TABLE_3 = "paper, table 2", "paper, table 3"
_SUPERVISED, _MAPPED = "supplement, table 2", "supplement, table 3"
_BOTH = "supplement, tables 2 and 3"
_RELEASED = "the authors' released models of ImageNet-1K"

_HERE, _THERE = "paper, PartImageNet", "paper, Pascal Part"
_TO_HERE, _TO_THERE = "paper, zero-shot PartImageNet", "paper, zero-shot Pascal Part"
_RELEASED_HERE, _RELEASED_THERE = "released, PartImageNet", "released, Pascal Part"

PAPER_ROWS: Mapping[str, Sequence[Published]] = {
    "proposals: overlapping": (
        Published(_TO_HERE, _TABLE_3, {"AR@200": 58.0}),
        Published(_RELEASED_HERE, _RELEASED, {"AR@200": 52.2}),
        Published(_RELEASED_THERE, _RELEASED, {"AR@200": 27.2}),
    ),
    "proposals: unique per pixel": (
        Published(_RELEASED_HERE, _RELEASED, {"AR@200": 30.3}),
        Published(_RELEASED_THERE, _RELEASED, {"AR@200": 14.7}),
    ),
    "part model": (Published(_TO_THERE, _TABLE_2, {"nmi": 52.4, "ari": 75.2}),),
    "part model: clustered": (
        Published(_TO_HERE, _TABLE_3, {"c_miou": 48.0}),
        Published(_RELEASED_HERE, _RELEASED, {"c_miou": 46.0}),
        Published(_RELEASED_THERE, _RELEASED, {"c_miou": 22.3}),
    ),
    "one-stage": (Published(_TO_HERE, _TABLE_3, {"AR@200": 36.2}),),
    "one-stage: clustered": (Published(_TO_HERE, _TABLE_3, {"c_miou": 31.9}),),
    "supervised": (
        Published(_HERE, _BOTH, {"AR@200": 73.4, "c_miou": 68.7}),
        Published(_THERE, _BOTH, {"AR@200": 44.9, "c_miou": 43.2}),
        Published(_TO_HERE, _MAPPED, {"c_miou": 16.3}),
        Published(_TO_THERE, _MAPPED, {"c_miou": 10.8}),
    ),
    "supervised: clustered": (
        Published(_HERE, _SUPERVISED, {"c_miou": 48.7}),
        Published(_THERE, _SUPERVISED, {"c_miou": 29.0}),
        Published(_TO_HERE, _MAPPED, {"c_miou": 34.9}),
        Published(_TO_THERE, _MAPPED, {"c_miou": 21.8}),
    ),
    "supervised-agnostic: overlapping": (
        Published(_HERE, _SUPERVISED, {"AR@200": 73.7}),
        Published(_THERE, _SUPERVISED, {"AR@200": 47.3}),
        Published(_TO_HERE, _TABLE_3, {"AR@200": 45.6}),
    ),
    "contrastive": (Published(_THERE, _TABLE_2, {"nmi": 48.3, "ari": 72.4}),),
}
"""What the paper has for the ways to parts, by the names of our rows, in percent.

The paper's method is trained on ImageNet and scored on other data sets, so its rows are zero-shot. Supervised
models are scored on the data set that they learned from, or, zero-shot, on the other of the two. mIoU is
clustered in the main paper (supplement, section 4), and taken to be that for the released models; AR@200 of
supervised models in zero-shot is that of the class-agnostic ones (supplement, table 2).
"""


def compare(runs: Iterable[Run], out: Path, chosen: Sequence[baselines.Name] = baselines.NAMES) -> None:
    """Train what isn't there yet, and write `comparison.md` (.csv, .json) into each run's folder.

    Below each way stand the rows that the paper has for it. Of several runs, means and standard deviations
    go into `out`. Without parts to learn from there are no supervised baselines, of which it warns.

    Raises:
        ConfigError: images, objects or parts, or the held-out ones, are missing; before any training.
        InputError: they can't be used; before any training.
    """
    comparisons: dict[int, Comparison] = {}
    for run in runs:
        require_inputs(run.inputs, run.recipe)
        comparison = _compared(run.inputs, run.recipe, _learnable(chosen, run.inputs))
        comparison.tables().save(run.inputs.out / FOLDER)
        comparisons[run.seed] = comparison
    if len(comparisons) > 1:
        ComparedRuns(comparisons).tables().save(out / FOLDER)


def _learnable(chosen: Sequence[baselines.Name], inputs: Inputs) -> list[baselines.Name]:
    without = [name for name in chosen if name in WITH_LABELS and not inputs.parts]
    if without:
        _log.warning("no --parts to learn from: %s left out", " and ".join(without))
    return [name for name in chosen if name not in without]


def _compared(inputs: Inputs, recipe: Recipe, chosen: Sequence[baselines.Name]) -> Comparison:
    validation = Validation(replace(inputs.held_out, out=inputs.out / VALIDATION), recipe)
    validation.prepare()  # first, as it finds out what can't be used
    pipeline.run(inputs, recipe)
    models = {name: train_baseline(name, inputs, recipe) for name in chosen}
    measured = [measure_whole_objects(validation), *measure_segments(validation)]
    measured += measure_proposals(validation, inputs.out / proposals.FOLDER)
    measured += _scored(validation, inputs.out / distillation.FOLDER, "parts", "part model", "result")
    for name, model in models.items():
        measured += _baseline(validation, name, model)
    rows = [Compared(way.name, way.evaluations, PAPER_ROWS.get(way.name, ()), way.kind) for way in measured]
    return Comparison(rows, _provenance(inputs, recipe, validation, models))


def _baseline(validation: Validation, name: baselines.Name, model: Path) -> Iterator[Measured]:
    folder = name.replace("-", "_")
    match name:
        case "supervised-agnostic":
            overlapping, _ = measure_proposals(validation, model, f"{folder}_proposals")
            yield overlapping._replace(name=f"{name}: overlapping", kind="baseline")
            yield measure_clustered(
                validation, model, f"{folder}_clustered", f"{name}: clustered", "baseline"
            )
        case "contrastive":
            parts = contrastive.label(validation.inputs, model, validation.inputs.out / folder)
            predictions = map(evaluation.labelled_parts, read_rows(parts, PartRow))
            yield validation.score(name, "baseline", predictions)
        case "one-stage":
            yield _clusters(validation, model)
            yield from _scored(validation, model, folder, name, "baseline")
        case _:
            yield from _scored(validation, model, folder, name, "baseline")


def _clusters(validation: Validation, model: Path) -> Measured:
    """The pixel clusters that one-stage learns, on the held-out images as they are: nothing is trained."""
    place = validation.inputs.out / "one_stage_clusters"
    classes_dir = model.parent / part_classes.FOLDER
    parts = one_stage.label(validation.inputs, validation.recipe, place, classes_dir)
    predictions = map(evaluation.labelled_parts, read_rows(parts, PartRow))
    return validation.score("one-stage: clusters, untrained", "control", predictions)


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
    return Provenance.of_files(validation.inputs.need("parts"), made, recipe)
