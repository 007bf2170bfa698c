"""Baseline: the same network, steps and batch as stage 5, taught the ground truth's parts.

The one place in training where part labels are read: it says what the labels are worth.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from partdistillation.atomic import replace_file
from partdistillation.baselines import FOLDER
from partdistillation.config import Inputs, Recipe
from partdistillation.data.coco import CocoDataset, read_parts
from partdistillation.data.coco_parts import GroundTruthPart, parts_of, tie_parts
from partdistillation.data.images import ImageInput
from partdistillation.engine import run_shards
from partdistillation.functional.masks import decode, encode
from partdistillation.records import Object, ObjectParts, ObjectRow, Part, PartRow
from partdistillation.shards import ImageRef, Shard
from partdistillation.stages import distillation, objects
from partdistillation.store import StageReader

NAME = "supervised"
PART_NAMES = "part_names.json"

PartNames = Mapping[str, tuple[str, ...]]
"""Names of an object class's parts; a part's place is its part class."""


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/baselines/supervised`: the ground truth as parts, and the model that learned them."""
    folder = inputs.out / FOLDER / NAME
    parts_dir = label(inputs, folder)
    names = part_names(read_parts(inputs.need("parts")))
    replace_file(folder / PART_NAMES, (json.dumps(names, indent=1, ensure_ascii=False) + "\n").encode())
    lesson = distillation.Lesson(
        name=NAME,
        parts=parts_dir,
        num_parts=max(map(len, names.values())),
        initial=recipe.encoder,
        model=folder / distillation.FOLDER,
    )
    return distillation.learn_parts(lesson, inputs, recipe)


def label(inputs: Inputs, folder: Path) -> Path:
    """Write `folder/parts`: every object with its true parts."""
    objects_dir, parts_json = inputs.out / objects.FOLDER, inputs.need("parts")
    return run_shards(
        folder / "parts",
        row=PartRow,
        shards=StageReader(objects_dir, ObjectRow).shards,
        settings={},
        upstream=[objects_dir, parts_json],
        make_work=partial(_make_labeller, objects_dir, parts_json),
        label=f"{NAME}: parts",
    )


def _make_labeller(objects_dir: Path, parts_json: Path) -> Callable[[Shard[ImageRef]], list[PartRow]]:
    reader, dataset = StageReader(objects_dir, ObjectRow), read_parts(parts_json)
    names = part_names(dataset)
    return lambda shard: [part_row(row, dataset, names) for row in reader.read(shard.name)]


def part_names(dataset: CocoDataset) -> PartNames:
    """The parts of every object class, by name."""
    names: dict[str, set[str]] = {}
    for category in dataset.categories:
        own = category.name.removeprefix(f"{category.supercategory} ")
        names.setdefault(category.supercategory, set()).add(own)
    return {category: tuple(sorted(found)) for category, found in sorted(names.items())}


def part_row(row: ObjectRow, dataset: CocoDataset, names: PartNames) -> PartRow:
    """The true parts of one image's objects; none, where the ground truth doesn't have the image.

    Raises:
        InputError: what the ground truth says of this image can't be used.
    """
    header = (row.image_id, row.file_name, row.width, row.height, row.status, row.reason)
    if row.status == "rejected":
        return PartRow(*header, ())
    image = dataset.find(ImageInput(row.image_id, row.file_name, Path(row.file_name)))
    truth = () if image is None else parts_of(dataset, image)
    masks = np.stack([decode(one.rle, row.height, row.width) for one in row.objects])
    tied = tie_parts(truth, [one.category for one in row.objects], masks)
    found = (
        _object_parts(one, [part for part, its in zip(truth, tied, strict=True) if its == place], names)
        for place, one in enumerate(row.objects)
    )
    return PartRow(*header, tuple(found))


def _object_parts(found: Object, truth: list[GroundTruthPart], names: PartNames) -> ObjectParts:
    """The object's parts: regions of one name (two wheels) are one part, as a part class is one mask."""
    own = names.get(found.category, ())
    parts = []
    for number, name in enumerate(own):
        regions = [part.mask for part in truth if part.name == name]
        if regions:
            mask = np.logical_or.reduce(regions)
            parts.append(Part(number, 1.0, 1.0, int(np.count_nonzero(mask)), encode(mask)))
    return ObjectParts(found.object_id, found.category, tuple(parts))
