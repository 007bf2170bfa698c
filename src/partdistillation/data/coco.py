"""Reading COCO instances JSON, and the parts layout of PartImageNet, which has the same form.

The file is somebody else's, so nothing in it is taken for granted. What makes the whole file useless
(no JSON, lists missing, ids that name two things) raises `InputError` with its path. What concerns one
image or one annotation is kept with its problem, so that a run can say it in that image's row and go on.

Ids may be integers or strings and stay as they are; they are compared as strings, so 7 and "7" are the same.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

from partdistillation.data.images import MAX_PIXELS, ImageInput
from partdistillation.errors import InputError

Id = int | str


@dataclass(frozen=True)
class CocoImage:
    """An entry of `images`. With a `problem`, its other fields but `id` may be empty or 0."""

    id: Id
    file_name: str
    width: int
    height: int
    problem: str = ""


@dataclass(frozen=True)
class CocoCategory:
    """An entry of `categories`: an object class, or a part whose `supercategory` is its object class."""

    id: Id
    name: str
    supercategory: str = ""


@dataclass(frozen=True)
class CocoAnnotation:
    """A well-formed entry of `annotations`, except that `segmentation` is as in the file, unchecked."""

    id: Id | None
    image_id: Id
    category: CocoCategory
    segmentation: object
    crowd: bool = False
    score: float | None = None
    object_id: Id | None = None
    """On a part: the `id` of its object's annotation, where the file says it."""


@dataclass(frozen=True)
class CocoDataset:
    """A file's content; `annotations` and `unusable` (why annotations were left out) by `str(image id)`."""

    path: Path
    images: tuple[CocoImage, ...]
    categories: tuple[CocoCategory, ...]
    annotations: Mapping[str, tuple[CocoAnnotation, ...]]
    unusable: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    """What was found besides, to be shown to the user: annotations of no image, crowd regions."""

    def of(self, image_id: Id) -> tuple[CocoAnnotation, ...]:
        """The annotations of an image, in the file's order."""
        return self.annotations.get(str(image_id), ())

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
        if not images_dir.is_dir():
            raise InputError(f"{images_dir}: expected the directory of the images that {self.path} names")
        return [
            ImageInput(str(image.id), image.file_name, images_dir / image.file_name, problem=image.problem)
            for image in self.images
        ]


def read_instances(path: Path) -> CocoDataset:
    """Read a COCO instances file.

    Raises InputError, with the file's path, where it can't be used as a whole.
    """
    document = _document(path)
    try:
        categories = _unique("categories", [_category(e, i) for i, e in enumerate(document["categories"])])
        images = _unique("images", [_image(e, i) for i, e in enumerate(document["images"])])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    annotations, unusable, notes = _annotations(document["annotations"], images, categories)
    return CocoDataset(path, tuple(images.values()), tuple(categories.values()), annotations, unusable, notes)


def read_parts(path: Path) -> CocoDataset:
    """Read ground-truth parts: one annotation a part, categories like `Car Wheel` of supercategory `Car`.

    Raises InputError as `read_instances`, and where a category has no supercategory.
    """
    dataset = read_instances(path)
    for category in dataset.categories:
        if not category.supercategory:
            raise InputError(
                f"{path}: expected every part category to name its object class as `supercategory`, "
                f"found none on {category.name!r}; is this an instances file?"
            )
    return dataset


_Entry = TypeVar("_Entry", CocoImage, CocoCategory)


