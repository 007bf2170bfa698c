"""Cityscapes Panoptic Parts: parts of people and vehicles in 3,475 images of Cityscapes, 5 classes, 23 parts.

Layout, as the two archives unpack to it (`gtFinePanopticParts_trainval.zip`, `leftImg8bit_trainvaltest.zip`):

    gtFinePanopticParts/val/lindau/lindau_000000_000019_gtFinePanopticParts.tif
    leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png

or each in a folder of its archive's name. There is no annotation of the split test.

A pixel of a .tif (32 bits) is a number of up to seven digits: two of the class, three of the instance, two of
the part (https://panoptic-parts.readthedocs.io/en/stable/label_format.html). 26 is a car pixel of no
instance, 26002 one of car 2, 2600203 its light. Part 0 means no part.

The object classes are the five that have parts. An object is all pixels of its instance, those of no part
too; pixels of no instance (groups) are left out. Some files have a part 5 on people, which the data set's
authors call an artefact: it is no part.

Licence: Cityscapes' terms (research, no commerce; one has to register).
Meletis, Wen, Lu, de Geus, Dubbelman: Cityscapes-Panoptic-Parts and PASCAL-Panoptic-Parts datasets for Scene
Understanding, 2020, arXiv:2004.07944. De Geus et al.: Part-aware Panoptic Segmentation, CVPR 2021,
arXiv:2106.06351. Cordts et al.: The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from partdistillation.data.coco_entries import CocoImage
from partdistillation.data.images import image_size, load_label_map
from partdistillation.datasets.part_datasets import (
    AnnotatedImage,
    Finding,
    PreparedSplit,
    compared,
    elsewhere,
    evenly,
    listed,
    require_images,
    write_split,
)
from partdistillation.datasets.published_coco import absent_images, damaged_photographs
from partdistillation.errors import InputError
from partdistillation.export.labels import ObjectLabel, PartLabel
from partdistillation.functional.masks import EncodedMask, Mask, encode, union
from partdistillation.runs.progress import followed

NUM_IMAGES = {"train": 2_975, "val": 500}

_HUMAN = {1: "torso", 2: "head", 3: "arm", 4: "leg"}
_VEHICLE = {1: "window", 2: "wheel", 3: "light", 4: "license plate", 5: "chassis"}
CLASSES: Mapping[int, tuple[str, Mapping[int, str]]] = {
    24: ("person", _HUMAN),
    25: ("rider", _HUMAN),
    26: ("car", _VEHICLE),
    27: ("truck", _VEHICLE),
    28: ("bus", _VEHICLE),
}
"""The classes with parts, and these, by their numbers."""

_NO_PARTS = {category: {0, 5} if parts is _HUMAN else {0} for category, parts in CLASSES.values()}
"""Void, and the artefact."""

_SAMPLED = 10
_ANNOTATION, _PHOTOGRAPH = "_gtFinePanopticParts.tif", "_leftImg8bit.png"
_ANNOTATIONS = ("gtFinePanopticParts", "gtFinePanopticParts_trainval/gtFinePanopticParts")
_IMAGES = ("leftImg8bit", "leftImg8bit_trainvaltest/leftImg8bit")
_GET = "get gtFinePanopticParts_trainval.zip at https://www.cityscapes-dataset.com/downloads/"
_GET_IMAGES = "get leftImg8bit_trainvaltest.zip at https://www.cityscapes-dataset.com/downloads/"


class Label(NamedTuple):
    """What the number of a pixel means."""

    of_class: int
    instance: int | None
    part: int | None


@dataclass(frozen=True)
class CityscapesPart:
    name: str = "cityscapes_part"
    splits: tuple[str, ...] = tuple(NUM_IMAGES)

    def check(self, root: Path) -> Iterator[Finding]:
        for split in self.splits:
            try:
                names = _names(root, split)
            except InputError as error:
                yield Finding("problem", str(error))
                continue
            yield compared(f"{split}: annotations", len(names), NUM_IMAGES[split])
            photographs = [_photograph(root, split, name) for name in names]
            yield from absent_images(root, photographs, _GET_IMAGES)
            there = {path.name for path in (root / photographs[0]).parents[1].glob(f"*/*{_PHOTOGRAPH}")}
            if unlabelled := sorted(there - {Path(photograph).name for photograph in photographs}):
                yield Finding(
                    "problem", f"{split}: images without an annotation: {listed(unlabelled)}: {_GET}"
                )
            whole = [name for name in names if (root / _photograph(root, split, name)).is_file()]
            yield from damaged_photographs(root, photographs)
            yield from _check_some(root, split, whole)

    def write(self, root: Path, split: str, out: Path) -> PreparedSplit:
        names = _names(root, split)
        # Before 3,000 annotations are read.
        require_images(root, [_photograph(root, split, name) for name in names])
        return write_split(
            out, split, root, (_labelled(root, split, name) for name in followed(names, split, unit="images"))
        )


def decode_label(number: int) -> Label:
    """The meaning of a pixel's number.

    Raises:
        InputError: it has none: it is negative, or of three, eight or more digits.
    """
    if 0 <= number <= 99:
        return Label(number, None, None)
    if 1_000 <= number <= 99_999:
        return Label(*divmod(number, 1_000), None)
    if 100_000 <= number <= 9_999_999:
        instance, part = divmod(number, 100)
        return Label(*divmod(instance, 1_000), part)
    raise InputError(
        f"expected a class (2 digits), an instance (5) or a part (7) as a pixel's number, found {number}"
    )


def _check_some(root: Path, split: str, names: Sequence[str]) -> Iterator[Finding]:
    """Read a few annotations: all of them take minutes."""
    sample = evenly(names, _SAMPLED)
    problems, notes = [], []
    for name in followed(sample, f"{split}: reading", unit="annotations"):
        try:
            notes += [f"{name}: {reason}" for reason in _labelled(root, split, name).left_out]
        except InputError as error:
            problems.append(str(error))
    yield from (Finding("problem", problem) for problem in problems)
    yield from (Finding("note", note) for note in notes)
    if sample and not problems:
        yield Finding("ok", f"{split}: {len(sample)} annotations were read and are sound")


def _labelled(root: Path, split: str, name: str) -> AnnotatedImage:
    """`name` is that of the annotation without its ending, with the city: `lindau/lindau_000000_000019`."""
    path = _annotations(root, split) / f"{name}{_ANNOTATION}"
    photograph = _photograph(root, split, name)
    width, height = image_size(root / photograph)
    labels = load_label_map(path)
    if labels.shape != (height, width):
        size = f"{labels.shape[1]} x {labels.shape[0]}"
        raise InputError(f"{path}: expected the image's size, {width} x {height}, found {size}: {_GET}")
    image = CocoImage(Path(name).name, photograph, width, height)
    try:
        objects, left_out = _objects(labels)
    except InputError as error:
        raise InputError(f"{path}: {error}: {_GET}") from error
    return AnnotatedImage(image, objects, left_out)


def _objects(labels: Int32[np.ndarray, "height width"]) -> tuple[tuple[ObjectLabel, ...], tuple[str, ...]]:
    """The objects of an image with their parts, and what is left out."""
    instances: defaultdict[tuple[int, int], defaultdict[int, list[Mask]]] = defaultdict(
        lambda: defaultdict(list)
    )
    by_column = np.asfortranarray(labels)  # as masks are encoded, which is five times as quick so
    meanings = {number: decode_label(number) for number in np.unique(labels).tolist()}
    for number, (of_class, instance, part) in meanings.items():
        if of_class in CLASSES and instance is not None:
            mask = EncodedMask(encode(by_column == number), *labels.shape)
            # A pixel of no part and one of part 0 mean the same.
            instances[of_class, instance][part or 0].append(mask)
    objects, left_out = [], []
    for (of_class, instance), masks in instances.items():
        category, names = CLASSES[of_class]
        whole = union([mask for of_part in masks.values() for mask in of_part])
        parts = [PartLabel(names[part], union(of_part)) for part, of_part in masks.items() if part in names]
        objects.append(ObjectLabel(category, whole, tuple(parts)))
        if unknown := masks.keys() - names.keys() - _NO_PARTS[category]:
            left_out.append(
                f"{category} {instance}: parts {sorted(unknown)}, which a {category} doesn't have"
            )
    return tuple(objects), tuple(left_out)


def _names(root: Path, split: str) -> list[str]:
    """The annotations of a split, without their ending.

    Raises:
        InputError: there are none.
    """
    folder = _annotations(root, split)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob(f"*/*{_ANNOTATION}"))
    if not names:
        raise InputError(
            f"{folder}: expected annotations CITY/*{_ANNOTATION}, found none: the split is empty; {_GET}"
            + elsewhere(root, [f"{folder}/{split}" for folder in _ANNOTATIONS])
        )
    return [name.removesuffix(_ANNOTATION) for name in names]


def _annotations(root: Path, split: str) -> Path:
    return _first_folder(root, _ANNOTATIONS) / split


def _photograph(root: Path, split: str, name: str) -> str:
    """An image's file, relative to the data set's folder."""
    return (_first_folder(root, _IMAGES) / split / f"{name}{_PHOTOGRAPH}").relative_to(root).as_posix()


def _first_folder(root: Path, candidates: Sequence[str]) -> Path:
    """The first that is there; the first of all where none is."""
    return next((root / folder for folder in candidates if (root / folder).is_dir()), root / candidates[0])
