"""Writing the layouts that `coco` reads: COCO instances, and parts as PartImageNet has them.

The same content gives the same bytes. Category ids are 1, 2, ... in the order of the names.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from partdistillation.atomic import replace_file
from partdistillation.data.coco import CocoImage, Id
from partdistillation.errors import InputError
from partdistillation.functional.masks import box, decode

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
    _write(path, instances_document(images, labels))


def write_parts(path: Path, images: Sequence[CocoImage], labels: Sequence[PartLabel]) -> None:
    """Write part masks, one annotation each. Raises InputError as `parts_document`."""
    _write(path, parts_document(images, labels))


def instances_document(images: Sequence[CocoImage], labels: Sequence[InstanceLabel]) -> Document:
    """The JSON of COCO instances: categories are the object classes.

    Raises InputError for a label of an unknown image, a mask that doesn't fit its image, or two labels of
    one `object_id`.
    """
    if len({label.object_id for label in labels}) != len(labels):
        raise InputError(
            "expected labels of different object_id, found one twice; number them in the whole file"
        )
    ids = _numbered({label.category for label in labels})
    sizes = _sizes(images)
    return {
        "images": _images(images),
        "annotations": [_annotation(label, label.object_id, ids[label.category], sizes) for label in labels],
        "categories": [{"id": identity, "name": name} for name, identity in ids.items()],
    }


def parts_document(images: Sequence[CocoImage], labels: Sequence[PartLabel]) -> Document:
    """The JSON of parts: categories named `Car Wheel`, of supercategory `Car`; `object_id` on annotations.

    Raises InputError for a label of an unknown image or a mask that doesn't fit its image.
    """
    ids = _numbered({(label.category, label.name) for label in labels})
    sizes = _sizes(images)
    return {
        "images": _images(images),
        "annotations": [
            _annotation(label, number, ids[label.category, label.name], sizes)
            | {"object_id": label.object_id}
            for number, label in enumerate(labels, start=1)
        ],
        "categories": [
            {"id": identity, "name": f"{category} {name}", "supercategory": category}
            for (category, name), identity in ids.items()
        ],
    }


_Name = TypeVar("_Name", str, tuple[str, str])


def _numbered(names: set[_Name]) -> dict[_Name, int]:
    return {name: number for number, name in enumerate(sorted(names), start=1)}


def _images(images: Sequence[CocoImage]) -> list[dict[str, object]]:
    return [
        {"id": image.id, "file_name": image.file_name, "width": image.width, "height": image.height}
        for image in images
    ]


def _sizes(images: Sequence[CocoImage]) -> dict[Id, tuple[int, int]]:
    return {image.id: (image.height, image.width) for image in images}


def _annotation(
    label: InstanceLabel | PartLabel, number: int, category_id: int, sizes: Mapping[Id, tuple[int, int]]
) -> dict[str, object]:
    if label.image_id not in sizes:
        raise InputError(f"expected labels of the given images only, found one of image {label.image_id!r}")
    height, width = sizes[label.image_id]
    mask = decode(label.rle, height, width)
    x0, y0, x1, y1 = box(mask)
    annotation: dict[str, object] = {
        "id": number,
        "image_id": label.image_id,
        "category_id": category_id,
        "segmentation": {"size": [height, width], "counts": label.rle.decode("ascii")},
        "area": int(mask.sum()),
        "bbox": [int(x0), int(y0), int(x1 - x0), int(y1 - y0)],
        "iscrowd": 0,
    }
    return annotation if label.score is None else annotation | {"score": label.score}


def _write(path: Path, document: Document) -> None:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    replace_file(path, f"{text}\n".encode())
