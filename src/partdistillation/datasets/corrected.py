"""Masks that people drew or corrected in other tools, as COCO objects and parts, which everything here reads.

Read are COCO (of CVAT, FiftyOne, Label Studio or our own export), Label Studio's JSON and Datumaro's, the
latter as CVAT exports it in a .zip, too: `corrected_formats`. Labels are called as our exports call them:
`car` is an object class, and `car wheel` its part. A part goes to the object that the file says, and else to
that of its class that it overlaps most: tools number anew what they export, so that links may lead anywhere.
Where it overlaps none, the union of such parts stands for the object.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from partdistillation.data.coco import CocoImage
from partdistillation.data.images import image_size
from partdistillation.data.paths import is_file, is_folder
from partdistillation.datasets.corrected_formats import Regions, read_regions
from partdistillation.errors import InputError
from partdistillation.export import coco
from partdistillation.export.labels import ImageLabels, ObjectLabel, PartLabel
from partdistillation.functional.masks import EncodedMask, area, decoded, encoded, union
from partdistillation.runs.atomic import new_folder
from partdistillation.settings import at_home

OBJECTS, PARTS = "objects.json", "parts.json"
_Kinds = Mapping[str, tuple[str, str]]
"""From a label to its object class and part; the part is empty for an object class."""


def read_corrected(file: Path, images: Path, out: Path) -> str:
    """Write `out/objects.json` and `out/parts.json`; return a line on what there is.

    Args:
        file: what the tool exported.
        images: the folder of the photographs.
        out: a new folder.

    Raises:
        InputError: the file isn't in a known format, a photograph that it names isn't in the folder, is there
            twice or is of another size, a mask is damaged, or no label is a part of another.
        StoreError: `out` isn't new, or can't be written.
    """
    file, images, out = at_home(file), at_home(images), at_home(out)
    if not is_folder(images):
        raise InputError(f"{images}: expected the folder of the photographs, found none; check --images")
    annotated = list(read_regions(file))
    kept = [image for image in annotated if image.regions]
    left_out = sum((Counter(image.left_out) for image in annotated), Counter[str]())
    if not kept:
        raise InputError(f"{file}: expected masks that were drawn or corrected, found none{_and(left_out)}")
    kinds = _kinds(annotated, file)
    rows, names = [], dict[str, str]()
    for number, image in enumerate(kept, start=1):
        name = _in_folder(image.file_name, images, file)
        if (other := names.setdefault(name, image.file_name)) is not image.file_name:
            raise InputError(
                f"{file}: expected every photograph once, found {name} for {other!r} and {image.file_name!r}"
            )
        rows.append(_labels(number, image, images / name, name, kinds, file))
    with new_folder(out) as folder:
        coco.write_objects(folder / OBJECTS, rows)
        coco.write_parts(folder / PARTS, rows)
    count = sum(len(label.parts) for row in rows for label in row.objects)
    if unmarked := len(annotated) - len(rows):
        left_out["photograph without masks"] = unmarked
    return f"{count} parts in {len(rows)} photographs{_and(left_out)}"


def _and(left_out: Mapping[str, int]) -> str:
    """What wasn't taken."""
    listed = ", ".join(f"{count} x {what}" for what, count in sorted(left_out.items()))
    return f"; left out: {listed}" if listed else ""


def _kinds(annotated: Sequence[Regions], file: Path) -> _Kinds:
    """What labels are.

    A file's word on what a label is a part of is taken where it begins with that label's name: elsewhere
    `supercategory` is something else. Where a file says it of none, a label that begins with another one (of
    several, the shortest) is its part.
    """
    parents: dict[str, str] = {}
    for image in annotated:
        for label, parent in (*image.labels.items(), *((region.label, "") for region in image.regions)):
            parents[label] = parents.get(label) or parent
    said = {label: parent for label, parent in parents.items() if _owns(parent, label, parents)}
    kinds = {}
    for label in parents:
        owners = [said[label]] if label in said else [] if said else list(parents)
        owner = min((other for other in owners if _owns(other, label, parents)), key=len, default="")
        kinds[label] = (owner, label.removeprefix(f"{owner} ")) if owner else (label, "")
    if not any(part for _, part in kinds.values()):
        raise InputError(
            f"{file}: expected labels as `partdistill export` writes them, an object class (car) and its "
            f"parts (car wheel), found {', '.join(sorted(parents)[:5])}"
        )
    return kinds


