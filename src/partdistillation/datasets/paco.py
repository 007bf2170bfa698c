"""PACO-LVIS: objects of 75 classes in COCO's images, with masks of their parts.

Layout; the images are COCO 2017's, and links will do:

    annotations/paco_lvis_v1_SPLIT.json       SPLIT being train, val or test; or without annotations/,
                                              or below paco/
    train2017/*.jpg, val2017/*.jpg            or below images/ or coco/

The JSON is COCO's with objects and parts in one list. A category `car_(automobile)` of supercategory
`OBJECT` is an object class, `car_(automobile):wheel` one of its parts (456 in all); `obj_ann_id` of an
annotation is the `id` of its object's annotation, an object's is its own. All regions of a part of one
object are one annotation. Objects without parts are written too. Attributes, queries and PACO-EGO4D aren't
read.

Licence: the annotations' is unknown to us; COCO's terms for the images.
Ramanathan et al.: PACO: Parts and Attributes of Common Objects, CVPR 2023, arXiv:2301.01795.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from partdistillation.data.coco import CocoCategory, CocoDataset, CocoImage, Id, read_instances
from partdistillation.datasets.part_datasets import (
    Finding,
    LabelledImage,
    PreparedSplit,
    compared,
    known_split,
    listed,
    repeated,
    write_split,
)
from partdistillation.datasets.published_coco import (
    absent_images,
    complaints,
    damaged_images,
    file_of,
    located,
    regions,
    unusable_regions,
    usable_images,
)
from partdistillation.errors import InputError
from partdistillation.export.labels import ObjectLabel, PartLabel


class Published(NamedTuple):
    """Counts of a split, of the data set's own page."""

    images: int
    objects: int
    parts: int


PUBLISHED = {
    "train": Published(45_790, 217_117, 395_071),
    "val": Published(2_410, 10_794, 20_945),
    "test": Published(9_443, 45_861, 86_041),
}
NUM_OBJECT_CLASSES = 75
NUM_PART_CATEGORIES = 456

_GET = "get it at https://dl.fbaipublicfiles.com/paco/annotations/paco_lvis_v1.zip"
_GET_IMAGES = "they are COCO 2017's train and val images (https://cocodataset.org)"


@dataclass(frozen=True)
class Paco:
    name: str = "paco"
    splits: tuple[str, ...] = tuple(PUBLISHED)

    def check(self, root: Path) -> Iterator[Finding]:
        for split in self.splits:
            try:
                dataset = _read(root, split)
            except InputError as error:
                yield Finding("problem", f"{split}: {error}; {_GET}")
                continue
            yield from _check_split(root, split, dataset)

    def write(self, root: Path, split: str, out: Path) -> PreparedSplit:
        known_split(self.name, self.splits, split)
        return write_split(out, split, root, _labelled(root, split))


def _check_split(root: Path, split: str, dataset: CocoDataset) -> Iterator[Finding]:
    published = PUBLISHED[split]
    everything = [annotation for image in dataset.images for annotation in dataset.of(image.id)]
    num_parts = sum(_is_part(annotation.category) for annotation in everything)
    part_categories = sum(_is_part(category) for category in dataset.categories)
    yield compared(f"{split}: images", len(dataset.images), published.images)
    yield compared(f"{split}: objects", len(everything) - num_parts, published.objects)
    yield compared(f"{split}: parts", num_parts, published.parts)
    yield compared(f"{split}: object classes", len(dataset.categories) - part_categories, NUM_OBJECT_CLASSES)
    yield compared(f"{split}: part categories", part_categories, NUM_PART_CATEGORIES)
    yield from complaints(dataset)
    yield from unusable_regions(dataset)
    images = [replace(image, file_name=_path(root, image)) for image in dataset.images if not image.problem]
    yield from absent_images(root, (image.file_name for image in images), _GET_IMAGES)
    yield from damaged_images(root, images)


def _read(root: Path, split: str) -> CocoDataset:
    name = f"paco_lvis_v1_{split}.json"
    folders = ("annotations", ".", "paco_lvis_v1", "paco/annotations")
    dataset = read_instances(file_of(root, (f"{folder}/{name}".removeprefix("./") for folder in folders)))
    objects = {category.name for category in dataset.categories if not _is_part(category)}
    homeless = [
        category.name
        for category in dataset.categories
        if _is_part(category) and category.name.split(":")[0] not in objects
    ]
    if homeless:
        raise InputError(
            f"{dataset.path}: expected an object class of every part category (bottle of bottle:cap), "
            f"found none of {listed(homeless)}"
        )
    # Parts are tied to objects by them: of two objects with one id, one would be lost.
    everything = (annotation for image in dataset.images for annotation in dataset.of(image.id))
    if twice := repeated(str(annotation.id) for annotation in everything):
        raise InputError(
            f"{dataset.path}: expected annotations of different ids, found twice: {listed(twice)}"
        )
    return dataset


def _labelled(root: Path, split: str) -> Iterator[LabelledImage]:
    dataset = _read(root, split)
    for image in usable_images(dataset):
        objects, reasons = _objects(dataset, image)
        yield LabelledImage(replace(image, file_name=_path(root, image)), objects, reasons)


def _objects(dataset: CocoDataset, image: CocoImage) -> tuple[tuple[ObjectLabel, ...], tuple[str, ...]]:
    """The objects of an image with their parts, and why annotations are left out."""
    found, reasons = regions(dataset, image)
    objects = {str(each.id): (each, mask) for each, mask in found if not _is_part(each.category)}
    parts: defaultdict[str, list[PartLabel]] = defaultdict(list)
    for each, mask in found:
        if not _is_part(each.category):
            continue
        owner, _, name = each.category.name.partition(":")
        reason = _unowned(each.object_id, owner, {key: one.category for key, (one, _) in objects.items()})
        if reason:
            reasons.append(f"annotation {each.id!r}: {reason}")
        else:
            parts[str(each.object_id)].append(PartLabel(name, mask))
    return tuple(
        ObjectLabel(each.category.name, mask, tuple(parts[key])) for key, (each, mask) in objects.items()
    ), tuple(reasons)


def _unowned(object_id: Id | None, owner: str, objects: Mapping[str, CocoCategory]) -> str:
    """Why a part can't be tied to an object of its image; nothing where it can."""
    category = objects.get(str(object_id))
    if object_id is None or category is None:
        return f"expected an object's annotation in obj_ann_id, found {object_id!r}"
    if category.name != owner:
        return f"expected a part of {category.name}, found one of {owner}"
    return ""


def _is_part(category: CocoCategory) -> bool:
    return category.supercategory == "PART" or ":" in category.name


def _path(root: Path, image: CocoImage) -> str:
    """An image's file, relative to the data set's folder."""
    return located(root, (f"{folder}{image.file_name}" for folder in ("", "images/", "coco/")))
