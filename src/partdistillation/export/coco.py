"""COCO: the layouts that `data.coco` reads, instances of objects, and parts as PartImageNet has them.

The same content gives the same bytes. Annotation ids are 1, 2, ... in the order of the labels; a part's
`object_id` is the id of its object's annotation. Category ids are places in a `Catalog`, where there is one:
they don't depend on what was found. What isn't in it comes after all of it, in the order of the names.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

from partdistillation import __version__
from partdistillation.data.coco_entries import CocoImage
from partdistillation.export.categories import CategoryIds, full_name
from partdistillation.export.labels import Catalog, ImageLabels, ObjectLabel, PartLabel
from partdistillation.export.pieces import Entries, Piece, compact
from partdistillation.functional.masks import area_and_box, encoded
from partdistillation.runs.atomic import replacing_file
from partdistillation.runs.progress import followed

Entry = dict[str, Any]
_ENTRIES = 4_096
"""How many are written at a time."""


class Document(TypedDict):
    """COCO's layout. Masks are compressed run lengths."""

    info: Entry
    licenses: list[Entry]
    images: list[Entry]
    annotations: list[Entry]
    categories: list[Entry]


INFO: Entry = {"description": "Objects and parts, written by partdistillation", "version": __version__}
"""No date: the same content gives the same bytes."""


@dataclass(frozen=True)
class Writer:
    """Objects and parts in one file, as `document` has them.

    The entries of an image are its own, and for each object a text: a line for the object and one for each of
    its parts, which wait for the ids of annotations.
    """

    ids: CategoryIds
    origin: str = ""
    """SHA-256 of what the labels were made from, where it is known."""
    file: str = "annotations.json"

    def piece(self, image: ImageLabels) -> Piece:
        """The entries of an image."""
        (own,) = _images([image])
        texts = [compact(own), *(self._text(image.image, label) for label in image.objects)]
        return Piece([text.encode() for text in texts])

    def join(self, folder: Path, entries: Entries) -> str:
        """Write the file; return a line on it."""
        info = INFO | ({"run": self.origin} if self.origin else {})
        images = (own.decode() for own, *_ in entries)
        _write(folder / self.file, info, images, _numbered(entries), map(compact, _categories(self.ids)))
        return f"{len(entries)} images with objects and parts"

    def _text(self, image: CocoImage, label: ObjectLabel) -> str:
        lines = [_without_id(_annotation(label, image, 0, self.ids.objects[label.category]))]
        for part in label.parts:
            number = self.ids.parts[label.category, part.name]
            names = compact({"part": part.name, "object_class": label.category})
            lines.append(f"{_without_id(_annotation(part, image, 0, number))}{_OWNER}{names}")
        return "\n".join(lines)


_OWNER = "\0"
"""Where a part's text goes on after its object's id; JSON has neither this nor line breaks."""


def _without_id(annotation: Entry) -> str:
    """Its text after the id, without the last brace."""
    return compact({key: value for key, value in annotation.items() if key != "id"})[1:-1]


def _numbered(entries: Entries) -> Iterator[str]:
    """The annotations of all objects, and then of all parts."""
    number = 0
    for _, *objects in followed(entries, "objects", unit="photographs joined"):
        for text in objects:
            number += 1
            own, _, _ = text.decode().partition("\n")
            yield f'{{"id":{number},{own}}}'
    owner = 0
    for _, *objects in followed(entries, "parts", unit="photographs joined"):
        for text in objects:
            owner += 1
            for part in text.decode().split("\n")[1:]:
                number += 1
                own, names = part.split(_OWNER)
                attributes = f'{{"part_of":{owner},{names[1:]}'
                yield f'{{"id":{number},{own},"object_id":{owner},"attributes":{attributes}}}'


def write_objects(path: Path, images: Iterable[ImageLabels], catalog: Catalog | None = None) -> None:
    """Write object masks as COCO instances: categories are the object classes.

    `images` are gone through several times.

    Raises:
        InputError: a mask is damaged. Nothing is written.
    """
    ids = CategoryIds.of(images, catalog or {})
    _write_entries(path, _images(images), _objects(images, ids), _object_categories(ids))


def write_parts(path: Path, images: Iterable[ImageLabels], catalog: Catalog | None = None) -> None:
    """Write part masks, one annotation each: categories are named `Car Wheel`, of supercategory `Car`.

    `images` are gone through several times.

    Raises:
        InputError: a mask is damaged. Nothing is written.
    """
    ids = CategoryIds.of(images, catalog or {})
    _write_entries(path, _images(images), _parts(images, ids), _part_categories(ids))


