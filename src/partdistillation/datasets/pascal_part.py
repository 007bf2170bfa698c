"""Pascal Part: the parts of the objects in Pascal VOC 2010, 10,103 images, 20 classes, 16 of them with parts.

Layout, as the two archives unpack to it (`trainval.tar.gz` of Pascal Part, `VOCtrainval_03-May-2010.tar`):

    Annotations_Part/2008_000002.mat                  or annotations/, or the files themselves
    VOCdevkit/VOC2010/ImageSets/Main/val.txt          or VOC2010/, VOC2012, or ImageSets/ itself
    VOCdevkit/VOC2010/JPEGImages/2008_000002.jpg      likewise

A .mat file has a struct `anno` with the field `objects`, each with `class`, `mask` and `parts`, each of
these with `part_name` and `mask`; masks are of the image's size and may overlap: an eye is in the head too.

Two data sets with the same objects, all of them with their own masks, also those without parts:

- `pascal_part`: part names merged without positions (`pascal_part_names`); all regions of an object with
  one merged name are one part.
- `pascal_part_raw`: the names and regions of the files (`lfuleg`, `wheel_2`).

Licence: the annotations' is unknown to us; the images are Flickr's, under its terms.
Chen, Mottaghi, Liu, Fidler, Urtasun, Yuille: Detect What You Can: Detecting and Representing Objects using
Holistic Models and Body Parts, CVPR 2014, arXiv:1406.2031.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from partdistillation.data.coco_entries import CocoImage
from partdistillation.data.images import image_size
from partdistillation.datasets import matlab
from partdistillation.datasets.part_datasets import (
    AnnotatedImage,
    Finding,
    PreparedSplit,
    compared,
    elsewhere,
    evenly,
    listed,
    missing_files,
    require_images,
    write_split,
)
from partdistillation.datasets.pascal_part_names import MERGED
from partdistillation.datasets.published_coco import absent_images, damaged_photographs
from partdistillation.errors import InputError
from partdistillation.export.labels import ObjectLabel, PartLabel
from partdistillation.functional.masks import Mask, union
from partdistillation.runs.progress import followed

NUM_IMAGES = {"train": 4_998, "val": 5_105, "trainval": 10_103}
"""VOC 2010's; Pascal Part has an annotation of each."""

_SAMPLED = 50
_ANNOTATIONS = ("Annotations_Part", "annotations", "trainval/Annotations_Part", ".")
_IMAGES = ("VOCdevkit/VOC2010", "VOC2010", "VOCdevkit/VOC2012", "VOC2012", "images", ".")
_IMAGE_ID = re.compile(r"20\d\d_\d{6}")
_LAST_YEAR = 2010  # VOC 2012, which many have, holds later images; they have no parts
_NUMBER = re.compile(r"_\d+$")
_ALIASES = {"table": "diningtable"}
_GET = "get trainval.tar.gz at http://roozbehm.info/pascal-parts/pascal-parts.html"
_GET_IMAGES = (
    "they are VOC 2010's: http://host.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar"
)


class _Copy(NamedTuple):
    """Where the files of a copy are."""

    annotations: Path
    voc: Path
    """The folder of `JPEGImages` and `ImageSets`."""


