"""Reading COCO instances JSON, and the parts layout of PartImageNet, which has the same form.

The file is somebody else's, so nothing in it is taken for granted. What makes the whole file useless
(no JSON, lists missing, ids that name two things) raises `InputError` with its path. What concerns one
image or one annotation is kept with its problem, so that a run can say it in that image's row and go on.

Ids may be integers or strings and stay as they are; they are compared as strings, so 7 and "7" are the same
(and 7.0, which becomes 7). An entry that is there several times over, word for word, counts once: VIA repeats
its categories for every region.

A file of any size takes little memory: `coco_store` takes it apart, and entries are read when they are asked
for.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import overload

from partdistillation.data.coco_entries import (
    CocoAnnotation,
    CocoCategory,
    CocoImage,
    Id,
    read_annotations,
)
from partdistillation.data.coco_store import CocoDatabase, taken_apart
from partdistillation.data.images import ImageInput
from partdistillation.data.paths import is_folder
from partdistillation.errors import InputError
from partdistillation.runs import terminal
from partdistillation.settings import at_home

__all__ = ["CocoAnnotation", "CocoCategory", "CocoDataset", "CocoImage", "Id", "read_instances", "read_parts"]

_log = terminal.logger(__name__)


@dataclass(frozen=True)
class CocoDataset:
    """A file's content; made by `read_instances` and `read_parts`. Can be given to other processes."""

    path: Path
    """The file itself, by which it is called."""
    database: CocoDatabase
    object_class: str = ""
    """Of all categories, if it isn't empty, whatever the file says."""
    parts_alone: bool = False
    """Without categories that have no annotations and no object class."""
    left_out: frozenset[str] = frozenset()
    """Object classes whose parts are passed over."""

    @property
    def images(self) -> "CocoImages":
        """In the file's order."""
        return CocoImages(self.database)

    @cached_property
    def categories(self) -> tuple[CocoCategory, ...]:
        """In the file's order."""
        categories = self._by_key.values()
        if not self.parts_alone:
            return tuple(categories)
        return tuple(
            category
            for category in categories
            if category.supercategory not in ("", "none") or category.id in self.used
        )

    @cached_property
    def used(self) -> frozenset[Id]:
        """Ids of the categories that annotations have."""
        annotated = self.annotated()
        return frozenset(
            annotation.category.id for _, annotations, _ in annotated for annotation in annotations
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found besides: annotations of no image, crowd regions."""
        return self.database.notes

    @property
    def orphans(self) -> int:
        """How many annotations belong to no entry of `images`."""
        return self.database.orphans

    def log_notes(self) -> None:
        """Say in the log what of the file isn't used; for the one place of a task that reads it first."""
        for note in self.notes:
            _log.warning("%s: %s", self.path, note)

    def annotated(self) -> Iterator[tuple[CocoImage, tuple[CocoAnnotation, ...], tuple[str, ...]]]:
        """Every image with its annotations, and why others were left out; in the file's order."""
        for image in self.images:
            yield image, *self.annotations_of(image)

    def annotations_of(self, image: CocoImage) -> tuple[tuple[CocoAnnotation, ...], tuple[str, ...]]:
        """The annotations of an image, in the file's order, and why others were left out."""
        key = str(image.id)
        rows = self.database.rows("SELECT place, entry FROM annotations WHERE image = ? ORDER BY place", key)
        placed = ((place, json.loads(text)) for place, text in rows)
        read = read_annotations(placed, {key: image}, self._by_key)
        usable = read.usable.get(key, ())
        if self.left_out:
            usable = tuple(part for part in usable if part.category.supercategory not in self.left_out)
        return usable, read.unusable.get(key, ())

    def of(self, image_id: Id) -> tuple[CocoAnnotation, ...]:
        """The annotations of an image, in the file's order."""
        image = self._image("key = ?", str(image_id))
        return () if image is None else self.annotations_of(image)[0]

    def find(self, image: ImageInput) -> CocoImage | None:
        """The entry of an image: by its id where the file name agrees, else by its file name."""
        entry = self._image("key = ?", image.image_id)
        if entry is not None and entry.file_name == image.file_name:
            return entry
        return self._image("file_name = ? AND file_name != ''", image.file_name)

    def inputs(self, images_dir: Path) -> list[ImageInput]:
        """One input an entry of `images`, in the file's order; whether the files exist isn't looked at.

        Raises InputError where `images_dir` isn't a directory.
        """
        if not is_folder(images_dir):
            raise InputError(f"{images_dir}: expected the directory of the images that {self.path} names")
        return [
            ImageInput(str(image.id), image.file_name, images_dir / image.file_name, problem=image.problem)
            for image in self.images
        ]

    def without(self, object_classes: Collection[str]) -> "CocoDataset":
        """The same images without the parts of some object classes."""
        return replace(self, left_out=frozenset(object_classes))

    @cached_property
    def _by_key(self) -> dict[str, CocoCategory]:
        """All categories, by what annotations call them."""
        rows = self.database.rows("SELECT key, fields FROM categories ORDER BY place")
        categories = {key: CocoCategory(*json.loads(fields)) for key, fields in rows}
        if not self.object_class:
            return categories
        return {
            key: replace(category, supercategory=self.object_class) for key, category in categories.items()
        }

    def _image(self, condition: str, value: str) -> CocoImage | None:
        query = f"SELECT fields FROM images WHERE {condition} ORDER BY place DESC LIMIT 1"
        return next(_images(self.database.rows(query, value)), None)


class CocoImages(Sequence[CocoImage]):
    """The images of a file, in its order; each is read when it is asked for."""

    def __init__(self, database: CocoDatabase) -> None:
        self._database = database

    def __len__(self) -> int:
        (count,) = next(self._database.rows("SELECT count(*) FROM images"))
        return int(count)

    def __iter__(self) -> Iterator[CocoImage]:
        return _images(self._database.rows("SELECT fields FROM images ORDER BY place"))

    @overload
    def __getitem__(self, place: int) -> CocoImage: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[CocoImage]: ...

    def __getitem__(self, place: int | slice) -> CocoImage | Sequence[CocoImage]:
        if isinstance(place, slice):
            return tuple(islice(self, *place.indices(len(self))))
        offset = range(len(self))[place]
        query = "SELECT fields FROM images ORDER BY place LIMIT 1 OFFSET ?"
        return next(_images(self._database.rows(query, offset)))


def _images(rows: Iterable[tuple[str]]) -> Iterator[CocoImage]:
    return (CocoImage(*json.loads(fields)) for (fields,) in rows)


def read_instances(path: Path, folder: Path | None = None) -> CocoDataset:
    """Read a COCO instances file.

    It is taken apart first, once where there is a `folder` to keep what comes of it; else for this call, in a
    folder of the system's that goes away with the dataset.

    Raises:
        InputError: it can't be used as a whole; with the file's path.
        StoreError: the folder can't be written.
    """
    path = at_home(path)
    return CocoDataset(path, taken_apart(path, folder))


def read_parts(path: Path, object_class: str = "") -> CocoDataset:
    """Read ground-truth parts: one annotation a part, categories like `Car Wheel` of supercategory `Car`.

    With `object_class` all parts are of that class, whatever the file says. Categories without annotations
    that are of no class, such as the root that Roboflow writes, are left out.

    Raises InputError as `read_instances`, and where a category of annotations has no supercategory.
    """
    dataset = replace(read_instances(path), object_class=object_class, parts_alone=not object_class)
    for category in dataset.categories:
        if not category.supercategory:
            raise InputError(
                f"{dataset.path}: expected every part category to name its object class as `supercategory`, "
                f"found none on {category.name!r}; where all parts are of one object class, name it with "
                "--parts-class; or is this an instances file?"
            )
    return dataset
