"""People's own data: COCO objects + parts, the format that everything here reads (docs/datasets.md).

Layout that `partdistill doctor --dataset coco_parts` understands; the files may be named anything for other
commands:

    objects.json, parts.json                  or objects_SPLIT.json and parts_SPLIT.json, for any SPLIT
    images/car/1.jpg                          `file_name`, below images/, SPLIT/ or the folder itself
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from partdistillation.config import Inputs
from partdistillation.data.coco import CocoDataset, CocoImage, read_instances, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.datasets.part_datasets import (
    Finding,
    PreparedSplit,
    elsewhere,
    evenly,
    listed,
    misfit,
    require_images,
)
from partdistillation.datasets.published_coco import (
    check_images,
    complaints,
    located,
    placed,
    unusable_regions,
)
from partdistillation.errors import InputError
from partdistillation.runs.progress import followed
from partdistillation.runs.remote import bring_inputs

_SAMPLED = 1_000
_GET_IMAGES = "put them below images/, or name them in the file as they are named on disk"


@dataclass(frozen=True)
class OwnParts:
    name: str = "coco_parts"
    splits: tuple[str, ...] = ()

    def check(self, root: Path) -> Iterator[Finding]:
        suffixes = sorted(
            {
                path.stem.removeprefix(kind)
                for kind in ("objects", "parts")
                for path in root.glob(f"{kind}*.json")
            }
        )
        if not suffixes:
            yield Finding(
                "problem",
                f"{root}: expected objects.json and parts.json, or objects_train.json, ..., found neither"
                + elsewhere(root, ("objects*.json",)),
            )
        for suffix in suffixes:
            yield from _check_pair(root, suffix)

    def write(self, root: Path, split: str, out: Path) -> PreparedSplit:
        raise InputError(
            f"{root}: expected a published data set, found the name of the format itself ({self.name}, split "
            f"{split}, to {out}): there is nothing to prepare, give the files with --objects and --parts"
        )


def require_labels(inputs: Inputs) -> None:
    """Make sure that objects and parts, where they are given as COCO files, are whole and agree.

    For experiments, which would otherwise find out after hours of training. Every mask of a part is decoded.

    Raises:
        ConfigError: the images weren't given, or a path doesn't exist.
        InputError: a file can't be read or has no images or no annotations, some of its annotations can't be
            used or point to no image, images aren't in the folder, a part's object class isn't among the
            objects' classes, or an image is of another size than a file says.
    """
    bring_inputs(inputs)
    images = inputs.need("images")
    objects = inputs.objects and inputs.need("objects")
    objects_file = read_instances(objects) if objects and objects.is_file() else None
    parts_file = read_parts(inputs.need("parts"), inputs.parts_class) if inputs.parts else None
    for dataset, what in ((objects_file, "objects"), (parts_file, "parts")):
        if dataset is not None:
            _raise_first((*complaints(dataset), *_counts(dataset, what)))
            require_images(images, [image.file_name for image in dataset.images])
    if objects_file and parts_file:
        _raise_first(_contradictions(objects_file, parts_file))
    if objects_file:  # some of them: there may be a million, and a single odd one is stage 1's to reject
        _require_sizes(images, objects_file, evenly(objects_file.images, _SAMPLED))
    if parts_file:
        _require_sizes(images, parts_file, parts_file.images)
        for image in parts_file.images:
            parts_of(parts_file, image)


def _require_sizes(folder: Path, dataset: CocoDataset, images: Iterable[CocoImage]) -> None:
    for image in images:
        if reason := misfit(folder, image):
            raise InputError(f"{dataset.path}: image {image.id!r} ({image.file_name}): {reason}")


def _raise_first(findings: Iterable[Finding]) -> None:
    for severity, text in findings:
        if severity == "problem":
            raise InputError(f"{text}; mend the file, or leave out what it is about")


def _check_pair(root: Path, suffix: str) -> Iterator[Finding]:
    try:
        objects = read_instances(root / f"objects{suffix}.json")
        parts = read_parts(root / f"parts{suffix}.json", alone := _only_class(objects, root, suffix))
    except InputError as error:
        yield Finding("problem", str(error))
        return
    if alone:
        advice = f"its categories name no object class: add --parts-class {quote(alone)}"
        yield Finding("note", f"{parts.path.name}: {advice}")
    for dataset, what in ((objects, "objects"), (parts, "parts")):
        yield from _counts(dataset, what)
        yield from complaints(dataset)
    yield from _contradictions(objects, parts)
    split = suffix.removeprefix("_")
    folders = ("images/", *([f"{split}/"] if split else []), "")
    images = placed(objects, lambda image: located(root, [folder + image.file_name for folder in folders]))
    yield from check_images(root, images, _GET_IMAGES)
    yield from unusable_regions(objects)
    yield from _unusable_parts(parts)


def _only_class(objects: CocoDataset, root: Path, suffix: str) -> str:
    """The object class, where there is one alone and the parts' categories name none; else empty."""
    classes = {category.name for category in objects.categories if category.id in objects.used}
    parts = read_instances(root / f"parts{suffix}.json")
    if len(classes) != 1 or any(category.supercategory for category in parts.categories):
        return ""
    return classes.pop()


def _unusable_parts(parts: CocoDataset) -> Iterator[Finding]:
    """All of them: nothing is scored against parts with gaps."""
    problems = []
    for image in followed(parts.images, f"{parts.path.name}: reading", unit="images"):
        try:
            parts_of(parts, image)
        except InputError as error:
            problems.append(str(error))
    yield from (Finding("problem", problem) for problem in problems)


def _counts(dataset: CocoDataset, what: str) -> Iterator[Finding]:
    count = sum(len(annotations) for _, annotations, _ in dataset.annotated())
    classes = len(dataset.categories)
    yield Finding(
        "ok" if count else "problem",
        f"{dataset.path.name}: {len(dataset.images)} images, {count} {what} in {classes} categories",
    )


def _contradictions(objects: CocoDataset, parts: CocoDataset) -> Iterator[Finding]:
    """What the two files don't agree on."""
    classes = {category.name for category in objects.categories}
    homeless = [
        f"{category.name!r} of {category.supercategory!r}"
        for category in parts.categories
        if category.id in parts.used and category.supercategory not in classes
    ]
    if homeless:
        yield Finding(
            "problem", f"{parts.path.name}: parts of no class in {objects.path.name}: {listed(homeless)}"
        )
    sizes = {image.file_name: (image.width, image.height) for image in objects.images if not image.problem}
    both = [image for image in parts.images if not image.problem]
    if alone := [image.file_name for image in both if image.file_name not in sizes]:
        yield Finding("problem", f"{parts.path.name}: images not in {objects.path.name}: {listed(alone)}")
    other = [
        image.file_name
        for image in both
        if sizes.get(image.file_name) not in (None, (image.width, image.height))
    ]
    if other:
        yield Finding("problem", f"images of another size in the two files: {listed(other)}")
