"""PartImageNet: 24,095 images of 158 ImageNet classes with the parts of their objects.

Two releases of the same images, each a data set of its own here:

- `part_imagenet_ood`, the first (`PartImageNet_OOD.zip`): no class is in two splits (109, 19 and 30 classes).
  The paper's "val, test" is its split `val_test`.
- `part_imagenet`, the later (`PartImageNet_Seg.zip`): the splits share their classes.

Layout, SPLIT being train, val or test (the zips unpack to it, the second below `PartImageNet/`):

    annotations/SPLIT/SPLIT.json              or annotations/SPLIT.json, or SPLIT.json
    annotations/SPLIT_whole/n01440764_10029.png   objects, in the later release
    images/SPLIT/n01440764_10029.JPEG         or in a folder n01440764 there, or without images/

The JSON is COCO's, with one category a part: `Quadruped Head` of supercategory `Quadruped`. The images are
of ImageNet's training images; they may lie elsewhere and be linked to.

An image shows one object. Its mask is the later release's own (`part_imagenet_wholes`), else the union of
its parts. Its class is the image's in ImageNet (`n01440764`), as the paper's 19 + 30 classes are; the data
sets whose names end in `_supercategories` take PartImageNet's own 11 (`Quadruped`) instead.

Licence: that of ImageNet for the images (research, no commerce); the annotations' is unknown to us.
He, Yang, Yang, Kortylewski, Yuan, Chen, Liu, Yang, Yu, Yuille: PartImageNet: A Large, High-Quality Dataset
of Parts, ECCV 2022, arXiv:2112.00933.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from partdistillation.data.coco import CocoDataset, CocoImage, read_parts
from partdistillation.data.coco_entries import CocoAnnotation
from partdistillation.datasets.part_datasets import (
    AnnotatedImage,
    Finding,
    PreparedSplit,
    compared,
    write_split,
)
from partdistillation.datasets.part_imagenet_wholes import Wholes, check_wholes
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
from partdistillation.functional.masks import EncodedMask, union
from partdistillation.runs.progress import followed

Classes = Literal["synset", "supercategory"]

FILES = ("train", "val", "test")
NUM_IMAGES = 24_095
NUM_CLASSES = 158
NUM_PART_CATEGORIES = 40

_SYNSET = re.compile(r"n\d{8}(?=_)")
_GET = "get it at https://github.com/TACJu/PartImageNet"


@dataclass(frozen=True)
class PartImageNet:
    """One of the releases, with one of the two notions of an object class."""

    name: str
    release: str
    """What to download."""
    num_images: Mapping[str, int]
    """Published, by split; unknown where left out."""
    num_classes: Mapping[str, int]
    """Likewise, classes of ImageNet."""
    classes: Classes = "synset"
    disjoint: bool = False
    """Whether no class is in two splits."""

    @property
    def splits(self) -> tuple[str, ...]:
        return (*FILES, "val_test")

    def check(self, root: Path) -> Iterator[Finding]:
        read: dict[str, CocoDataset] = {}
        for split in FILES:
            try:
                read[split] = self._read(root, split)
            except InputError as error:
                yield Finding("problem", f"{split}: {error}; {self.release}: {_GET}")
                continue
            yield from self._check_split(root, split, read[split])
        if len(read) == len(FILES):
            yield from self._check_together(read)

    def _check_split(self, root: Path, split: str, dataset: CocoDataset) -> Iterator[Finding]:
        yield compared(f"{split}: images", len(dataset.images), self.num_images.get(split))
        yield compared(f"{split}: classes", len(_synsets(dataset)), self.num_classes.get(split))
        yield from check_file(root, dataset, partial(_path, root, split), _GET)
        if not self.disjoint:
            yield from check_wholes(root, split, dataset)
        try:
            self._require_classes(dataset)
        except InputError as error:
            yield Finding("problem", f"{split}: {error}")

    def _check_together(self, read: Mapping[str, CocoDataset]) -> Iterator[Finding]:
        """What tells the releases apart."""
        yield compared(
            "all splits: images", sum(len(dataset.images) for dataset in read.values()), NUM_IMAGES
        )
        names = {category.name for dataset in read.values() for category in dataset.categories}
        yield compared("all splits: part categories", len(names), NUM_PART_CATEGORIES)
        classes = {split: _synsets(dataset) for split, dataset in read.items()}
        yield compared("all splits: classes", len(set.union(*classes.values())), NUM_CLASSES)
        shared = bool(
            classes["train"] & classes["val"] or (classes["train"] | classes["val"]) & classes["test"]
        )
        if shared == self.disjoint:
            what = "share classes" if shared else "share no class"
            yield Finding("problem", f"the splits {what}: this is the other release, not {self.release}")

    def write(self, root: Path, split: str, out: Path) -> PreparedSplit:
        return write_split(out, split, root, self._labelled(root, split.split("_")))

    def _labelled(self, root: Path, splits: list[str]) -> Iterator[AnnotatedImage]:
        for split in splits:
            dataset = self._read(root, split)
            images = usable_images(dataset)
            self._require_classes(dataset)
            wholes = Wholes.of_split(root, split)
            for image in followed(images, split, unit="images"):
                masks, reasons = regions(dataset, image)
                objects = self._objects(image, masks)
                try:
                    objects = wholes.applied(image, objects)
                except InputError as error:
                    reasons.append(f"the object's own mask: {error}")
                # The two files of `val_test` number their images alike; ImageNet's names are unique.
                entry = replace(
                    image, id=PurePosixPath(image.file_name).stem, file_name=_path(root, split, image)
                )
                yield AnnotatedImage(entry, objects, tuple(reasons))

    def _objects(
        self, image: CocoImage, masks: list[tuple[CocoAnnotation, EncodedMask]]
    ) -> tuple[ObjectLabel, ...]:
        """One object a supercategory, which is one an image."""
        parts: defaultdict[str, list[PartLabel]] = defaultdict(list)
        for annotation, mask in masks:
            above = annotation.category.supercategory
            parts[above].append(PartLabel(annotation.category.name.removeprefix(f"{above} "), mask))
        return tuple(
            ObjectLabel(
                _synset(image) if self.classes == "synset" else above,
                union([part.mask for part in of_object]),
                tuple(of_object),
            )
            for above, of_object in parts.items()
        )

    def _read(self, root: Path, split: str) -> CocoDataset:
        name = f"{split}.json"
        path = file_of(root, (f"annotations/{split}/{name}", f"annotations/{name}", name))
        return read_parts(announced(path))

    def _require_classes(self, dataset: CocoDataset) -> None:
        if self.classes == "synset":
            usable = [image for image in dataset.images if not image.problem]
            try:
                for image in usable:
                    _synset(image)
            except InputError as error:
                raise InputError(f"{dataset.path}: {error}") from error


def _synset(image: CocoImage) -> str:
    match = _SYNSET.search(image.file_name)
    if match is None:
        raise InputError(
            "expected images named after their classes in ImageNet (n01440764_10029.JPEG), found "
            f"{image.file_name!r}; the data sets that end in _supercategories don't need such names"
        )
    return match[0]


def _synsets(dataset: CocoDataset) -> set[str]:
    return {match[0] for image in dataset.images if (match := _SYNSET.search(image.file_name))}


def _path(root: Path, split: str, image: CocoImage) -> str:
    """An image's file, relative to the data set's folder."""
    match = _SYNSET.search(image.file_name)
    folders = (f"images/{split}", split, "images")
    names = (*([f"{match[0]}/{image.file_name}"] if match else []), image.file_name)
    return located(root, (f"{folder}/{name}" for folder in folders for name in names))


_SEGMENTATION = PartImageNet("part_imagenet", release="PartImageNet_Seg.zip", num_images={}, num_classes={})
_OUT_OF_DISTRIBUTION = PartImageNet(
    "part_imagenet_ood",
    release="PartImageNet_OOD.zip",
    num_images={"train": 16_540, "val": 2_957, "test": 4_598},
    num_classes={"train": 109, "val": 19, "test": 30},
    disjoint=True,
)
PART_IMAGENETS = (
    _SEGMENTATION,
    replace(_SEGMENTATION, name="part_imagenet_supercategories", classes="supercategory"),
    _OUT_OF_DISTRIBUTION,
    replace(_OUT_OF_DISTRIBUTION, name="part_imagenet_ood_supercategories", classes="supercategory"),
)
"""The data sets of this module."""