def _document(path: Path) -> dict[str, list[object]]:
    """The JSON with its three lists."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(
            f"{path}: expected a COCO JSON file, found {error.strerror}; check the path"
        ) from error
    # JSON and UTF-8 errors are ValueErrors; a nesting of thousands of brackets is a RecursionError.
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON in UTF-8, found a file that isn't ({error})") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected a JSON object with `images`, found a {type(document).__name__}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(document.get(key), list):
            found = type(document[key]).__name__ if key in document else "nothing"
            raise InputError(f"{path}: expected a list `{key}` as in COCO instances, found {found}")
    return document


def _unique(key: str, entries: Sequence[_Entry]) -> dict[str, _Entry]:
    by_id: dict[str, _Entry] = {}
    for index, entry in enumerate(entries):
        if str(entry.id) in by_id:
            raise InputError(
                f"expected unique ids in `{key}`, found {entry.id!r} twice ({key}[{index}]); "
                "its annotations can't be told apart: give every entry its own id"
            )
        by_id[str(entry.id)] = entry
    return by_id


def _category(entry: object, index: int) -> CocoCategory:
    match entry:
        case {"id": identity, "name": str(name), **rest} if name.strip():
            supercategory = rest.get("supercategory")
            return CocoCategory(
                _id(identity, f"categories[{index}].id"),
                _text(name, f"categories[{index}].name"),
                _text(supercategory, "supercategory") if isinstance(supercategory, str) else "",
            )
    raise InputError(f'expected categories[{index}] as {{"id", "name"}}, found {entry!r:.80}')


def _image(entry: object, index: int) -> CocoImage:
    """An entry without an id can't have a row of its own and raises; anything else is the image's problem."""
    if not isinstance(entry, dict) or "id" not in entry:
        raise InputError(f'expected images[{index}] as {{"id", "file_name", ...}}, found {entry!r:.80}')
    identity = _id(entry["id"], f"images[{index}].id")
    try:
        name = _file_name(entry.get("file_name"))
    except InputError as error:
        return CocoImage(identity, "", 0, 0, str(error))
    width, height = entry.get("width"), entry.get("height")
    if type(width) is not int or type(height) is not int or not 0 < width * height <= MAX_PIXELS or width < 1:
        found = f"{width!r:.30} x {height!r:.30}"
        problem = f"expected width and height as integers, 1 to {MAX_PIXELS} pixels in all, found {found}"
        return CocoImage(identity, name, 0, 0, problem)
    return CocoImage(identity, name, width, height)


def _file_name(value: object) -> str:
    """A relative path with forward slashes that can't leave the images directory, on any system."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise InputError(f"expected a file name, found {value!r:.80}")
    _text(value, "file_name")
    forms = (PurePosixPath(value), PureWindowsPath(value))
    if any(form.anchor or ".." in form.parts for form in forms):
        raise InputError(f"expected a file name inside the images directory, found {value!r:.80}")
    return str(PurePosixPath(value))


def _id(value: object, where: str) -> Id:
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise InputError(f"expected {where} as an integer or a string, found {value!r:.80}")
    return _text(value, where) if isinstance(value, str) else value


def _text(value: str, where: str) -> str:
    """Refuse lone surrogates, which JSON can spell but no UTF-8 file can hold."""
    if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
        raise InputError(f"expected {where} as Unicode text, found {value!r:.80}")
    return value


def _annotations(
    entries: Sequence[object], images: Mapping[str, CocoImage], categories: Mapping[str, CocoCategory]
) -> tuple[dict[str, tuple[CocoAnnotation, ...]], dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Annotations by image, reasons of the unusable ones by image, and notes on what belongs to no image."""
    usable: dict[str, list[CocoAnnotation]] = defaultdict(list)
    unusable: dict[str, list[str]] = defaultdict(list)
    orphans = crowds = 0
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or str(entry.get("image_id")) not in images:
            orphans += 1
            continue
        image = images[str(entry["image_id"])]
        try:
            annotation = _annotation(entry, image, categories)
        except InputError as error:
            unusable[str(image.id)].append(f"annotation {entry.get('id', f'[{index}]')!s:.40}: {error}")
        else:
            usable[str(image.id)].append(annotation)
            crowds += annotation.crowd
    notes = []
    if orphans:
        notes.append(f"{orphans} annotations belong to no entry of `images`; they are ignored")
    if crowds:
        notes.append(f"{crowds} crowd regions (iscrowd = 1) are no objects; they are skipped")
    return (
        {key: tuple(values) for key, values in usable.items()},
        {key: tuple(reasons) for key, reasons in unusable.items()},
        tuple(notes),
    )


def _annotation(
    entry: Mapping[str, object], image: CocoImage, categories: Mapping[str, CocoCategory]
) -> CocoAnnotation:
    category = categories.get(str(entry.get("category_id")))
    if category is None:
        raise InputError(f"expected a category_id of `categories`, found {entry.get('category_id')!r:.80}")
    if entry.get("segmentation") is None:
        raise InputError("expected a segmentation, found none")
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise InputError(f"expected iscrowd as 0 or 1, found {crowd!r:.80}")
    return CocoAnnotation(
        id=_optional_id(entry, "id"),
        image_id=image.id,
        category=category,
        segmentation=entry["segmentation"],
        crowd=bool(crowd),
        score=_score(entry.get("score")),
        object_id=_optional_id(entry, "object_id"),
    )


def _optional_id(entry: Mapping[str, object], key: str) -> Id | None:
    return None if entry.get(key) is None else _id(entry[key], key)


def _score(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InputError(f"expected a score as a finite number >= 0, found {value!r:.80}")
    return float(value)
