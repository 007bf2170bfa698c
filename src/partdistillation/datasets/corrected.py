"""Masks that people drew or corrected in other tools, as COCO objects and parts, which everything here reads.

Read are COCO (of CVAT, FiftyOne, Label Studio or our own export), Label Studio's JSON and Datumaro's, the
latter as CVAT exports it in a .zip, too. Labels are called as our exports call them: `car` is an object
class, and `car wheel` its part. A part goes to the object of its class that it overlaps most, whatever ids
say: tools number anew what they export. Where there is none, the union of its parts stands for the object.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from zipfile import BadZipFile, ZipFile

import numpy as np
from jaxtyping import Bool

from partdistillation.data.coco import CocoImage, read_instances
from partdistillation.data.images import image_size
from partdistillation.data.paths import is_file
from partdistillation.errors import InputError
from partdistillation.export import coco
from partdistillation.export.label_studio import brush_mask
from partdistillation.export.labels import ImageLabels, ObjectLabel, PartLabel
from partdistillation.functional.masks import EncodedMask, decoded, encoded, encoded_from_coco, union
from partdistillation.runs.atomic import make_folder
from partdistillation.settings import at_home

OBJECTS, PARTS = "objects.json", "parts.json"


class Region(NamedTuple):
    """A mask, and what somebody called it."""

    label: str
    mask: EncodedMask


class Regions(NamedTuple):
    """An image's, with the name that the tool has for it."""

    file_name: str
    regions: Sequence[Region]
    labels: Mapping[str, str] = {}
    """The project's labels, each with the object class that it is a part of, if the file says it."""


def read_corrected(file: Path, images: Path, out: Path) -> str:
    """Write `out/objects.json` and `out/parts.json`; return a line on what there is.

    Args:
        file: what the tool exported.
        images: the folder of the photographs.
        out: folder to write to.

    Raises:
        InputError: the file isn't in a known format, a photograph that it names isn't in the folder or of
            another size, a mask is damaged, or a label is neither an object class nor one of its parts.
    """
    file, images, out = at_home(file), at_home(images), at_home(out)
    annotated = list(_read(file))
    if not any(image.regions for image in annotated):
        raise InputError(f"{file}: expected masks that were drawn or corrected, found none")
    parents = {label: parent for image in annotated for label, parent in image.labels.items()}
    parents |= {
        region.label: parents.get(region.label, "") for image in annotated for region in image.regions
    }
    kinds = _kinds(parents, file)
    rows = [
        _labels(number, image, images, kinds, file)
        for number, image in enumerate((image for image in annotated if image.regions), start=1)
    ]
    make_folder(out)
    coco.write_objects(out / OBJECTS, rows)
    coco.write_parts(out / PARTS, rows)
    count = sum(len(label.parts) for row in rows for label in row.objects)
    left = len(annotated) - len(rows)
    return f"{count} parts in {len(rows)} photographs" + (
        f"; {left} without masks are left out" if left else ""
    )


def _kinds(parents: Mapping[str, str], file: Path) -> dict[str, tuple[str, str]]:
    """From a label to its object class and part; the part is empty for an object class.

    Where a file doesn't say it, a label that begins with another one (of several, the shortest) is its part.
    """
    kinds = {}
    for name, parent in parents.items():
        owners = [parent] if parent else [other for other in parents if name.startswith(f"{other} ")]
        owner = min(owners, key=len, default="")
        kinds[name] = (owner, name.removeprefix(f"{owner} ")) if owner else (name, "")
    if not any(part for _, part in kinds.values()):
        raise InputError(
            f"{file}: expected labels as `partdistill export` writes them, an object class (car) and its "
            f"parts (car wheel), found {', '.join(sorted(parents)[:5])}"
        )
    return kinds


def _labels(
    number: int, image: Regions, images: Path, kinds: Mapping[str, tuple[str, str]], file: Path
) -> ImageLabels:
    name = _in_folder(image.file_name, images, file)
    width, height = image_size(images / name)
    objects: list[tuple[str, EncodedMask, list[PartLabel]]] = []
    parts: dict[str, list[PartLabel]] = defaultdict(list)
    for label, mask in image.regions:
        if mask.shape != (height, width):
            raise InputError(
                f"{file}: expected masks of the size of {name}, {(height, width)}, found {mask.shape}; were "
                "they drawn on another image?"
            )
        category, part = kinds[label]
        if part:
            parts[category].append(PartLabel(part, mask))
        else:
            objects.append((category, mask, []))
    for category, of_class in parts.items():
        owners = [entry for entry in objects if entry[0] == category]
        if not owners:
            whole = encoded(union([part.mask for part in of_class]))
            owners = [(category, whole, [])]
            objects += owners
        masks = np.stack([decoded(mask) for _, mask, _ in owners])
        for region in of_class:
            owners[_owner(masks, decoded(region.mask))][2].append(region)
    return ImageLabels(
        CocoImage(number, name, width, height),
        tuple(ObjectLabel(category, mask, tuple(own)) for category, mask, own in objects),
    )


