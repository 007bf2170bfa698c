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

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from partdistillation.data.coco import CocoAnnotation, CocoCategory, CocoDataset, CocoImage, read_instances
from partdistillation.datasets.part_datasets import (
    AnnotatedImage,
    Finding,
    PreparedSplit,
    compared,
    listed,
    repeated,
    write_split,
)
from partdistillation.datasets.published_coco import (
    announced,
    check_file,
    file_of,
    located,
    regions,
    usable_images,
)
from partdistillation.errors import InputError
from partdistillation.export.labels import ObjectLabel, PartLabel
from partdistillation.runs.progress import followed


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
        return write_split(out, split, root, _labelled(root, split))


def _check_split(root: Path, split: str, dataset: CocoDataset) -> Iterator[Finding]:
    published = PUBLISHED[split]
    kinds = Counter(_is_part(annotation.category) for annotation in _annotations(dataset))
    part_categories = sum(_is_part(category) for category in dataset.categories)
    yield compared(f"{split}: images", len(dataset.images), published.images)
    yield compared(f"{split}: objects", kinds[False], published.objects)
    yield compared(f"{split}: parts", kinds[True], published.parts)
    yield compared(f"{split}: object classes", len(dataset.categories) - part_categories, NUM_OBJECT_CLASSES)
    yield compared(f"{split}: part categories", part_categories, NUM_PART_CATEGORIES)
    yield from check_file(root, dataset, partial(_path, root), _GET_IMAGES)


def _read(root: Path, split: str) -> CocoDataset:
    name = f"paco_lvis_v1_{split}.json"
    folders = ("annotations", ".", "paco_lvis_v1", "paco/annotations")
    path = file_of(root, (f"{folder}/{name}".removeprefix("./") for folder in folders))
    dataset = read_instances(announced(path))
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
    if twice := repeated(str(annotation.id) for annotation in _annotations(dataset)):
        raise InputError(
            f"{dataset.path}: expected annotations of different ids, found twice: {listed(twice)}"
        )
    return dataset


def _labelled(root: Path, split: str) -> Iterator[AnnotatedImage]:
    dataset = _read(root, split)
    for image in followed(usable_images(dataset), split, unit="images"):
        objects, reasons = _objects(dataset, image)
        yield AnnotatedImage(replace(image, file_name=_path(root, image)), objects, reasons)


def _objects(dataset: CocoDataset, image: CocoImage) -> tuple[tuple[ObjectLabel, ...], tuple[str, ...]]:
    """The objects of an image with their parts, and why annotations are left out."""
    masks, reasons = regions(dataset, image)
    objects = {
        str(entry.id): (entry.category.name, mask) for entry, mask in masks if not _is_part(entry.category)
    }
    parts: defaultdict[str, list[PartLabel]] = defaultdict(list)
    for annotation, mask in masks:
        if not _is_part(annotation.category):
            continue
        owner, _, name = annotation.category.name.partition(":")
        category, _ = objects.get(str(annotation.object_id), (None, None))
        if annotation.object_id is None or category is None:
            reason = f"expected an object's annotation in obj_ann_id, found {annotation.object_id!r}"
        elif category != owner:
            reason = f"expected a part of {category}, found one of {owner}"
        else:
            parts[str(annotation.object_id)].append(PartLabel(name, mask))
            continue
        reasons.append(f"annotation {annotation.id!r}: {reason}")
    return tuple(
        ObjectLabel(category, mask, tuple(parts[key])) for key, (category, mask) in objects.items()
    ), tuple(reasons)


def _annotations(dataset: CocoDataset) -> Iterator[CocoAnnotation]:
    return (annotation for _, annotations, _ in dataset.annotated() for annotation in annotations)


def _is_part(category: CocoCategory) -> bool:
    return category.supercategory == "PART" or ":" in category.name


def _path(root: Path, image: CocoImage) -> str:
    """An image's file, relative to the data set's folder."""
    return located(root, (f"{folder}{image.file_name}" for folder in ("", "images/", "coco/")))
