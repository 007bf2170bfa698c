"""Published data sets of parts: what each can say about a copy on disk, and how it becomes our format.

`check` says what a copy has and what it lacks, and reads some of its files whole. `write` turns one split
into COCO objects + parts (docs/datasets.md). Images stay where they are and as they are.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from partdistillation.data.coco_entries import CocoImage
from partdistillation.data.images import image_size
from partdistillation.data.paths import in_brackets, is_file
from partdistillation.errors import InputError
from partdistillation.export import coco
from partdistillation.export.labels import ImageLabels, ObjectLabel
from partdistillation.functional.masks import area, encoded
from partdistillation.runs.atomic import make_folder

Severity = Literal["ok", "note", "problem"]

T = TypeVar("T")

_MENTIONED = 3


class Finding(NamedTuple):
    """One thing that `partdistill doctor` says about a copy of a data set."""

    severity: Severity
    """`problem`: the copy isn't the published one, or can't be used; `note`: worth knowing; `ok`."""
    text: str


@dataclass(frozen=True)
class PreparedSplit:
    """What `write` has written, and what `--images`, `--objects` and `--parts` are to be given."""

    images_dir: Path
    objects: Path
    parts: Path
    num_images: int
    num_objects: int
    num_parts: int
    notes: tuple[str, ...] = ()
    """What was left out, and why."""


@runtime_checkable
class PartDataset(Protocol):
    """A published data set of parts. `prepare` names all of them."""

    @property
    def name(self) -> str:
        """As the command line has it."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The names that `write` takes."""

    def check(self, root: Path) -> Iterator[Finding]:
        """What is in `root`: counts a split beside the published ones, what is missing, where to get it.

        Never raises for what is wrong with the copy: that is a `problem`.
        """

    def write(self, root: Path, split: str, out: Path) -> PreparedSplit:
        """Write `objects_SPLIT.json` and `parts_SPLIT.json` into `out`, which is made where it is missing.

        `split` is one of `splits`, unless there are none.

        Raises:
            InputError: the copy lacks files of the split or is damaged.
        """


@dataclass(frozen=True, eq=False)
class AnnotatedImage(ImageLabels):
    """What a data set says about an image; `file_name` is relative to the folder given to `write_split`."""

    left_out: tuple[str, ...] = ()
    """Annotations that can't be used, each with its reason."""


