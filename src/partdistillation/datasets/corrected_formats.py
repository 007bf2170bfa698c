"""What tools export, as regions of images: masks, and what somebody called them."""

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from zipfile import BadZipFile, ZipFile

import numpy as np

from partdistillation.data.coco import read_instances
from partdistillation.data.coco_entries import id_key
from partdistillation.errors import InputError
from partdistillation.export.label_studio import LOCAL, brush_mask
from partdistillation.functional.masks import EncodedMask, area, encoded, encoded_from_coco

_UPLOADED = re.compile(r"(?:.*/)?[0-9a-f]{8}-(.+)")
"""A file that was uploaded to Label Studio, which puts eight digits before its name."""
_MASKS = ("brushlabels", "polygonlabels", "brush", "polygon")
"""What Label Studio calls regions that are masks."""
_MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)
"""What an entry ends in that isn't as it should be."""


class Region(NamedTuple):
    """A mask, and what somebody called it."""

    label: str
    mask: EncodedMask
    id: str = ""
    parent: str = ""
    """The id of the region that it is a part of, as far as the file says it."""


class Regions(NamedTuple):
    """An image's, with the name that the tool has for it."""

    file_name: str
    regions: Sequence[Region]
    labels: Mapping[str, str] = {}
    """The project's labels, each with the object class that it is a part of, if the file says it."""
    left_out: Sequence[str] = ()
    """What else there was and is no mask: `rectangle`."""


def read_regions(file: Path) -> Iterator[Regions]:
    """The images of a file, with their regions.

    Raises:
        InputError: it isn't in a known format, or something in it is damaged; the message names the file.
    """
    content = _content(file)
    match content:
        case [*tasks]:
            yield from map(_own_masks, _of_label_studio(tasks, file))
        case {"items": [*items], "categories": {"label": {"labels": [*labels]}}}:
            yield from map(_own_masks, _of_datumaro(items, labels, file))
        case _:
            yield from map(_own_masks, _of_coco(file))


def _own_masks(image: Regions) -> Regions:
    """Without empty masks."""
    full = [region for region in image.regions if area(*region.mask)]
    empty = ("empty mask",) * (len(image.regions) - len(full))
    return image._replace(regions=full, left_out=(*image.left_out, *empty))


def _content(file: Path) -> Any:
    try:
        if file.suffix.lower() != ".zip":
            return json.loads(file.read_text(encoding="utf-8-sig"))
        with ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".json")]
            names = [name for name in names if not name.startswith("__MACOSX/")]
            if len(names) != 1:
                raise InputError(
                    f"{file}: expected an export as Datumaro, with one .json, found {len(names)}; export a "
                    "task at a time, or unpack it and give the .json"
                )
            return json.loads(archive.read(names[0]))
    except OSError as error:
        raise InputError(
            f"{file}: expected what a tool exported, found {error.strerror or 'a file that ends too early'}"
        ) from error
    # RuntimeError and NotImplementedError for archives with a password, or packed in another way.
    except (ValueError, RecursionError, BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"{file}: expected JSON, or a .zip with it, found a file that can't be read ({error})"
        ) from error


# ---------------------------------------------------------------------- COCO


def _of_coco(file: Path) -> Iterator[Regions]:
    if file.suffix.lower() == ".zip":
        raise InputError(f"{file}: expected Datumaro's JSON in a .zip; unpack others and give the .json")
    dataset = read_instances(file)
    dataset.log_notes()
    labels: dict[str, str] = {}
    for category in dataset.categories:
        if labels.setdefault(category.name, category.supercategory) != category.supercategory:
            raise InputError(
                f"{file}: expected categories of different names, found {category.name!r} twice, of "
                f"{labels[category.name]!r} and {category.supercategory!r}; rename them"
            )
    for image, annotations, unusable in dataset.annotated():
        where = f"{file}: image {image.id!r} ({image.file_name})"
        if problems := [image.problem] if image.problem else unusable:
            raise InputError(f"{where}: {'; '.join(problems)}")
        regions = []
        for annotation in annotations:
            if not annotation.crowd:
                try:
                    mask = encoded_from_coco(annotation.segmentation, image.height, image.width)
                except InputError as error:
                    raise InputError(f"{where}: annotation {annotation.id!r}: {error}") from error
                links = (annotation.id, annotation.object_id, annotation.part_of)
                own, *parents = map(_id, links)
                regions.append(Region(annotation.category.name, mask, own, next(filter(None, parents), "")))
        yield Regions(image.file_name, regions, labels)


# ---------------------------------------------------------------------- Datumaro


