"""Writing the layouts that `coco` reads: COCO instances, and parts as PartImageNet has them.

The same content gives the same bytes. Category ids are 1, 2, ... in the order of the names.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from partdistillation.data.coco import CocoImage, Id
from partdistillation.errors import InputError
from partdistillation.functional.masks import area, encoded_box
from partdistillation.runs.atomic import replace_file

Document = dict[str, list[dict[str, object]]]


@dataclass(frozen=True)
class InstanceLabel:
    """An object mask to write."""

    image_id: Id
    object_id: int
    """The annotation's `id`: unique in the file."""
    category: str
    rle: bytes
    score: float | None = None


@dataclass(frozen=True)
class PartLabel:
    """A part mask to write, tied to its object by `object_id`."""

    image_id: Id
    object_id: int
    category: str
    name: str
    rle: bytes
    score: float | None = None


def write_instances(path: Path, images: Sequence[CocoImage], labels: Sequence[InstanceLabel]) -> None:
    """Write object masks as COCO instances. Raises InputError as `instances_document`."""
    _write(path, _images(images), _instances(images, labels), _object_categories(labels))


def write_parts(path: Path, images: Sequence[CocoImage], labels: Sequence[PartLabel]) -> None:
    """Write part masks, one annotation each. Raises InputError as `parts_document`."""
    _write(path, _images(images), _parts(images, labels), _part_categories(labels))


def instances_document(images: Sequence[CocoImage], labels: Sequence[InstanceLabel]) -> Document:
    """The JSON of COCO instances: categories are the object classes.

    Raises InputError for a label of an unknown image, a mask that doesn't fit its image, or two labels of
    one `object_id`.
    """
    return {
        "images": list(_images(images)),
        "annotations": list(_instances(images, labels)),
        "categories": _object_categories(labels),
    }


def parts_document(images: Sequence[CocoImage], labels: Sequence[PartLabel]) -> Document:
    """The JSON of parts: categories named `Car Wheel`, of supercategory `Car`; `object_id` on annotations.

    Raises InputError for a label of an unknown image or a mask that doesn't fit its image.
    """
    return {
        "images": list(_images(images)),
        "annotations": list(_parts(images, labels)),
        "categories": _part_categories(labels),
    }


def _instances(images: Sequence[CocoImage], labels: Sequence[InstanceLabel]) -> Iterator[dict[str, object]]:
    if len({label.object_id for label in labels}) != len(labels):
        raise InputError(
            "expected labels of different object_id, found one twice; number them in the whole file"
        )
    ids = _numbered({label.category for label in labels})
    sizes = _sizes(images)
    for label in labels:
        yield _annotation(label, label.object_id, ids[label.category], sizes)


def _parts(images: Sequence[CocoImage], labels: Sequence[PartLabel]) -> Iterator[dict[str, object]]:
    ids = _numbered({(label.category, label.name) for label in labels})
    sizes = _sizes(images)
    for number, label in enumerate(labels, start=1):
        annotation = _annotation(label, number, ids[label.category, label.name], sizes)
        yield annotation | {"object_id": label.object_id}


def _object_categories(labels: Sequence[InstanceLabel]) -> list[dict[str, object]]:
    ids = _numbered({label.category for label in labels})
    return [{"id": identity, "name": name} for name, identity in ids.items()]


def _part_categories(labels: Sequence[PartLabel]) -> list[dict[str, object]]:
    ids = _numbered({(label.category, label.name) for label in labels})
    return [
        {"id": identity, "name": f"{category} {name}", "supercategory": category}
        for (category, name), identity in ids.items()
    ]


_Name = TypeVar("_Name", str, tuple[str, str])


def _numbered(names: set[_Name]) -> dict[_Name, int]:
    return {name: number for number, name in enumerate(sorted(names), start=1)}


def _images(images: Sequence[CocoImage]) -> Iterator[dict[str, object]]:
    for image in images:
        yield {"id": image.id, "file_name": image.file_name, "width": image.width, "height": image.height}


def _sizes(images: Sequence[CocoImage]) -> dict[Id, tuple[int, int]]:
    return {image.id: (image.height, image.width) for image in images}


def _annotation(
    label: InstanceLabel | PartLabel, number: int, category_id: int, sizes: Mapping[Id, tuple[int, int]]
) -> dict[str, object]:
    if label.image_id not in sizes:
        raise InputError(f"expected labels of the given images only, found one of image {label.image_id!r}")
    height, width = sizes[label.image_id]
    x0, y0, x1, y1 = encoded_box(label.rle, height, width)
    annotation: dict[str, object] = {
        "id": number,
        "image_id": label.image_id,
        "category_id": category_id,
        "segmentation": {"size": [height, width], "counts": label.rle.decode("ascii")},
        "area": area(label.rle, height, width),
        "bbox": [int(x0), int(y0), int(x1 - x0), int(y1 - y0)],
        "iscrowd": 0,
    }
    return annotation if label.score is None else annotation | {"score": label.score}


def _write(
    path: Path,
    images: Iterable[dict[str, object]],
    annotations: Iterable[dict[str, object]],
    categories: Iterable[dict[str, object]],
) -> None:
    """One entry at a time: half a million dictionaries, as of PACO, take more memory than their text."""
    out = io.BytesIO()
    for key, entries in (("images", images), ("annotations", annotations), ("categories", categories)):
        out.write(f'{"," if out.tell() else "{"}"{key}":['.encode())
        for index, entry in enumerate(entries):
            text = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            out.write(f"{',' if index else ''}{text}".encode())
        out.write(b"]")
    out.write(b"}\n")
    replace_file(path, out.getvalue())
