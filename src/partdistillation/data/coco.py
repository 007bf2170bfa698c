"""Reading COCO instances JSON, and the parts layout of PartImageNet, which has the same form.

The file is somebody else's, so nothing in it is taken for granted. What makes the whole file useless
(no JSON, lists missing, ids that name two things) raises `InputError` with its path. What concerns one
image or one annotation is kept with its problem, so that a run can say it in that image's row and go on.

Ids may be integers or strings and stay as they are; they are compared as strings, so 7 and "7" are the same
(and 7.0, which becomes 7). An entry that is there several times over, word for word, counts once: VIA repeats
its categories for every region.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from partdistillation.data import foreign_formats
from partdistillation.data.coco_entries import (
    CocoAnnotation,
    CocoCategory,
    CocoImage,
    Id,
    id_key,
    read_annotation,
    read_category,
    read_image,
)
from partdistillation.data.coco_stream import LISTS
from partdistillation.data.images import ImageInput
from partdistillation.data.paths import advice, is_folder
from partdistillation.errors import InputError
from partdistillation.runs import terminal
from partdistillation.settings import at_home

__all__ = ["CocoAnnotation", "CocoCategory", "CocoDataset", "CocoImage", "Id", "read_instances", "read_parts"]

_log = terminal.logger(__name__)


@dataclass(frozen=True)
class CocoDataset:
    """A file's content; `annotations` and `unusable` (why annotations were left out) by `str(image id)`."""

    path: Path
    images: tuple[CocoImage, ...]
    categories: tuple[CocoCategory, ...]
    annotations: Mapping[str, tuple[CocoAnnotation, ...]]
    unusable: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    """What was found besides: annotations of no image, crowd regions."""
    orphans: int = 0
    """How many annotations belong to no entry of `images`."""

    @cached_property
    def used(self) -> frozenset[Id]:
        """Ids of the categories that annotations have."""
        return frozenset(
            annotation.category.id for annotations in self.annotations.values() for annotation in annotations
        )

    def log_notes(self) -> None:
        """Say in the log what of the file isn't used; for the one place of a task that reads it first."""
        for note in self.notes:
            _log.warning("%s: %s", self.path, note)

    def of(self, image_id: Id) -> tuple[CocoAnnotation, ...]:
        """The annotations of an image, in the file's order."""
        return self.annotations.get(str(image_id), ())

    def annotations_of(self, image: CocoImage) -> tuple[tuple[CocoAnnotation, ...], tuple[str, ...]]:
        """The annotations of an image, and why others were left out."""
        return self.of(image.id), self.unusable.get(str(image.id), ())

    def find(self, image: ImageInput) -> CocoImage | None:
        """The entry of an image: by its id where the file name agrees, else by its file name."""
        entry = self._by_id.get(image.image_id)
        if entry is not None and entry.file_name == image.file_name:
            return entry
        return self._by_file_name.get(image.file_name)

    @cached_property
    def _by_id(self) -> dict[str, CocoImage]:
        return {str(image.id): image for image in self.images}

    @cached_property
    def _by_file_name(self) -> dict[str, CocoImage]:
        return {image.file_name: image for image in self.images if image.file_name}

    def inputs(self, images_dir: Path) -> list[ImageInput]:
        """One input an entry of `images`, in the file's order; whether the files exist isn't looked at.

        Raises InputError where `images_dir` isn't a directory.
        """
        return inputs_of(self.images, images_dir, self.path)


def inputs_of(images: Iterable[CocoImage], images_dir: Path, path: Path) -> list[ImageInput]:
    """One input an entry of `images`, which the file at `path` has."""
    if not is_folder(images_dir):
        raise InputError(f"{images_dir}: expected the directory of the images that {path} names")
    return [
        ImageInput(str(image.id), image.file_name, images_dir / image.file_name, problem=image.problem)
        for image in images
    ]


def read_instances(path: Path) -> CocoDataset:
    """Read a COCO instances file.

    Raises InputError, with the file's path, where it can't be used as a whole.
    """
    path = at_home(path)
    document = read_document(path)
    try:
        categories = _unique(
            "categories", [read_category(e, i) for i, e in enumerate(document["categories"])]
        )
        images = _unique("images", [read_image(e, i) for i, e in enumerate(document["images"])])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    read = read_annotations(enumerate(document["annotations"]), images, categories)
    return CocoDataset(
        path,
        tuple(images.values()),
        tuple(categories.values()),
        read.usable,
        read.unusable,
        notes_on(read.orphans, read.crowds, read.repeated),
        read.orphans,
    )


def read_parts(path: Path, object_class: str = "") -> CocoDataset:
    """Read ground-truth parts: one annotation a part, categories like `Car Wheel` of supercategory `Car`.

    With `object_class` all parts are of that class, whatever the file says. Categories without annotations
    that are of no class, such as the root that Roboflow writes, are left out.

    Raises InputError as `read_instances`, and where a category of annotations has no supercategory.
    """
    dataset = read_instances(path)
    return _of_class(dataset, object_class) if object_class else with_parts_alone(dataset)


