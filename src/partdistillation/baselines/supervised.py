"""Baseline: the same network, taught the ground truth's parts (supplement, section 3).

Here part labels are read, and nowhere else in training: it says what the labels are worth. `run` learns every
object class's parts by name; `run_agnostic` learns them as one class, which the paper compares with stage 3.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from partdistillation.baselines import FOLDER
from partdistillation.config import ArchitectureConfig, Inputs, Recipe, TrainingConfig
from partdistillation.data.coco import CocoDataset, read_parts
from partdistillation.data.coco_parts import GroundTruthPart, parts_of, tie_parts
from partdistillation.data.images import ImageInput
from partdistillation.functional.masks import decode, encode
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.engine import map_rows
from partdistillation.runs.manifest import Json
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow
from partdistillation.runs.stage_reader import contents_hash
from partdistillation.stages import distillation, objects, proposals
from partdistillation.stages.pretrain import start_of
from partdistillation.training.loop import Run

NAME = "supervised"
AGNOSTIC = "supervised_agnostic"
PART_NAMES = "part_names.json"

PartNames = Mapping[str, tuple[str, ...]]
"""Names of an object class's parts; a part's place is its part class."""


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/baselines/supervised`: the ground truth as parts, and the model that learned them."""
    folder = inputs.out / FOLDER / NAME
    return distillation.learn_parts(true_parts(inputs, recipe, folder, recipe.supervised, NAME), inputs)


def true_parts(
    inputs: Inputs, recipe: Recipe, folder: Path, config: TrainingConfig, name: str
) -> distillation.Lesson:
    """Write `folder/parts` and their names; the lesson starts from the run's encoder."""
    parts_dir = label(inputs, folder)
    names = part_names(read_parts(inputs.need("parts"), inputs.parts_class))
    replace_file(folder / PART_NAMES, (json.dumps(names, indent=1, ensure_ascii=False) + "\n").encode())
    return replace(
        distillation.lesson(inputs, recipe),
        name=name,
        parts=parts_dir,
        num_parts=max(map(len, names.values())),
        initial=recipe.encoder,
        model=folder / distillation.FOLDER,
        config=config,
    )


def run_agnostic(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/baselines/supervised_agnostic`: a proposal model that learned every true region."""
    folder, objects_dir = inputs.out / FOLDER / AGNOSTIC, inputs.out / objects.FOLDER
    config = recipe.supervised
    parts_dir = label(inputs, folder, regions=True)
    depends: dict[str, Json] = {
        "settings": config.fingerprint(),
        **start_of(recipe.encoder, recipe.pretrain.part(ArchitectureConfig)),
        "objects": contents_hash(objects_dir),
        "parts": contents_hash(parts_dir),
    }
    return proposals.learn(
        Run(folder, AGNOSTIC, folder / proposals.FOLDER, depends),
        lambda: distillation.part_images(objects_dir, parts_dir, None, config),
        inputs,
        recipe,
        config=config,
    )


def label(inputs: Inputs, folder: Path, *, regions: bool = False) -> Path:
    """Write `folder/parts`: every object with its true parts; with `regions`, each region (wheel) its own."""
    objects_dir, parts_json = inputs.out / objects.FOLDER, inputs.need("parts")
    dataset = read_parts(parts_json, inputs.parts_class)
    return map_rows(
        folder / "parts",
        source=objects_dir,
        read=ObjectRow,
        row=PartRow,
        make=lambda: partial(part_row, dataset=dataset, names=part_names(dataset), regions=regions),
        settings={
            **({"regions": True} if regions else {}),
            **({"parts_class": inputs.parts_class} if inputs.parts_class else {}),
        },
        upstream=[parts_json],
        label=f"{NAME}: parts",
    )


def part_names(dataset: CocoDataset) -> PartNames:
    """The parts of every object class, by name."""
    names: dict[str, set[str]] = {}
    for category in dataset.categories:
        own = category.name.removeprefix(f"{category.supercategory} ")
        names.setdefault(category.supercategory, set()).add(own)
    return {category: tuple(sorted(parts)) for category, parts in sorted(names.items())}


def part_row(row: ObjectRow, dataset: CocoDataset, names: PartNames, *, regions: bool = False) -> PartRow:
    """The true parts of one image's objects; none, where the ground truth doesn't have the image.

    Regions of one name (two wheels) are one part, as a part class is one mask; with `regions` they are apart.

    Raises:
        InputError: what the ground truth says of this image can't be used.
    """
    image = dataset.find(ImageInput(row.image_id, row.file_name, Path(row.file_name)))
    truth = () if image is None else parts_of(dataset, image)
    masks = np.stack([decode(instance.rle, row.height, row.width) for instance in row.objects])
    tied = tie_parts(truth, [instance.category for instance in row.objects], masks)
    labelled = []
    for place, instance in enumerate(row.objects):
        own = [part for part, index in zip(truth, tied, strict=True) if index == place]
        labelled.append(_object_parts(instance, own, names, regions))
    return row.to(PartRow, labelled)


def _object_parts(
    instance: Object, truth: list[GroundTruthPart], names: PartNames, regions: bool
) -> ObjectParts:
    parts = []
    for number, name in enumerate(names.get(instance.category, ())):
        masks = [part.mask for part in truth if part.name == name]
        if masks and not regions:
            masks = [np.logical_or.reduce(masks)]
        parts += [Part(number, 1.0, 1.0, int(np.count_nonzero(mask)), encode(mask)) for mask in masks]
    return ObjectParts(instance.object_id, instance.category, tuple(parts))
