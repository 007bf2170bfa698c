"""The entries of a COCO file, each checked for itself: images, categories, annotations.

A function here raises `InputError` without the file's path, which its caller adds.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import NamedTuple

from partdistillation.data.images import MAX_PIXELS
from partdistillation.errors import InputError

Id = int | str

_MOST_DIGITS = 20


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
    part_of: Id | None = None
    """The same, as its `attributes` say it: tools keep those, but number annotations anew."""
    area: float | None = None
    """The file's own, in pixels: COCO's is that of the polygons. None where it isn't a usable number."""


def read_category(entry: object, index: int) -> CocoCategory:
    match entry:
        case {"id": identity, "name": str(name), **rest} if name.strip():
            supercategory = rest.get("supercategory")
            return CocoCategory(
                _id(identity, f"categories[{index}].id"),
                _text(name, f"categories[{index}].name"),
                _text(supercategory, "supercategory") if isinstance(supercategory, str) else "",
            )
    raise InputError(f'expected categories[{index}] as {{"id", "name"}}, found {entry!r:.80}')


def read_image(entry: object, index: int) -> CocoImage:
    """An entry without an id can't have a row of its own and raises; anything else is the image's problem."""
    if not isinstance(entry, dict) or "id" not in entry:
        raise InputError(f'expected images[{index}] as {{"id", "file_name", ...}}, found {entry!r:.80}')
    identity = _id(entry["id"], f"images[{index}].id")
    try:
        name = _file_name(entry.get("file_name"))
    except InputError as error:
        return CocoImage(identity, "", 0, 0, str(error))
    width, height = whole(entry.get("width")), whole(entry.get("height"))
    if width is None or height is None or not 0 < width * height <= MAX_PIXELS or width < 1:
        size = f"{entry.get('width')!r:.30} x {entry.get('height')!r:.30}"
        problem = (
            f"expected width and height as integers, 1 to {MAX_PIXELS} pixels in all, found {size}; larger "
            "photographs are read at half their size, if at all: annotate that"
        )
        return CocoImage(identity, name, 0, 0, problem)
    return CocoImage(identity, name, width, height)


def _file_name(value: object) -> str:
    """A relative path with forward slashes that can't leave the images directory, on any system.

    Backslashes, which tools on Windows write, become slashes.
    """
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise InputError(f"expected a file name, found {value!r:.80}")
    _text(value, "file_name")
    forms = (PurePosixPath(value), PureWindowsPath(value))
    if any(form.anchor or ".." in form.parts for form in forms):
        raise InputError(f"expected a file name inside the images directory, found {value!r:.80}")
    return PureWindowsPath(value).as_posix()


def whole(value: object) -> int | None:
    """An integer, however JSON spells it: 7, 7.0 or "7". None for anything else."""
    match value:
        case bool():
            return None
        case int():
            return value
        case float() if value.is_integer():
            return int(value)
        case str() if value.isascii() and value.isdecimal() and len(value) < _MOST_DIGITS:
            return int(value)
    return None


def id_key(value: object) -> str:
    """What ids are compared by: 7, 7.0 and "7" are the same."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _id(value: object, where: str) -> Id:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise InputError(f"expected {where} as an integer or a string, found {value!r:.80}")
    return _text(value, where) if isinstance(value, str) else value


def _text(value: str, where: str) -> str:
    """Refuse lone surrogates, which JSON can spell but no UTF-8 file can hold."""
    if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
        raise InputError(f"expected {where} as Unicode text, found {value!r:.80}")
    return value


def read_annotation(
    entry: Mapping[str, object], image: CocoImage, categories: Mapping[str, CocoCategory]
) -> CocoAnnotation:
    category = categories.get(id_key(entry.get("category_id")))
    if category is None:
        raise InputError(f"expected a category_id of `categories`, found {entry.get('category_id')!r:.80}")
    crowd = _crowd(entry.get("iscrowd"))
    if entry.get("segmentation") is None or (entry["segmentation"] == [] and not crowd):
        raise InputError(_without_mask(entry))
    return CocoAnnotation(
        id=_optional_id(entry, "id"),
        image_id=image.id,
        category=category,
        segmentation=entry["segmentation"],
        crowd=crowd,
        score=_score(entry.get("score")),
        # PACO's name for the same.
        object_id=_optional_id(entry, "object_id" if "object_id" in entry else "obj_ann_id"),
        part_of=_part_of(entry.get("attributes")),
        # Only sizes are told by it, so a bad one doesn't cost the annotation.
        area=_amount(entry.get("area")),
    )


def _crowd(value: object) -> bool:
    """0, 1, and how other tools spell them; null is 0."""
    if value is None or isinstance(value, bool):
        return bool(value)
    number = whole(value)
    if number not in (0, 1):
        raise InputError(f"expected iscrowd as 0 or 1, found {value!r:.80}")
    return bool(number)


def _without_mask(entry: Mapping[str, object]) -> str:
    if entry.get("bbox"):
        return (
            "expected a segmentation, found only a box: boxes aren't masks; annotate masks, make them of the "
            "boxes with SAM, or let a model find the objects (--objects.source)"
        )
    return "expected a segmentation, found none"


def _optional_id(entry: Mapping[str, object], key: str) -> Id | None:
    return None if entry.get(key) is None else _id(entry[key], key)


def _part_of(attributes: object) -> Id | None:
    """Attributes are whatever a tool's users made of them: None where there is no id."""
    value = attributes.get("part_of") if isinstance(attributes, dict) else None
    return None if isinstance(value, bool) or not isinstance(value, int | str) else value


def _score(value: object) -> float | None:
    score = _amount(value)
    if score is None and value is not None:
        raise InputError(f"expected a score as a finite number >= 0, found {value!r:.80}")
    return score


def _amount(value: object) -> float | None:
    """A finite number >= 0; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        return None
    return float(value)


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