def with_parts_alone(dataset: CocoDataset) -> CocoDataset:
    """Without the categories that are no parts.

    Raises InputError where a category of annotations has no supercategory.
    """
    categories = tuple(category for category in dataset.categories if _is_part(category, dataset))
    for category in categories:
        if not category.supercategory:
            raise InputError(
                f"{dataset.path}: expected every part category to name its object class as `supercategory`, "
                f"found none on {category.name!r}; where all parts are of one object class, name it with "
                "--parts-class; or is this an instances file?"
            )
    return replace(dataset, categories=categories)


def _is_part(category: CocoCategory, dataset: CocoDataset) -> bool:
    return category.supercategory not in ("", "none") or category.id in dataset.used


def _of_class(dataset: CocoDataset, object_class: str) -> CocoDataset:
    categories = {
        category.id: replace(category, supercategory=object_class) for category in dataset.categories
    }
    annotations = {
        image: tuple(
            replace(annotation, category=categories[annotation.category.id]) for annotation in annotations
        )
        for image, annotations in dataset.annotations.items()
    }
    return replace(dataset, categories=tuple(categories.values()), annotations=annotations)


_Entry = TypeVar("_Entry", CocoImage, CocoCategory)


def read_document(path: Path) -> dict[str, list[object]]:
    """The JSON with its three lists.

    Raises:
        InputError: it is something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(
            f"{path}: expected a COCO JSON file, found {error.strerror}; {advice(path)}"
        ) from error
    # JSON and UTF-8 errors are ValueErrors; a nesting of thousands of brackets is a RecursionError.
    except (ValueError, RecursionError) as error:
        known = _ending(foreign_formats.of_file(path))
        raise InputError(
            f"{path}: expected JSON in UTF-8, found a file that isn't ({error}){known}"
        ) from error
    known = _ending(foreign_formats.of_document(document))
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise InputError(f"{path}: expected a JSON object with `images`, found a {kind}{known}")
    for key in LISTS:
        if not isinstance(document.get(key), list):
            kind = type(document[key]).__name__ if key in document else "nothing"
            raise InputError(f"{path}: expected a list `{key}` as in COCO instances, found {kind}{known}")
    return {key: document[key] for key in LISTS}


def _ending(known: str) -> str:
    return f": {known}" if known else ""


def _unique(key: str, entries: Sequence[_Entry]) -> dict[str, _Entry]:
    """The entries by id; one that is repeated as it is counts once."""
    by_id: dict[str, _Entry] = {}
    for index, entry in enumerate(entries):
        if by_id.setdefault(str(entry.id), entry) != entry:
            raise InputError(
                f"expected unique ids in `{key}`, found {entry.id!r} twice ({key}[{index}]) for different "
                "entries; its annotations can't be told apart: give every entry its own id"
            )
    return by_id


class Annotations(NamedTuple):
    """What annotations come to, by `str(image id)`; `unusable` says why some were left out."""

    usable: dict[str, tuple[CocoAnnotation, ...]]
    unusable: dict[str, tuple[str, ...]]
    orphans: int
    crowds: int
    repeated: int


def read_annotations(
    entries: Iterable[tuple[int, object]],
    images: Mapping[str, CocoImage],
    categories: Mapping[str, CocoCategory],
) -> Annotations:
    """Annotations of these images; each entry with its place in the file."""
    usable: dict[str, list[CocoAnnotation]] = defaultdict(list)
    unusable: dict[str, list[str]] = defaultdict(list)
    orphans = crowds = repeated = 0
    first: dict[tuple[Id, Id], object] = {}
    for index, entry in entries:
        if not isinstance(entry, dict) or (image := images.get(id_key(entry.get("image_id")))) is None:
            orphans += 1
            continue
        # By the id and the whole entry: some tools give all annotations the same id.
        if isinstance(entry.get("id"), int | str):
            before = first.setdefault((image.id, entry["id"]), entry)
            if before is not entry and before == entry:
                repeated += 1
                continue
        try:
            annotation = read_annotation(entry, image, categories)
        except InputError as error:
            name = f"{entry['id']!r:.40}" if "id" in entry else f"[{index}]"
            unusable[str(image.id)].append(f"annotation {name}: {error}")
        else:
            usable[str(image.id)].append(annotation)
            crowds += annotation.crowd
    return Annotations(
        {key: tuple(values) for key, values in usable.items()},
        {key: tuple(reasons) for key, reasons in unusable.items()},
        orphans,
        crowds,
        repeated,
    )


def notes_on(orphans: int, crowds: int, repeated: int) -> tuple[str, ...]:
    """What a user should know of a file, by how many annotations of these kinds it has."""
    notes = {
        f"{orphans} annotations belong to no entry of `images`; they are ignored": orphans,
        f"{crowds} crowd regions (iscrowd = 1) are no objects; they are skipped": crowds,
        f"{repeated} annotations have been there before, word for word; they count once": repeated,
    }
    return tuple(note for note, count in notes.items() if count)
