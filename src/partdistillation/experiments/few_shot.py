"""Few-shot training: any checkpoint, taught the true parts of some of the images (supplement, section 2)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from partdistillation.baselines import supervised
from partdistillation.config import REMEMBERED, Inputs, Recipe
from partdistillation.controls import Measured, Validation, measure_parts, measure_proposals
from partdistillation.data.own_parts import require_labels
from partdistillation.engine import run_shards
from partdistillation.evaluation.comparison import Compared, Comparison, save
from partdistillation.evaluation.tables import Provenance
from partdistillation.experiments.plots import Series, save_plot
from partdistillation.manifest import canonical_hash
from partdistillation.models.sources import resolve
from partdistillation.records import ObjectRow, PartRow
from partdistillation.shards import ImageRef, Shard
from partdistillation.stages import distillation, objects
from partdistillation.store import StageReader, contents_hash, read_rows

FOLDER = "few_shot"


@dataclass(frozen=True)
class Point:
    """A model that learned from some of the labels, measured on the held-out images."""

    percent: int
    images: int
    """Labelled images that it learned from."""
    measured: tuple[Measured, ...]
    """Overlapping proposals (AR@k), then named parts (mIoU)."""


def run(model: Path, inputs: Inputs, recipe: Recipe) -> list[Point]:
    """Fine-tune the model on every share of the labels and score each on the held-out images.

    Writes `out/few_shot/PERCENT/part_model`, the table `out/few_shot.md` (also .csv and .json) and the
    learning curve `out/few_shot.png`. Run it again to go on.

    Raises:
        CheckpointError: the model can't be loaded.
        ConfigError, InputError: images, objects or parts are missing, or can't be used; before any training.
    """
    for name in REMEMBERED:
        inputs.need(name)
    require_labels(inputs)
    require_labels(inputs.held_out)
    held_out = replace(inputs.held_out, out=inputs.out / FOLDER / "validation")
    objects_dir = objects.run(inputs, recipe)
    lesson = supervised.true_parts(
        inputs, inputs.out / FOLDER, initial=str(model), config=recipe.finetune, name="few_shot"
    )
    validation = Validation(held_out, recipe)
    validation.prepare()
    points = []
    for percent in recipe.finetune.percents:
        folder = inputs.out / FOLDER / str(percent)
        some = replace(
            lesson,
            name=f"few_shot_{percent}",
            parts=_subset(objects_dir, lesson.parts, folder / "parts", percent, recipe.finetune.seed),
            model=folder / distillation.FOLDER,
            config=recipe.finetune.for_percent(percent),
        )
        found = distillation.learn_parts(some, inputs, recipe)
        labelled = sum(1 for row in read_rows(some.parts, PartRow) if any(one.parts for one in row.objects))
        points.append(Point(percent, labelled, _measure(validation, found, percent)))
    _report(points, model, inputs, recipe)
    return points


def chosen(image_ids: Sequence[str], percent: int, seed: int) -> frozenset[str]:
    """A share of the images, at least one; each share holds the smaller ones of the same seed.

    Images are ordered by a hash of seed and id: which are chosen doesn't depend on the order they come in.
    """

    def place(image_id: str) -> bytes:
        return hashlib.sha256(f"{seed}:{image_id}".encode()).digest()

    count = max(1, -(-percent * len(image_ids) // 100))
    return frozenset(sorted(image_ids, key=place)[:count])


def _subset(objects_dir: Path, parts_dir: Path, out: Path, percent: int, seed: int) -> Path:
    """Write the true parts, those of images that aren't chosen left out."""
    rows = {row.image_id: row for row in read_rows(parts_dir, PartRow)}
    labelled = [name for name, row in rows.items() if any(found.parts for found in row.objects)]
    kept = chosen(labelled, percent, seed)

    def without(row: PartRow) -> PartRow:
        if row.image_id in kept:
            return row
        return replace(row, objects=tuple(replace(found, parts=()) for found in row.objects))

    def label(shard: Shard[ImageRef]) -> list[PartRow]:
        return [without(rows[one.image_id]) for one in shard.inputs]

    return run_shards(
        out,
        row=PartRow,
        shards=StageReader(objects_dir, ObjectRow).shards,
        settings={"percent": percent, "seed": seed},
        upstream=[objects_dir, parts_dir],
        make_work=lambda: label,
        label=f"few-shot: {percent} % of the parts",
    )


def _measure(validation: Validation, model: Path, percent: int) -> tuple[Measured, ...]:
    overlapping, _ = measure_proposals(validation, model, f"proposals_{percent}")
    parts = measure_parts(validation, model, f"parts_{percent}", "parts", "result")
    return overlapping, parts


def _report(points: Sequence[Point], model: Path, inputs: Inputs, recipe: Recipe) -> None:
    rows = [
        Compared(f"{point.percent} %, {one.name}", (one.strict, one.paper))
        for point in points
        for one in point.measured
    ]
    made_from = {
        f"model.{place}": contents_hash(file) for place, file in enumerate(resolve(str(model)).files)
    }
    truth = contents_hash(inputs.held_out.need("parts"))
    origin = Provenance(truth, made_from, config=canonical_hash(recipe.to_dict()))
    save(Comparison(rows, origin), inputs.out / FOLDER)
    percents = [float(point.percent) for point in points]
    recall = [100 * point.measured[0].strict.average_recall[200] for point in points]
    miou = [100 * point.measured[1].strict.c_miou for point in points]
    save_plot(
        inputs.out / f"{FOLDER}.png",
        [Series("AR@200", percents, recall), Series("C-mIoU", percents, miou)],
        x="labelled images, %",
        y="%",
        log_x=True,
    )
