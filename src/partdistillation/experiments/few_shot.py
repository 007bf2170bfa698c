"""Few-shot training: models, each taught the true parts of some of the images (supplement, section 2)."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from partdistillation import pipeline
from partdistillation.baselines import supervised
from partdistillation.config import Inputs
from partdistillation.errors import InputError
from partdistillation.evaluation.controls import Validation, measure_parts, measure_proposals
from partdistillation.evaluation.provenance import Provenance
from partdistillation.experiments import few_shot_tables
from partdistillation.experiments.few_shot_tables import Learned, Point
from partdistillation.experiments.runs import Run, require_inputs
from partdistillation.experiments.starts import OWN, Start, starts
from partdistillation.runs.engine import map_rows
from partdistillation.runs.records import PartRow
from partdistillation.runs.run_folder import VALIDATION
from partdistillation.runs.stage_reader import contents_hash, read_rows
from partdistillation.stages import distillation, objects

FOLDER = "few_shot"
OWN_PART_MODEL = f"{OWN}{distillation.FOLDER}"
_LABELS = "labels"
"""Folder beside those of the models, which share it and the validation's."""


@dataclass(frozen=True)
class _Prepared:
    """A run of which everything is known to be usable, before anything is trained."""

    run: Run
    models: Sequence[Start]
    lesson: distillation.Lesson
    """All true parts; each training has its share, model and steps instead."""
    shares: dict[int, Path]
    """Stages of labelled parts, by percent."""
    validation: Validation


def few_shot(runs: Iterable[Run], out: Path, models: Sequence[str] = (OWN_PART_MODEL,)) -> None:
    """Fine-tune every model on every share of the labels and score each on the held-out images.

    Writes `few_shot/NAME/PERCENT/part_model` into each run's folder, the table `few_shot.md` (also .csv and
    .json) and the learning curves `few_shot.png`; of several runs, the same of means and standard deviations
    into `out`. Run it again to go on. A run's own part model is made where it isn't there.

    Args:
        runs: one a seed.
        out: the folder of the runs' means.
        models: folders, published models' names, `builtin:NAME`, or `run:PATH` within each run's folder.

    Raises:
        CheckpointError: a model can't be loaded.
        ConfigError, InputError: images, objects or parts are missing, or can't be used; two models have one
            name. All of them before any training.
    """
    chosen_runs = list(runs)
    for run in chosen_runs:
        run.inputs.need("parts")
        require_inputs(run.inputs, run.recipe)
    prepared = [_prepare(run, models) for run in chosen_runs]
    for experiment in prepared:
        if any(map(_is_missing, experiment.models)):
            pipeline.run(experiment.run.inputs, experiment.run.recipe)
    learned = []
    for experiment in prepared:
        learned.append(_learned(experiment))
        few_shot_tables.save(learned[-1:], experiment.run.inputs.out / FOLDER)
    if len(learned) > 1:
        few_shot_tables.save(learned, out / FOLDER)