@dataclass(frozen=True)
class PascalPart:
    name: str = "pascal_part"
    merged: bool = True
    """Whether parts have merged names; else those of the files."""

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(NUM_IMAGES)

    def check(self, root: Path) -> Iterator[Finding]:
        try:
            copy = _copy(root)
        except InputError as error:
            yield Finding("problem", str(error))
            return
        count = sum(1 for _ in copy.annotations.glob("*.mat"))
        yield compared("annotations (.mat files)", count, NUM_IMAGES["trainval"])
        for split in ("train", "val"):
            try:
                ids = _ids(copy, split)
            except InputError as error:
                yield Finding("problem", f"{split}: {error}")
                continue
            yield compared(f"{split}: images", len(ids), NUM_IMAGES[split])
            if missing := missing_files(copy.annotations, map(_annotation, ids)):
                yield Finding("problem", f"{split}: annotations are missing: {listed(missing)}: {_GET}")
            yield from absent_images(copy.voc, map(_photograph, ids), _GET_IMAGES)
            yield from damaged_photographs(copy.voc, map(_photograph, ids))
            yield from self._check_some(copy, split, ids)

    def _check_some(self, copy: _Copy, split: str, ids: Sequence[str]) -> Iterator[Finding]:
        """Read a few annotations: all of them take minutes."""
        there = [
            image_id
            for image_id in ids
            if (copy.annotations / _annotation(image_id)).is_file()
            and (copy.voc / _photograph(image_id)).is_file()
        ]
        sample = evenly(there, _SAMPLED)
        left_out: list[str] = []
        problems: list[str] = []
        for image_id in followed(sample, f"{split}: reading", unit="annotations"):
            try:
                left_out += self._labelled(copy, image_id).left_out
            except InputError as error:
                problems.append(str(error))
        yield from (Finding("problem", problem) for problem in problems)
        if left_out:
            yield Finding("note", f"{split}: left out, in {len(sample)} annotations: {listed(left_out)}")
        if sample and not problems:
            yield Finding("ok", f"{split}: {len(sample)} annotations were read and are sound")

    def write(self, root: Path, split: str, out: Path) -> PreparedSplit:
        copy = _copy(root)
        ids = _ids(copy, split)
        # Before 5,000 annotations are read.
        require_images(copy.voc, [_photograph(image_id) for image_id in ids])
        if missing := missing_files(copy.annotations, map(_annotation, ids)):
            raise InputError(
                f"{copy.annotations}: expected an annotation of every image of {split!r}, found none of "
                f"{listed(missing)}: {_GET}"
            )
        reading = followed(ids, split, unit="images")
        return write_split(out, split, copy.voc, (self._labelled(copy, image_id) for image_id in reading))

    def _labelled(self, copy: _Copy, image_id: str) -> AnnotatedImage:
        width, height = image_size(copy.voc / _photograph(image_id))
        image = CocoImage(image_id, _photograph(image_id), width, height)
        path = copy.annotations / _annotation(image_id)
        annotated = matlab.read_structs(path, "anno")
        left_out: list[str] = []
        try:
            objects = tuple(
                self._object(struct, image, left_out)
                for whole in matlab.structs(annotated, ("objects",), "anno")
                for struct in matlab.structs(whole["objects"], ("class", "mask", "parts"), "objects")
            )
        except InputError as error:
            raise InputError(f"{path}: {error}: get the file again, or its photograph") from error
        return AnnotatedImage(image, objects, tuple(left_out))

    def _object(self, struct: matlab.Struct, image: CocoImage, left_out: list[str]) -> ObjectLabel:
        category = matlab.text(struct["class"], "the class of an object")
        category = _ALIASES.get(category, category)
        if category not in MERGED:
            raise InputError(f"expected one of Pascal VOC's 20 classes of objects, found {category!r}")
        mask = matlab.mask(struct["mask"], image.height, image.width, f"the mask of a {category}")
        parts: defaultdict[str, list[Mask]] = defaultdict(list)
        for part in matlab.structs(struct["parts"], ("part_name", "mask"), f"the parts of a {category}"):
            written = matlab.text(part["part_name"], f"the name of a part of a {category}")
            name = MERGED[category].get(_NUMBER.sub("", written)) if self.merged else written
            region = matlab.mask(
                part["mask"], image.height, image.width, f"the mask of a {category} {written}"
            )
            if name is None:
                left_out.append(f"a part of a {category} that isn't in the data set's list: {written!r}")
            else:
                parts[name].append(region)
        return ObjectLabel(
            category, mask, tuple(PartLabel(name, union(masks)) for name, masks in parts.items())
        )


def _copy(root: Path) -> _Copy:
    """The folders of a copy.

    Raises:
        InputError: one is missing.
    """
    annotations = _folder(root, _ANNOTATIONS, "*.mat")
    if annotations is None:
        hint = elsewhere(root, [f"{folder}/*.mat" for folder in _ANNOTATIONS if folder != "."])
        raise InputError(f"{root}: expected Annotations_Part/*.mat, found none: {_GET}{hint}")
    voc = _folder(root, _IMAGES, "JPEGImages")
    if voc is None:
        raise InputError(f"{root}: expected VOCdevkit/VOC2010/JPEGImages, found none: {_GET_IMAGES}")
    return _Copy(annotations, voc)


def _folder(root: Path, candidates: Sequence[str], content: str) -> Path | None:
    """The first of the folders that has something of that name."""
    return next((root / folder for folder in candidates if any((root / folder).glob(content))), None)


def _ids(copy: _Copy, split: str) -> list[str]:
    """The images of a split: `2008_000002`.

    Raises:
        InputError: there is no list of them, it is empty, or has something else in it.
    """
    places = [copy.voc / "ImageSets" / kind / f"{split}.txt" for kind in ("Main", "Part")]
    path = next((place for place in places if place.is_file()), places[0])
    try:
        lines = path.read_text(encoding="utf-8-sig").split()
    except OSError as error:
        raise InputError(
            f"{path}: expected the list of the split's images, found {error.strerror}; {_GET_IMAGES}"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected text, found a file that isn't; {_GET_IMAGES}") from error
    odd = [line for line in lines if not _IMAGE_ID.fullmatch(line)]
    if odd:
        raise InputError(f"{path}: expected an image a line, as 2008_000002, found {listed(odd)}")
    ids = [line for line in lines if int(line[:4]) <= _LAST_YEAR]
    if not ids:
        raise InputError(f"{path}: expected images up to {_LAST_YEAR}, found none: the split is empty")
    return ids


def _annotation(image_id: str) -> str:
    return f"{image_id}.mat"


def _photograph(image_id: str) -> str:
    return f"JPEGImages/{image_id}.jpg"


PASCAL_PARTS = (PascalPart(), PascalPart("pascal_part_raw", merged=False))
"""The data sets of this module."""
