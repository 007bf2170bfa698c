"""COCO: the layouts that `data.coco` reads, instances of objects, and parts as PartImageNet has them.

The same content gives the same bytes. Annotation ids are 1, 2, ... in the order of the labels; a part's
`object_id` is the id of its object's annotation. Category ids are places in a `Catalog`, where there is one:
they don't depend on what was found. What isn't in it comes after all of it, in the order of the names.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, TypeVar

from partdistillation.data.coco_entries import CocoImage
from partdistillation.export.labels import Catalog, ImageLabels, ObjectLabel, PartLabel
from partdistillation.functional.masks import area, encoded, encoded_box
from partdistillation.runs.atomic import replace_file

Entry = dict[str, object]


class Document(TypedDict):
    """COCO's layout. Masks are compressed run lengths."""

    info: Entry
    licenses: list[Entry]
    images: list[Entry]
    annotations: list[Entry]
    categories: list[Entry]


INFO: Entry = {"description": "Objects and parts, written by partdistillation"}
"""No version and no date: the same content gives the same bytes."""


def write_objects(path: Path, images: Sequence[ImageLabels], catalog: Catalog | None = None) -> None:
    """Write object masks as COCO instances: categories are the object classes.

    Raises:
        InputError: a mask is damaged. Nothing is written.
    """
    ids = _Ids.of(images, catalog or {})
    _write(path, _images(images), _objects(images, ids), _object_categories(ids))


def write_parts(path: Path, images: Sequence[ImageLabels], catalog: Catalog | None = None) -> None:
    """Write part masks, one annotation each: categories are named `Car Wheel`, of supercategory `Car`.

    Raises:
        InputError: a mask is damaged. Nothing is written.
    """
    ids = _Ids.of(images, catalog or {})
    _write(path, _images(images), _parts(images, ids), _part_categories(ids))


def document(images: Sequence[ImageLabels], catalog: Catalog | None = None) -> Document:
    """Objects and parts in one: the parts' ids, of annotations and categories, follow on the objects'.

    Categories that aren't in the catalog come last of all.

    Raises:
        InputError: a mask is damaged.
    """
    ids = _Ids.together(images, catalog or {})
    objects = list(_objects(images, ids))
    return {
        "info": INFO,
        "licenses": [],
        "images": list(_images(images)),
        "annotations": [*objects, *_parts(images, ids, len(objects))],
        "categories": [*_object_categories(ids), *_part_categories(ids)],
    }


_Part = tuple[str, str]
"""Object class and part name."""
_Name = TypeVar("_Name", str, _Part)


@dataclass(frozen=True)
class _Ids:
    """The ids of categories, in their order."""

    objects: Mapping[str, int]
    parts: Mapping[_Part, int]

    @classmethod
    def of(cls, images: Sequence[ImageLabels], catalog: Catalog) -> "_Ids":
        """Of two files: both count from 1."""
        objects, parts = _known_objects(catalog), _known_parts(catalog, 1)
        return cls(
            objects | _others(_object_names(images), objects, len(catalog) + 1),
            parts | _others(_part_names(images), parts, _places(catalog) + 1),
        )

    @classmethod
    def together(cls, images: Sequence[ImageLabels], catalog: Catalog) -> "_Ids":
        """Of one file."""
        objects, parts = _known_objects(catalog), _known_parts(catalog, len(catalog) + 1)
        start = len(catalog) + _places(catalog) + 1
        more = _others(_object_names(images), objects, start)
        return cls(objects | more, parts | _others(_part_names(images), parts, start + len(more)))


def _known_objects(catalog: Catalog) -> dict[str, int]:
    return {category: number for number, category in enumerate(catalog, start=1)}


def _known_parts(catalog: Catalog, start: int) -> dict[_Part, int]:
    """Part classes of one name have the first one's id: they can't be told apart in the file."""
    ids: dict[_Part, int] = {}
    names = ((category, name) for category, parts in catalog.items() for name in parts)
    for number, (category, name) in enumerate(names, start):
        if name is not None:
            ids.setdefault((category, name), number)
    return ids


def _places(catalog: Catalog) -> int:
    return sum(len(parts) for parts in catalog.values())


def _others(names: Iterable[_Name], known: Mapping[_Name, int], start: int) -> dict[_Name, int]:
    return {name: number for number, name in enumerate(sorted(set(names) - set(known)), start)}


def _object_names(images: Sequence[ImageLabels]) -> Iterator[str]:
    return (label.category for _, _, label in _numbered_objects(images))


def _part_names(images: Sequence[ImageLabels]) -> Iterator[_Part]:
    objects = (label for _, _, label in _numbered_objects(images))
    return ((label.category, part.name) for label in objects for part in label.parts)


def _images(images: Sequence[ImageLabels]) -> Iterator[Entry]:
    for image in (labels.image for labels in images):
        size = {"width": int(image.width), "height": int(image.height)}
        yield {"id": image.id, "file_name": image.file_name, **size}


def _numbered_objects(images: Sequence[ImageLabels]) -> Iterator[tuple[int, CocoImage, ObjectLabel]]:
    """All objects with the ids of their annotations."""
    pairs = ((labels.image, label) for labels in images for label in labels.objects)
    for number, (image, label) in enumerate(pairs, start=1):
        yield number, image, label


def _objects(images: Sequence[ImageLabels], ids: _Ids) -> Iterator[Entry]:
    for number, image, label in _numbered_objects(images):
        yield _annotation(label, image, number, ids.objects[label.category])


def _parts(images: Sequence[ImageLabels], ids: _Ids, annotations: int = 0) -> Iterator[Entry]:
    """The annotations of parts, after so many of objects."""
    for object_id, image, label in _numbered_objects(images):
        for part in label.parts:
            annotations += 1
            yield _annotation(part, image, annotations, ids.parts[label.category, part.name]) | {
                "object_id": object_id
            }


def _annotation(label: ObjectLabel | PartLabel, image: CocoImage, number: int, category_id: int) -> Entry:
    mask = encoded(label.mask)
    x0, y0, x1, y1 = encoded_box(*mask)
    annotation: Entry = {
        "id": number,
        "image_id": image.id,
        "category_id": category_id,
        "segmentation": {"size": [mask.height, mask.width], "counts": mask.counts.decode("ascii")},
        "area": area(*mask),
        "bbox": [int(x0), int(y0), int(x1 - x0), int(y1 - y0)],
        "iscrowd": 0,
    }
    return annotation if label.score is None else annotation | {"score": float(label.score)}


def _object_categories(ids: _Ids) -> list[Entry]:
    return [{"id": number, "name": name} for name, number in ids.objects.items()]


def _part_categories(ids: _Ids) -> list[Entry]:
    return [
        {"id": number, "name": f"{category} {name}", "supercategory": category}
        for (category, name), number in ids.parts.items()
    ]


def _write(
    path: Path, images: Iterable[Entry], annotations: Iterable[Entry], categories: Iterable[Entry]
) -> None:
    """One entry at a time: half a million dictionaries, as of PACO, take more memory than their text."""
    out = io.BytesIO()
    out.write(f'{{"info":{json.dumps(INFO, separators=(",", ":"))},"licenses":[]'.encode())
    for key, entries in (("images", images), ("annotations", annotations), ("categories", categories)):
        out.write(f',"{key}":['.encode())
        for index, entry in enumerate(entries):
            text = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            out.write(f"{',' if index else ''}{text}".encode())
        out.write(b"]")
    out.write(b"}\n")
    replace_file(path, out.getvalue())
