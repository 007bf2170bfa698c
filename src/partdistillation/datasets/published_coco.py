"""What the part data sets that are published as COCO JSON have in common: files, masks, findings."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from partdistillation.data.coco import CocoAnnotation, CocoDataset, CocoImage
from partdistillation.data.images import load_image
from partdistillation.data.paths import in_brackets, is_file, is_folder
from partdistillation.datasets.part_datasets import (
    Finding,
    elsewhere,
    evenly,
    listed,
    missing_files,
    other_size,
    repeated,
)
from partdistillation.errors import InputError
from partdistillation.functional.masks import EncodedMask, area, encoded_from_coco
from partdistillation.runs.progress import followed
from partdistillation.runs.terminal import say

_SAMPLED = 200


def file_of(root: Path, candidates: Iterable[str]) -> Path:
    """The first of the relative paths that `root` has.

    Raises:
        InputError: it has none of them; the message names all.
    """
    candidates = list(candidates)
    for candidate in candidates:
        if is_file(root / candidate):
            return root / candidate
    raise InputError(
        f"{root}: expected {' or '.join(candidates)}, found none of them"
        + (elsewhere(root, candidates) or "; check the folder")
    )


def announced(path: Path) -> Path:
    """The path, having said that it is being read: the largest of these files take a minute."""
    say(f"{path}: reading", stderr=True)
    return path


def located(root: Path, candidates: Iterable[str]) -> str:
    """The first of the relative paths that is a file of `root`; where none is, the likeliest place for it."""
    candidates = list(candidates)
    files = (candidate for candidate in candidates if is_file(root / candidate))
    likely = (candidate for candidate in candidates if is_folder((root / candidate).parent))
    return next(files, next(likely, candidates[0]))


def usable_images(dataset: CocoDataset) -> Sequence[CocoImage]:
    """The images of a file, all of them.

    Raises:
        InputError: there is none, an entry can't be used, or annotations name images that aren't there.
    """
    if not dataset.images:
        raise InputError(f"{dataset.path}: expected images, found none: the split is empty")
    for image in dataset.images:
        if image.problem:
            raise InputError(f"{dataset.path}: image {image.id!r}: {image.problem}; mend the file")
    if dataset.orphans:
        raise InputError(
            f"{dataset.path}: expected annotations of its images only, found {dataset.orphans} that point to "
            "no entry of `images`: get the file again"
        )
    return dataset.images


def regions(
    dataset: CocoDataset, image: CocoImage
) -> tuple[list[tuple[CocoAnnotation, EncodedMask]], list[str]]:
    """The annotations of an image with their masks, crowd regions left out; and why others can't be used."""
    masks = []
    annotations, unusable = dataset.annotations_of(image)
    reasons = list(unusable)
    for annotation in annotations:
        if annotation.crowd:
            continue
        try:
            mask = encoded_from_coco(annotation.segmentation, image.height, image.width)
        except InputError as error:
            reasons.append(f"annotation {annotation.id!r}: {error}")
        else:
            masks.append((annotation, mask))
    return masks, reasons


def check_file(
    root: Path, dataset: CocoDataset, path_of: Callable[[CocoImage], str], where: str
) -> Iterator[Finding]:
    """What there is to say about any file: its entries, its masks, and the files of its images.

    `path_of` an image is its file, relative to `root`; `where` says how to get the images.
    """
    yield from complaints(dataset)
    yield from unusable_regions(dataset)
    yield from check_images(root, placed(dataset, path_of), where)


def placed(dataset: CocoDataset, path_of: Callable[[CocoImage], str]) -> list[CocoImage]:
    """The images that can be used, `file_name` being the path of their file."""
    return [replace(image, file_name=path_of(image)) for image in dataset.images if not image.problem]


def check_images(root: Path, images: Sequence[CocoImage], where: str) -> Iterator[Finding]:
    """Whether the files of images are there, and some of them whole; `file_name` is relative to `root`."""
    yield from absent_images(root, [image.file_name for image in images], where)
    yield from damaged_images(root, images)


def complaints(dataset: CocoDataset) -> Iterator[Finding]:
    """What is wrong with a file beside its counts."""
    if not dataset.images:
        yield Finding("problem", f"{dataset.path.name}: the split is empty: no images")
    elif not any(annotations for _, annotations, _ in dataset.annotated()):
        yield Finding("problem", f"{dataset.path.name}: the split is empty: no annotations that can be used")
    if dataset.orphans:
        yield Finding(
            "problem", f"{dataset.path.name}: {dataset.orphans} annotations point to no image in it"
        )
    if twice := repeated(image.file_name for image in dataset.images if not image.problem):
        yield Finding("problem", f"{dataset.path.name}: images that are there twice: {listed(twice)}")
    broken = [f"{image.id} ({image.problem})" for image in dataset.images if image.problem]
    if broken:
        yield Finding("problem", f"{dataset.path.name}: entries of images can't be used: {listed(broken)}")
    unusable = [reason for _, _, reasons in dataset.annotated() for reason in reasons]
    if unusable:
        yield Finding("note", f"{dataset.path.name}: left out: {listed(unusable)}")


def absent_images(root: Path, names: Iterable[str], where: str) -> Iterator[Finding]:
    """One finding about the files of images that annotations name; `where` says how to get them."""
    names = list(names)
    missing = missing_files(root, names)
    if missing:
        yield Finding(
            "problem",
            f"{len(missing)} of {len(names)} images are missing: {listed(missing)}"
            f"{in_brackets(root / missing[0])}: {where}",
        )
    elif names:
        yield Finding("ok", f"all {len(names)} images are there")


def damaged_images(root: Path, images: Sequence[CocoImage]) -> Iterator[Finding]:
    """Read some of the images that are there, whole: what was cut off or resized can't be told otherwise.

    `file_name` is relative to `root`.
    """
    yield from _damaged(root, {image.file_name: image for image in images}, ", of the annotated sizes")


def damaged_photographs(root: Path, names: Iterable[str]) -> Iterator[Finding]:
    """The same of photographs whose annotations are read elsewhere."""
    yield from _damaged(root, dict.fromkeys(names), "")


def _damaged(root: Path, images: Mapping[str, CocoImage | None], sizes: str) -> Iterator[Finding]:
    sample = evenly([name for name in images if is_file(root / name)], _SAMPLED)
    reading = followed(sample, f"{root}: reading", unit="images")
    problems = [problem for name in reading if (problem := _damage(root / name, images[name]))]
    yield from (Finding("problem", problem) for problem in problems)
    if sample and not problems:
        yield Finding("ok", f"{len(sample)} images were read and are whole{sizes}")


def _damage(path: Path, image: CocoImage | None) -> str:
    try:
        height, width, _ = load_image(path).shape
    except InputError as error:
        return str(error)
    reason = other_size(image, width, height) if image else ""
    return reason and f"{path}: {reason}"


def unusable_regions(dataset: CocoDataset, *, sampled: int = _SAMPLED) -> Iterator[Finding]:
    """Decode the masks of some images; what `complaints` says of annotations isn't said again."""
    sample = evenly([image for image in dataset.images if not image.problem], sampled)
    reasons = []
    for image in sample:
        masks, unusable = regions(dataset, image)
        reasons += unusable[len(dataset.annotations_of(image)[1]) :]
        reasons += [
            f"annotation {annotation.id!r}: no pixel" for annotation, mask in masks if not area(*mask)
        ]
    if reasons:
        name = dataset.path.name
        yield Finding("note", f"{name}: masks to leave out, in {len(sample)} images: {listed(reasons)}")