def _of_datumaro(items: Sequence[Any], labels: Sequence[Any], file: Path) -> Iterator[Regions]:
    where = f"{file}: expected Datumaro's JSON"
    try:
        names = [_text(label["name"]) for label in labels]
        parents = {_text(label["name"]): _text(label.get("parent") or "") for label in labels}
        for item in items:
            where = f"{file}: item {str(item.get('id'))!r:.80}: expected Datumaro's entries"
            image = item["image"]
            height, width = map(_whole, image["size"])
            annotations = item["annotations"]
            masks = [entry for entry in annotations if entry["type"] in ("mask", "polygon")]
            others = [_text(entry["type"]) for entry in annotations if entry not in masks]
            regions = [
                Region(
                    names[_whole(entry["label_id"])],
                    _datumaro_mask(entry, height, width),
                    _id(entry.get("id")),
                    _id((entry.get("attributes") or {}).get("part_of")),
                )
                for entry in masks
            ]
            yield Regions(_text(image["path"]), regions, parents, others)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except _MALFORMED as error:
        raise InputError(f"{where}, found one that isn't ({error!r})") from error


def _datumaro_mask(entry: Mapping[str, Any], height: int, width: int) -> EncodedMask:
    if entry["type"] == "mask":
        return encoded_from_coco(entry["rle"], height, width)
    return encoded_from_coco([entry["points"]], height, width)


# ---------------------------------------------------------------------- Label Studio


def _of_label_studio(tasks: Sequence[Any], file: Path) -> Iterator[Regions]:
    """A task's last annotation that wasn't cancelled; predictions that nobody looked at aren't taken."""
    for number, task in enumerate(tasks):
        where = f"{file}: task {number}"
        try:
            annotations = [entry for entry in _annotations(task) if not entry.get("was_cancelled")]
            results = annotations[-1]["result"] if annotations else []
            regions, others = _brushes(results)
            yield Regions(_local_file(_image(task["data"])), regions, left_out=others)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        except _MALFORMED as error:
            raise InputError(
                f"{where}: expected Label Studio's JSON (not JSON-MIN), found an entry that isn't ({error!r})"
            ) from error


def _annotations(task: Mapping[str, Any]) -> list[Any]:
    if "annotations" in task:
        return list(task["annotations"])
    what = "predictions that nobody has accepted" if "predictions" in task else "none"
    raise InputError(
        f"expected annotations, found {what}; in Label Studio submit them, and choose Export > JSON"
    )


def _image(data: Mapping[str, Any]) -> str:
    """A task's image: `image`, as exports here call it, or its only text."""
    if "image" in data:
        return _text(data["image"])
    texts = [value for value in data.values() if isinstance(value, str)]
    if len(texts) != 1:
        raise InputError(f"expected the task's data to have an `image`, found {sorted(data)!r:.80}")
    return texts[0]


def _brushes(results: Sequence[Mapping[str, Any]]) -> tuple[list[Region], list[str]]:
    """Regions with a label of their own; and the kinds of what isn't a mask, or has none or several.

    A region has its label with it (`brushlabels`), or of a control of its own: results of one id (`brush` and
    `labels`).
    """
    masks = [result for result in results if _text(result["type"]) in _MASKS]
    drawn = {_id(result.get("id")) for result in masks}
    separate: dict[str, list[Any]] = {}
    others = []
    for result in results:
        kind, identity = result["type"], _id(result.get("id"))
        if kind == "labels" and identity in drawn:
            separate.setdefault(identity, []).extend(result["value"]["labels"])
        elif kind not in _MASKS:
            others.append(kind)
    regions = []
    for result in masks:
        kind, value, identity = result["type"], result["value"], _id(result.get("id"))
        labels = value.get(kind) or separate.get(identity, [])
        if len(labels) == 1:
            mask = _label_studio_mask(result)
            regions.append(Region(_text(labels[0]), mask, identity, _id(result.get("parentID"))))
        else:
            others.append(f"{kind} with {len(labels)} labels")
    return regions, others


def _label_studio_mask(result: Mapping[str, Any]) -> EncodedMask:
    height, width = _whole(result["original_height"]), _whole(result["original_width"])
    value = result["value"]
    if "rle" in value:
        return encoded(brush_mask(np.array(value["rle"], dtype=np.uint8), height, width))
    points = np.array(value["points"], dtype=np.float64) / 100 * (width, height)
    return encoded_from_coco([points.ravel().tolist()], height, width)


def _local_file(url: str) -> str:
    """The path that an image's address has below Label Studio's local storage, or as it was uploaded."""
    parts = urlsplit(url)
    if url.startswith(LOCAL):
        return parse_qs(parts.query)["d"][0]
    path = unquote(parts.path)
    uploaded = _UPLOADED.fullmatch(path) if "/upload/" in path else None
    return uploaded.group(1) if uploaded else path


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r:.40}")
    return value


def _id(value: object) -> str:
    """An id as ids are compared; empty for none."""
    return "" if value is None else id_key(value)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"expected a whole number from 0, found {value!r:.40}")
    return value