def chosen(image_ids: Sequence[str], percent: int, seed: int) -> frozenset[str]:
    """A share of the images, at least one; each share holds the smaller ones of the same seed.

    Images are ordered by a hash of seed and id: which are chosen doesn't depend on the order they come in.
    """

    def place(image_id: str) -> bytes:
        return hashlib.sha256(f"{seed}:{image_id}".encode()).digest()

    count = max(1, -(-percent * len(image_ids) // 100))
    return frozenset(sorted(image_ids, key=place)[:count])


# ---------------------------------------------------------------------- before any training


def _prepare(run: Run, models: Sequence[str]) -> _Prepared:
    inputs, recipe = run.inputs, run.recipe
    to_start = starts(models, inputs.out, taken=(_LABELS, VALIDATION))
    for start in to_start:
        if not _is_missing(start):
            start.check()
    objects_dir = pipeline.objects(inputs, recipe)
    config = recipe.finetune
    lesson = supervised.true_parts(inputs, recipe, inputs.out / FOLDER / _LABELS, config, FOLDER)
    shares = {
        percent: _subset(
            objects_dir, lesson.parts, inputs.out / FOLDER / _LABELS / str(percent), percent, config.seed
        )
        for percent in config.percents
    }
    _require_parts(inputs, lesson, shares)
    validation = Validation(replace(inputs.held_out, out=inputs.out / FOLDER / VALIDATION), recipe)
    validation.prepare()
    return _Prepared(run, to_start, lesson, shares, validation)


def _is_missing(start: Start) -> bool:
    return start.asked == OWN_PART_MODEL and not Path(start.source).exists()


def _labelled(parts_dir: Path) -> list[str]:
    """The images with parts."""
    return [
        row.image_id
        for row in read_rows(parts_dir, PartRow)
        if any(instance.parts for instance in row.objects)
    ]


def _require_parts(inputs: Inputs, lesson: distillation.Lesson, shares: dict[int, Path]) -> None:
    """Larger shares hold the smallest one: what that has to learn, all have.

    Raises:
        InputError: no object has a part, or the smallest share has none that is large enough.
    """
    if not _labelled(lesson.parts):
        raise InputError(
            f"{inputs.parts}: expected parts of the objects of {inputs.objects}, found none in any image; "
            "look whether both files are of the same images and object classes"
        )
    percent, share = next(iter(shares.items()))
    objects_dir, names = inputs.out / objects.FOLDER, tuple(distillation.part_ids(share))
    if not distillation.part_images(objects_dir, share, names, lesson.config):
        raise InputError(
            f"{inputs.parts}: expected parts to learn in {percent} % of the labelled images "
            f"({len(_labelled(share))}), found none that are large enough; lower finetune.min_object_area "
            "and finetune.min_mask_area, or leave this share out of finetune.percents"
        )


def _subset(objects_dir: Path, parts_dir: Path, out: Path, percent: int, seed: int) -> Path:
    """Write the true parts, those of images that aren't chosen left out."""
    kept = chosen(_labelled(parts_dir), percent, seed)
    return map_rows(
        out,
        source=parts_dir,
        read=PartRow,
        row=PartRow,
        make=lambda: partial(_without_others, kept),
        settings={"percent": percent, "seed": seed},
        upstream=[objects_dir],
        label=f"few-shot: {percent} % of the parts",
    )


def _without_others(kept: Collection[str], row: PartRow) -> PartRow:
    if row.image_id in kept:
        return row
    return row.to(PartRow, (replace(labelled, parts=()) for labelled in row.objects))


# ---------------------------------------------------------------------- training and scores


def _learned(prepared: _Prepared) -> Learned:
    inputs, recipe = prepared.run.inputs, prepared.run.recipe
    made_from = {
        start.name if len(start.files) == 1 else f"{start.name}.{place}": file
        for start in prepared.models
        for place, file in enumerate(start.files)
    }
    return Learned(
        seed=prepared.run.seed,
        points=[point for start in prepared.models for point in _points(prepared, start)],
        models={start.name: start.asked for start in prepared.models},
        provenance=Provenance.of_files(inputs.held_out.need("parts"), made_from, recipe),
    )


def _points(prepared: _Prepared, start: Start) -> Iterator[Point]:
    inputs, recipe = prepared.run.inputs, prepared.run.recipe
    for percent, share in prepared.shares.items():
        lesson = replace(
            prepared.lesson,
            name=f"{FOLDER}_{start.name}_{percent}",
            parts=share,
            initial=start.source,
            model=inputs.out / FOLDER / start.name / str(percent) / distillation.FOLDER,
            config=recipe.finetune.for_percent(percent),
        )
        model = distillation.learn_parts(lesson, inputs)
        folder = f"{start.name}_{percent}"
        overlapping, _ = measure_proposals(prepared.validation, model, f"{folder}_proposals")
        yield Point(
            model=start.name,
            percent=percent,
            images=len(_labelled(share)),
            categories=tuple(distillation.part_ids(share)),
            proposals=overlapping,
            parts=measure_parts(prepared.validation, model, f"{folder}_parts", "parts", "result"),
            sha256=contents_hash(model),
        )