def _owns(parent: str, label: str, labels: Mapping[str, str]) -> bool:
    return parent in labels and label.startswith(f"{parent} ")


class _Object(NamedTuple):
    category: str
    mask: EncodedMask
    parts: list[PartLabel]
    id: str = ""


class _Part(NamedTuple):
    label: PartLabel
    parent: str
    """The id of its object; empty if none is said."""


def _labels(number: int, image: Regions, path: Path, name: str, kinds: _Kinds, file: Path) -> ImageLabels:
    width, height = image_size(path)
    objects: list[_Object] = []
    parts: dict[str, list[_Part]] = defaultdict(list)
    for label, mask, identity, parent in image.regions:
        if mask.shape != (height, width):
            raise InputError(
                f"{file}: expected masks of the size of {name}, {(height, width)}, found {mask.shape}; were "
                "they drawn on another image?"
            )
        category, part = kinds[label]
        if part:
            parts[category].append(_Part(PartLabel(part, mask), parent))
        else:
            objects.append(_Object(category, mask, [], identity))
    if not _consistent(image, objects, parts):
        parts = {
            category: [part._replace(parent="") for part in of_class] for category, of_class in parts.items()
        }
    for category, of_class in parts.items():
        alone = _given([entry for entry in objects if entry.category == category], of_class)
        if alone:
            whole = encoded(union([part.mask for part in alone]))
            objects.append(_Object(category, whole, alone))
    return ImageLabels(
        CocoImage(number, name, width, height),
        tuple(ObjectLabel(entry.category, entry.mask, tuple(entry.parts)) for entry in objects),
    )


def _consistent(image: Regions, objects: Sequence[_Object], parts: Mapping[str, Sequence[_Part]]) -> bool:
    """Whether every link of an image leads to one object of the part's class."""
    times = Counter(region.id for region in image.regions)
    categories = {entry.id: entry.category for entry in objects if times[entry.id] == 1}
    return all(
        not part.parent or categories.get(part.parent) == category
        for category, of_class in parts.items()
        for part in of_class
    )


def _given(owners: Sequence[_Object], parts: Sequence[_Part]) -> list[PartLabel]:
    """Give parts to the objects of their class; return those that none is said of and that overlap none.

    A link isn't taken where the part lies on other objects, but not on that one.
    """
    if not owners:
        return [part.label for part in parts]
    # Of equal overlaps, as of nested objects, the smaller object has the part.
    owners = sorted(owners, key=lambda entry: area(*entry.mask))
    places = {owner.id: place for place, owner in enumerate(owners)}
    masks = np.stack([decoded(entry.mask) for entry in owners])
    alone = []
    for label, parent in parts:
        overlaps = _overlaps(masks, decoded(label.mask))
        if parent and (overlaps[places[parent]] or not overlaps.any()):
            owners[places[parent]].parts.append(label)
        elif overlaps.any():
            owners[int(overlaps.argmax())].parts.append(label)
        else:
            alone.append(label)
    return alone


def _overlaps(
    masks: Bool[np.ndarray, "object height width"], part: Bool[np.ndarray, "height width"]
) -> NDArray[np.int64]:
    overlaps: NDArray[np.int64] = np.count_nonzero(masks & part, axis=(1, 2))
    return overlaps


def _in_folder(name: str, images: Path, file: Path) -> str:
    """The photograph's path in the folder: tools put folders of their own before it, and Windows' slashes."""
    parts = [part for part in PureWindowsPath(name).parts if part.strip("/\\") and part != ".."]
    for start in range(len(parts)):
        path = PurePosixPath(*parts[start:])
        if is_file(images / path):
            return str(path)
    raise InputError(f"{file}: expected {name!r} in {images}, found no such photograph; check --images")