def write_split(
    out: Path, split: str, images_dir: Path, annotated: Iterable[AnnotatedImage]
) -> PreparedSplit:
    """Write a split's objects and parts, numbered from 1; `annotated` is gone through once.

    Regions without a pixel, and images of another size than their annotations say, are left out, and said
    in the notes.

    Raises:
        InputError: the split is empty, no object has parts, two images have one id, images aren't in
            `images_dir`, or `out` can't be a folder. Nothing is written.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder to write to, found a file; choose another --out")
    images, left_out = _usable(annotated, images_dir)
    labels = [label for image_labels in images for label in image_labels.objects]
    num_parts = sum(len(label.parts) for label in labels)
    if not num_parts:
        reasons = f"; left out: {listed(left_out)}" if left_out else ""
        raise InputError(
            f"{images_dir}: expected images with objects and parts in the split {split!r}, found "
            f"{len(images)} images, {len(labels)} objects and {num_parts} parts: the split is empty{reasons}"
        )
    entries = [image_labels.image for image_labels in images]
    if twice := repeated(str(image.id) for image in entries):
        raise InputError(
            f"{images_dir}: expected images of different ids in {split!r}, found twice: {listed(twice)}"
        )
    require_images(images_dir, [image.file_name for image in entries])
    make_folder(out)
    objects, parts = out / f"objects_{split}.json", out / f"parts_{split}.json"
    coco.write_objects(objects, images)
    coco.write_parts(parts, images)
    counts = (len(images), len(labels), num_parts)
    return PreparedSplit(images_dir, objects, parts, *counts, notes=_notes(left_out))


def _usable(annotated: Iterable[AnnotatedImage], images_dir: Path) -> tuple[list[ImageLabels], list[str]]:
    """The labels that can be used, with masks encoded, a few hundred bytes each; and what is left out."""
    usable: list[ImageLabels] = []
    left_out: list[str] = []
    for labels in annotated:
        image, reasons = labels.image, list(labels.left_out)
        # Missing files are told of together, when all are known.
        misfitting = misfit(images_dir, image) if is_file(images_dir / image.file_name) else ""
        if misfitting:
            reasons = [misfitting]
        else:
            usable.append(ImageLabels(image, _with_pixels(labels.objects, reasons)))
        left_out += [f"image {image.id!r} ({image.file_name}): {reason}" for reason in reasons]
    return usable, left_out


def _with_pixels(objects: Iterable[ObjectLabel], left_out: list[str]) -> tuple[ObjectLabel, ...]:
    """The objects that aren't empty, with their parts that aren't; what is empty is added to `left_out`."""
    visible = []
    for label in objects:
        mask, parts = encoded(label.mask), []
        if not area(*mask):
            left_out.append(f"a {label.category} without a pixel")
            continue
        for part in label.parts:
            region = encoded(part.mask)
            if area(*region):
                parts.append(replace(part, mask=region))
            else:
                left_out.append(f"a {label.category} {part.name} without a pixel")
        visible.append(replace(label, mask=mask, parts=tuple(parts)))
    return tuple(visible)


def require_images(folder: Path, file_names: Sequence[str]) -> None:
    """Make sure that a folder has all the images that annotations name.

    Raises:
        InputError: it isn't there, or lacks some of them.
    """
    missing = missing_files(folder, file_names)
    if missing:
        raise InputError(
            f"{folder}: expected the {len(file_names)} images that the annotations name, found no file for "
            f"{listed(missing)}{in_brackets(folder / missing[0])}: get the images, or see what is missing "
            "with `partdistill doctor --dataset`"
        )


def missing_files(folder: Path, names: Iterable[str]) -> list[str]:
    """Those of the relative paths that `folder` has no file for, in their order."""
    return [name for name in names if not is_file(folder / name)]


def misfit(folder: Path, image: CocoImage) -> str:
    """Why a file doesn't go with what is said of the image, by its header; nothing where it does."""
    try:
        size = image_size(folder / image.file_name)
    except InputError as error:
        return str(error)
    return other_size(image, *size)


def other_size(image: CocoImage, width: int, height: int) -> str:
    """What is wrong with a file of this size; nothing where it is the annotated one."""
    if (width, height) == (image.width, image.height):
        return ""
    return f"expected {image.width} x {image.height} pixels, as annotated, found {width} x {height}"


def repeated(names: Iterable[str]) -> list[str]:
    """Those that come more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def elsewhere(root: Path, patterns: Sequence[str]) -> str:
    """An end for an error message: the folder that should have been given, a level up or down; or nothing."""
    root = root.resolve()
    below = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    for place in (root.parent, root.parent.parent, *below):
        if any(next(place.glob(pattern), None) for pattern in patterns):
            return f"; it is in {place}: give that folder"
    return ""


def evenly(things: Sequence[T], count: int) -> Sequence[T]:
    """At most `count` of them, spread over all: always the same."""
    return things[:: max(1, len(things) // count)][:count]


def compared(what: str, count: int, *published: int | None) -> Finding:
    """A count beside the published ones; None where no published number is known."""
    if None in published:
        return Finding("ok", f"{what}: {count} (published number: unknown)")
    if count in published:
        return Finding("ok", f"{what}: {count}, as published")
    return Finding("problem", f"{what}: {count}, published are {' or '.join(map(str, published))}")


def listed(names: Sequence[str]) -> str:
    """A few of many names, and how many there are: `a, b, c, ... (12 in all)`."""
    first = ", ".join(islice(names, _MENTIONED))
    return first if len(names) <= _MENTIONED else f"{first}, ... ({len(names)} in all)"


def _notes(left_out: Sequence[str]) -> tuple[str, ...]:
    if not left_out:
        return ()
    more = [f"and {len(left_out) - _MENTIONED} more"] if len(left_out) > _MENTIONED else []
    return tuple(f"left out: {reason}" for reason in [*left_out[:_MENTIONED], *more])
