"""CVAT: Datumaro's JSON in a .zip, which CVAT imports as "Datumaro 1.0".

    annotations.zip       annotations/default.json: labels, and the masks of every image

Parts say in their attributes what they are part of. They are in no group with it: CVAT's export as COCO makes
a single annotation of a group. Parts lie above objects.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from partdistillation.errors import InputError
from partdistillation.export.categories import CategoryIds
from partdistillation.export.labels import ImageLabels, ObjectLabel, PartLabel
from partdistillation.export.pieces import Entries, Piece, compact
from partdistillation.export.zips import replacing_zip, undated
from partdistillation.functional.masks import encoded
from partdistillation.runs.progress import followed

ARCHIVE = "annotations.zip"
MEMBER = "annotations/default.json"
ATTRIBUTES = ("part_of", "part", "object_class")
Entry = dict[str, object]


@dataclass(frozen=True)
class Writer:
    """`annotations.zip`. The entry of an image is its item."""

    ids: CategoryIds

    def piece(self, image: ImageLabels) -> Piece:
        """The item of an image."""
        return Piece([compact(item(image, self.ids)).encode()])

    def join(self, folder: Path, entries: Entries) -> str:
        """Write the archive; return a line on what to do with it."""
        with (
            replacing_zip(folder / ARCHIVE) as archive,
            archive.open(undated(MEMBER), "w", force_zip64=True) as file,
        ):
            head = compact({"info": {}, "categories": _categories(self.ids)})
            file.write(f'{head[:-1]},"items":['.encode())
            separator = b""
            for (text,) in followed(entries, "photographs", unit="joined"):
                file.write(separator + text)
                separator = b",\n"
            file.write(b"]}\n")
        return f"{len(entries)} images; in CVAT choose Upload annotations > Datumaro 1.0"


def require_own_ids(file_names: Iterable[str]) -> None:
    """Refuse images that CVAT can't tell apart.

    Raises:
        InputError: two have one name but for the suffix.
    """
    names: dict[str, str] = {}
    for file_name in file_names:
        if (other := names.setdefault(_id(file_name), file_name)) != file_name:
            raise InputError(
                f"CVAT and Datumaro call images by their names without suffix: {other!r} and {file_name!r} "
                "would be the same; rename one of them, or choose another format"
            )


def document(image: ImageLabels, ids: CategoryIds) -> Entry:
    """A single image's, whole."""
    return {"info": {}, "categories": _categories(ids), "items": [item(image, ids)]}


def item(image: ImageLabels, ids: CategoryIds) -> Entry:
    """An image with the masks of its objects and parts."""
    entry = image.image
    return {
        "id": _id(entry.file_name),
        "annotations": list(_annotations(image, ids)),
        "image": {"path": entry.file_name, "size": [int(entry.height), int(entry.width)]},
    }


def _id(file_name: str) -> str:
    """An image's name without its suffix, as CVAT looks for it; one that has no name is `image`."""
    return str(PurePosixPath(file_name).with_suffix("")) if file_name else "image"


def _annotations(image: ImageLabels, ids: CategoryIds) -> Iterator[Entry]:
    number = 0
    for label in image.objects:
        number += 1
        parent = number
        yield _annotation(label, number, ids.objects[label.category], {})
        for part in label.parts:
            number += 1
            attributes = {"part_of": parent, "part": part.name, "object_class": label.category}
            yield _annotation(part, number, ids.parts[label.category, part.name], attributes)


def _annotation(label: ObjectLabel | PartLabel, number: int, category: int, attributes: Entry) -> Entry:
    mask = encoded(label.mask)
    score = {} if label.score is None else {"score": float(label.score)}
    return {
        "id": number,
        "type": "mask",
        "attributes": attributes | score,
        "group": 0,
        "label_id": category - 1,
        "rle": {"counts": mask.counts.decode("ascii"), "size": [mask.height, mask.width]},
        "z_order": 1 if "part_of" in attributes else 0,
    }


def _categories(ids: CategoryIds) -> Entry:
    """Labels by place; a number that no part has keeps its place, with a name that says so."""
    parents = {number: category for (category, _), number in ids.parts.items()}
    named = ids.names
    labels = [
        {
            "name": named.get(number, f"unused {number}"),
            "parent": parents.get(number, ""),
            "attributes": list(ATTRIBUTES) if number in parents else [],
        }
        for number in range(1, max(named, default=0) + 1)
    ]
    return {"label": {"labels": labels, "attributes": ["score"]}}
