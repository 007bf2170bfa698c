"""PartImageNet++: 100 images of each of ImageNet-1K's classes, with the parts of their objects.

Layout, as at https://huggingface.co/datasets/lixiao20/PartImageNetPP, with ImageNet's images beside it:

    json/n01440764.json                       one a class: COCO's, one category a part (no object class)
    discarded_data.json                       if there: a list of {"file_name"}, images that are left out
    images/n01440764/n01440764_10029.JPEG     or train/..., or without the class folder; links will do

There is no split: all images are the split `all`. The object class is the name of the JSON file, ImageNet's
id. There are no object masks: an object is the union of its image's parts, one object an image. A part may
hold another (a shell and its body): the data set's `including/` tells which; they are written as they are.

Licence: MIT for the annotations; that of ImageNet for the images (research, no commerce).
Li, Liu, Dong, Qin, Hu: PartImageNet++ Dataset: Scaling up Part-based Models for Robust Recognition, ECCV
2024, arXiv:2407.10918.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from partdistillation.classes.wordnet import SYNSET_ID
from partdistillation.data.coco import CocoDataset, CocoImage, read_instances
from partdistillation.datasets.part_datasets import (
    AnnotatedImage,
    Finding,
    PreparedSplit,
    compared,
    elsewhere,
    write_split,
)
from partdistillation.datasets.published_coco import (
    check_images,
    complaints,
    located,
    placed,
    regions,
    unusable_regions,
    usable_images,
)
from partdistillation.errors import InputError
from partdistillation.export.labels import ObjectLabel, PartLabel
from partdistillation.functional.masks import union
from partdistillation.runs.progress import followed

NUM_CLASSES = 1_000
NUM_IMAGES = 100_000
NUM_PARTS = 406_364
NUM_PART_CATEGORIES = 3_310
"""As the data set's own table of classes and parts sums to."""
NUM_IN_PAPER = 3_308

_DISCARDED = "discarded_data.json"
_GET = "get it at https://huggingface.co/datasets/lixiao20/PartImageNetPP"
_GET_IMAGES = "they are ImageNet's (https://www.image-net.org): link its train folder as images"


@dataclass(frozen=True)
class PartImageNetPP:
    name: str = "part_imagenet_pp"
    splits: tuple[str, ...] = ("all",)

    def check(self, root: Path) -> Iterator[Finding]:
        try:
            files, discarded = _files(root), _discarded(root)
        except InputError as error:
            yield Finding("problem", f"{error}; {_GET}")
            return
        yield compared("classes (files in json/)", len(files), NUM_CLASSES)
        images: list[CocoImage] = []
        parts = categories = 0
        findings: list[Finding] = []
        for file in followed(files, "reading", unit="classes"):
            try:
                dataset = read_instances(file)
            except InputError as error:
                findings.append(Finding("problem", str(error)))
                continue
            findings += (*complaints(dataset), *unusable_regions(dataset, sampled=2))
            kept = [
                image
                for image in placed(dataset, partial(_path, root, file.stem))
                if _name(image) not in discarded
            ]
            images += kept
            parts += sum(len(dataset.of(image.id)) for image in kept)
            categories += len(dataset.categories)
        yield from findings
        yield compared("images", len(images), NUM_IMAGES)
        yield compared("part categories", categories, NUM_PART_CATEGORIES, NUM_IN_PAPER)
        yield compared("parts", parts, NUM_PARTS)
        yield from check_images(root, images, _GET_IMAGES)

    def write(self, root: Path, split: str, out: Path) -> PreparedSplit:
        return write_split(out, split, root, _labelled(root))


def _labelled(root: Path) -> Iterator[AnnotatedImage]:
    """File by file: only one is in memory."""
    discarded = _discarded(root)
    for file in followed(_files(root), "reading", unit="classes"):
        dataset = read_instances(file)
        for image in usable_images(dataset):
            if _name(image) not in discarded:
                yield _labelled_image(root, file.stem, dataset, image)


def _labelled_image(root: Path, synset: str, dataset: CocoDataset, image: CocoImage) -> AnnotatedImage:
    masks, reasons = regions(dataset, image)
    entry = replace(image, id=PurePosixPath(image.file_name).stem, file_name=_path(root, synset, image))
    if not masks:
        return AnnotatedImage(entry, (), tuple(reasons))
    parts = tuple(PartLabel(annotation.category.name, mask) for annotation, mask in masks)
    whole = ObjectLabel(synset, union([mask for _, mask in masks]), parts)
    return AnnotatedImage(entry, (whole,), tuple(reasons))


def _files(root: Path) -> list[Path]:
    """The annotation files, one a class.

    Raises:
        InputError: there are none, or one isn't named after a class of ImageNet.
    """
    files = sorted((root / "json").glob("*.json"))
    if not files:
        raise InputError(
            f"{root}: expected annotation files json/n01440764.json, ..., found none"
            + elsewhere(root, ("json/n*.json",))
        )
    for file in files:
        if not SYNSET_ID.fullmatch(file.stem):
            raise InputError(
                f"{file}: expected a file named after its object class in ImageNet (n01440764.json): "
                "its parts have no object class"
            )
    return files


def _discarded(root: Path) -> frozenset[str]:
    """The names of the images to leave out."""
    path = root / _DISCARDED
    if not path.is_file():
        return frozenset()
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return frozenset(PurePosixPath(entry["file_name"]).name for entry in entries)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f'{path}: expected a list of {{"file_name"}}, found another form ({error!r})'
        ) from error


def _name(image: CocoImage) -> str:
    return PurePosixPath(image.file_name).name


def _path(root: Path, synset: str, image: CocoImage) -> str:
    """An image's file, relative to the data set's folder."""
    names = (f"{synset}/{image.file_name}", image.file_name)
    return located(root, (f"{folder}/{name}" for folder in ("images", "train") for name in names))