def _owner(masks: Bool[np.ndarray, "object height width"], part: Bool[np.ndarray, "height width"]) -> int:
    return int(np.count_nonzero(masks & part, axis=(1, 2)).argmax())


def _in_folder(name: str, images: Path, file: Path) -> str:
    """The photograph's path in the folder: tools put folders of their own before it."""
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..")]
    for start in range(len(parts)):
        path = PurePosixPath(*parts[start:])
        if is_file(images / path):
            return str(path)
    raise InputError(f"{file}: expected {name!r} in {images}, found no such photograph; check --images")


# ---------------------------------------------------------------------- formats


def _read(file: Path) -> Iterator[Regions]:
    content = _content(file)
    match content:
        case [*tasks]:
            yield from _of_label_studio(tasks, file)
        case {"items": [*items], "categories": {"label": {"labels": [*labels]}}}:
            yield from _of_datumaro(items, labels, file)
        case _:
            yield from _of_coco(file)


def _content(file: Path) -> Any:
    try:
        if file.suffix.lower() == ".zip":
            with ZipFile(file) as archive:
                names = [name for name in archive.namelist() if name.endswith(".json")]
                if len(names) != 1:
                    raise InputError(
                        f"{file}: expected an export as Datumaro, with one .json, found {len(names)}; export "
                        "a task at a time, or unpack it and give the .json"
                    )
                return json.loads(archive.read(names[0]))
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{file}: expected what a tool exported, found {error.strerror}") from error
    except (ValueError, RecursionError, BadZipFile) as error:
        raise InputError(
            f"{file}: expected JSON, or a .zip with it, found a file that isn't ({error})"
        ) from None


def _of_coco(file: Path) -> Iterator[Regions]:
    if file.suffix.lower() == ".zip":
        raise InputError(
            f"{file}: expected an export as Datumaro in a .zip; unpack others and give the .json"
        )
    dataset = read_instances(file)
    dataset.log_notes()
    labels = {category.name: category.supercategory for category in dataset.categories}
    for image in dataset.images:
        problems = [image.problem] if image.problem else list(dataset.unusable.get(str(image.id), ()))
        if problems:
            raise InputError(f"{file}: image {image.id!r} ({image.file_name}): {'; '.join(problems)}")
        regions = [
            Region(
                annotation.category.name,
                encoded_from_coco(annotation.segmentation, image.height, image.width),
            )
            for annotation in dataset.of(image.id)
            if not annotation.crowd
        ]
        yield Regions(image.file_name, regions, labels)


def _of_datumaro(items: Sequence[Any], labels: Sequence[Any], file: Path) -> Iterator[Regions]:
    try:
        names = [label["name"] for label in labels]
        parents = {label["name"]: label.get("parent", "") for label in labels}
        for item in items:
            height, width = item["image"]["size"]
            regions = [
                Region(names[entry["label_id"]], _datumaro_mask(entry, height, width))
                for entry in item["annotations"]
                if entry["type"] in ("mask", "polygon")
            ]
            yield Regions(item["image"]["path"], regions, parents)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(
            f"{file}: expected Datumaro's JSON, found an entry that isn't ({error!r})"
        ) from error


def _datumaro_mask(entry: Mapping[str, Any], height: int, width: int) -> EncodedMask:
    if entry["type"] == "mask":
        return encoded_from_coco(entry["rle"], height, width)
    return encoded_from_coco([entry["points"]], height, width)


def _of_label_studio(tasks: Sequence[Any], file: Path) -> Iterator[Regions]:
    """A task's last annotation that wasn't cancelled; predictions that nobody looked at aren't taken."""
    try:
        for task in tasks:
            annotations = [entry for entry in task["annotations"] if not entry.get("was_cancelled")]
            regions = list(_brushes(annotations[-1]["result"])) if annotations else []
            yield Regions(_local_file(task["data"]["image"]), regions)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{file}: expected Label Studio's JSON with annotations, found an entry that isn't ({error!r})"
        ) from error


def _brushes(results: Sequence[Mapping[str, Any]]) -> Iterator[Region]:
    for result in results:
        value = result.get("value", {})
        if result.get("type") == "brushlabels":
            height, width = int(result["original_height"]), int(result["original_width"])
            mask = encoded(brush_mask(np.array(value["rle"], dtype=np.uint8), height, width))
            yield Region(value["brushlabels"][0], mask)
        elif result.get("type") == "polygonlabels":
            height, width = int(result["original_height"]), int(result["original_width"])
            points = np.array(value["points"], dtype=np.float64) / 100 * (width, height)
            yield Region(
                value["polygonlabels"][0], encoded_from_coco([points.ravel().tolist()], height, width)
            )


def _local_file(url: str) -> str:
    """The path that an image's address has below Label Studio's local storage, or as it was uploaded."""
    parts = urlsplit(url)
    return parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
