"""COCO: the layouts that `data.coco` reads, instances of objects, and parts as PartImageNet has them.

The same content gives the same bytes. Annotation ids are 1, 2, ... in the order of the labels, category ids
1, 2, ... in the order of the names; a part's `object_id` is the id of its object's annotation.
"""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from partdistillation.data.coco_entries import CocoImage
from partdistillation.export.labels import ImageLabels, ObjectLabel, PartLabel
from partdistillation.functional.masks import area, encoded, encoded_box
from partdistillation.runs.atomic import replace_file

Entry = dict[str, object]
Document = dict[str, list[Entry]]


def write_objects(path: Path, images: Sequence[ImageLabels]) -> None:
    """Write object masks as COCO instances: categories are the object classes.

    Raises:
        InputError: a mask is damaged. Nothing is written.
    """
    _write(path, _images(images), _objects(images), _object_categories(images))


def write_parts(path: Path, images: Sequence[ImageLabels]) -> None:
    """Write part masks, one annotation each: categories are named `Car Wheel`, of supercategory `Car`.

    Raises:
        InputError: a mask is damaged. Nothing is written.
    """
    _write(path, _images(images), _parts(images), _part_categories(images))


def document(images: Sequence[ImageLabels]) -> Document:
    """Objects and parts in one: the parts' ids, of annotations and categories, follow on the objects'.

    Raises:
        InputError: a mask is damaged.
    """
    objects, categories = list(_objects(images)), _object_categories(images)
    return {
        "images": list(_images(images)),
        "annotations": [*objects, *_parts(images, len(objects), len(categories))],
        "categories": [*categories, *_part_categories(images, len(categories))],
    }


def _images(images: Sequence[ImageLabels]) -> Iterator[Entry]:
    for image in (labels.image for labels in images):
        yield {"id": image.id, "file_name": image.file_name, "width": image.width, "height": image.height}


def _numbered_objects(images: Sequence[ImageLabels]) -> Iterator[tuple[int, CocoImage, ObjectLabel]]:
    """All objects with the ids of their annotations."""
    pairs = ((labels.image, label) for labels in images for label in labels.objects)
    for number, (image, label) in enumerate(pairs, start=1):
        yield number, image, label


def _objects(images: Sequence[ImageLabels]) -> Iterator[Entry]:
    ids = _object_ids(images)
    for number, image, label in _numbered_objects(images):
        yield _annotation(label, image, number, ids[label.category])


def _parts(images: Sequence[ImageLabels], annotations: int = 0, categories: int = 0) -> Iterator[Entry]:
    """The annotations of parts, after so many annotations and categories of objects."""
    ids = _part_ids(images, categories)
    for object_id, image, label in _numbered_objects(images):
        for part in label.parts:
            annotations += 1
            yield _annotation(part, image, annotations, ids[label.category, part.name]) | {
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
    return annotation if label.score is None else annotation | {"score": label.score}


def _object_categories(images: Sequence[ImageLabels]) -> list[Entry]:
    return [{"id": number, "name": name} for name, number in _object_ids(images).items()]


def _part_categories(images: Sequence[ImageLabels], objects: int = 0) -> list[Entry]:
    return [
        {"id": number, "name": f"{category} {name}", "supercategory": category}
        for (category, name), number in _part_ids(images, objects).items()
    ]


def _object_ids(images: Sequence[ImageLabels]) -> dict[str, int]:
    return _numbered(label.category for _, _, label in _numbered_objects(images))


def _part_ids(images: Sequence[ImageLabels], objects: int) -> dict[tuple[str, str], int]:
    """By object class and part name, after so many categories of objects."""
    names = ((label.category, part.name) for _, _, label in _numbered_objects(images) for part in label.parts)
    return _numbered(names, objects + 1)


_Name = TypeVar("_Name", str, tuple[str, str])


def _numbered(names: Iterable[_Name], start: int = 1) -> dict[_Name, int]:
    return {name: number for number, name in enumerate(sorted(set(names)), start)}


def _write(
    path: Path, images: Iterable[Entry], annotations: Iterable[Entry], categories: Iterable[Entry]
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