def document(images: Iterable[ImageLabels], catalog: Catalog | None = None) -> Document:
    """Objects and parts in one: the parts' ids, of annotations and categories, follow on the objects'.

    A part says in `attributes` what it is part of, for the tools that show or keep nothing else.

    Categories that aren't in the catalog come last of all.

    Raises:
        InputError: a mask is damaged.
    """
    ids = CategoryIds.together(images, catalog or {})
    return {
        "info": INFO,
        "licenses": [],
        "images": list(_images(images)),
        "annotations": list(_together(images, ids)),
        "categories": list(_categories(ids)),
    }


def _together(images: Iterable[ImageLabels], ids: CategoryIds) -> Iterator[Entry]:
    """All objects, and then all parts of the same images."""
    count = 0
    for annotation in _objects(images, ids):
        count += 1
        yield annotation
    keys = {number: key for key, number in ids.parts.items()}
    for annotation in _parts(images, ids, count):
        category, part = keys[annotation["category_id"]]
        attributes = {"part_of": annotation["object_id"], "part": part, "object_class": category}
        yield annotation | {"attributes": attributes}


def _categories(ids: CategoryIds) -> Iterator[Entry]:
    yield from _object_categories(ids)
    yield from _part_categories(ids)


def _images(images: Iterable[ImageLabels]) -> Iterator[Entry]:
    for image in (labels.image for labels in images):
        size = {"width": int(image.width), "height": int(image.height)}
        yield {"id": image.id, "file_name": image.file_name, **size}


def _numbered_objects(images: Iterable[ImageLabels]) -> Iterator[tuple[int, CocoImage, ObjectLabel]]:
    """All objects with the ids of their annotations."""
    pairs = ((labels.image, label) for labels in images for label in labels.objects)
    for number, (image, label) in enumerate(pairs, start=1):
        yield number, image, label


def _objects(images: Iterable[ImageLabels], ids: CategoryIds) -> Iterator[Entry]:
    for number, image, label in _numbered_objects(images):
        yield _annotation(label, image, number, ids.objects[label.category])


def _parts(images: Iterable[ImageLabels], ids: CategoryIds, annotations: int = 0) -> Iterator[Entry]:
    """The annotations of parts, after so many of objects."""
    for object_id, image, label in _numbered_objects(images):
        for part in label.parts:
            annotations += 1
            annotation = _annotation(part, image, annotations, ids.parts[label.category, part.name])
            yield annotation | {"object_id": object_id}


def _annotation(label: ObjectLabel | PartLabel, image: CocoImage, number: int, category_id: int) -> Entry:
    mask = encoded(label.mask)
    pixels, (x0, y0, x1, y1) = area_and_box(*mask)
    annotation: Entry = {
        "id": number,
        "image_id": image.id,
        "category_id": category_id,
        "segmentation": {"size": [mask.height, mask.width], "counts": mask.counts.decode("ascii")},
        "area": pixels,
        "bbox": [int(x0), int(y0), int(x1 - x0), int(y1 - y0)],
        "iscrowd": 0,
    }
    return annotation if label.score is None else annotation | {"score": float(label.score)}


def _object_categories(ids: CategoryIds) -> list[Entry]:
    return [{"id": number, "name": name} for name, number in ids.objects.items()]


def _part_categories(ids: CategoryIds) -> list[Entry]:
    return [
        {"id": number, "name": full_name(category, name), "supercategory": category}
        for (category, name), number in ids.parts.items()
    ]


def _write_entries(
    path: Path, images: Iterable[Entry], annotations: Iterable[Entry], categories: Iterable[Entry]
) -> None:
    _write(path, INFO, *(map(compact, entries) for entries in (images, annotations, categories)))


def _write(
    path: Path, info: Entry, images: Iterable[str], annotations: Iterable[str], categories: Iterable[str]
) -> None:
    """One entry at a time: a million dictionaries take more memory than there may be."""
    with replacing_file(path) as write:
        write(f'{{"info":{compact(info)},"licenses":[]'.encode())
        for key, texts in (("images", images), ("annotations", annotations), ("categories", categories)):
            write(f',"{key}":['.encode())
            for text in _separated(texts):
                write(text.encode())
            write(b"]")
        write(b"}\n")


def _separated(texts: Iterable[str]) -> Iterator[str]:
    """Texts with commas between them, some thousands at a time."""
    texts, separator = iter(texts), ""
    while some := ",".join(islice(texts, _ENTRIES)):
        yield f"{separator}{some}"
        separator = ","
