"""Annotations in other formats than COCO's: what they are, and what makes COCO instances of them.

Only for messages: nothing here is read as annotations.
"""

import json
import re
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

_DATUMARO = "Datumaro converts it: `datum convert -if {name} -i FOLDER -f coco_instances -o OUT`"
_LABELME = "this is labelme's format; labelme2coco (on PyPI) makes COCO instances of a folder of such files"
_VIA = "this is VIA's own format; in VIA choose Annotation > Export Annotations (COCO format)"
_VOC = f"this is XML, as Pascal VOC or CVAT write it; {_DATUMARO.format(name='voc')} (or cvat)"
_YOLO = f"this is YOLO's format; {_DATUMARO.format(name='yolo')}"
_YOLO_LINE = re.compile(r"\s*\d+(\s+-?\d*\.?\d+(e-?\d+)?){4,}\s*", re.IGNORECASE)
_LOOKED_AT = 50
_MOST_BYTES = 2_000_000


def of_document(document: object) -> str:
    """The format of a JSON document, and what converts it; empty where it isn't known."""
    if isinstance(document, list):
        return _of_list(document[0] if document else None)
    if not isinstance(document, Mapping):
        return ""
    if "shapes" in document and "imagePath" in document:
        return _LABELME
    entries = [entry for entry in islice(document.values(), _LOOKED_AT) if isinstance(entry, Mapping)]
    if "_via_img_metadata" in document or any(
        "regions" in entry and "filename" in entry for entry in entries
    ):
        return _VIA
    if "segments_info" in document or _has(document, "annotations", "segments_info"):
        return "this is COCO's panoptic format; take the instances file of the same data set"
    if _has(document, "annotations", "caption"):
        return "these are COCO's captions; take the instances file of the same data set"
    return ""


def _has(document: Mapping[object, object], key: str, inner: str) -> bool:
    entries = document.get(key)
    return (
        isinstance(entries, list)
        and bool(entries)
        and isinstance(entries[0], Mapping)
        and inner in entries[0]
    )


def _of_list(first: object) -> str:
    if not isinstance(first, Mapping):
        return ""
    if "image_id" in first and "category_id" in first:
        return (
            "this is a list of COCO results or annotations alone; put it into `annotations`, beside the "
            "`images` and `categories` of the file that it was made for"
        )
    if "annotations" in first and "data" in first:
        return "this is Label Studio's own format; `partdistill import` makes COCO objects and parts of it"
    if "regions" in first and "filename" in first:
        return _VIA
    return ""


def of_text(text: str) -> str:
    """The format of a file that isn't JSON; empty where it isn't known."""
    start = text.lstrip()[:200]
    if start.startswith("<"):
        return _VOC
    if start.lower().startswith(("filename,", "#filename,")):
        return _VIA
    lines = [line for line in text[:4_000].splitlines()[:5] if line.strip()]
    if lines and all(map(_YOLO_LINE.fullmatch, lines[:-1] or lines)):
        return _YOLO
    if re.match(r"(path|train|val|names|nc)\s*:", start):
        return _YOLO
    return ""


def of_file(path: Path) -> str:
    """The format of a file that isn't JSON, by its beginning."""
    return of_text(_start(path))


def of_folder(folder: Path) -> str:
    """The format of the files of a folder, or of its `labels/`, by the first of each kind."""
    readers: Mapping[str, Callable[[Path], str]] = {
        ".json": _of_json,
        ".txt": of_file,
        ".xml": of_file,
        ".yaml": of_file,
    }
    for place in (folder, folder / "labels", folder / "labels/train"):
        for suffix, reader in readers.items():
            for path in islice(place.glob(f"*{suffix}"), 3):
                if text := reader(path):
                    return text
    return ""


def _start(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(4_000).decode("utf-8", "replace")
    except OSError:
        return ""


def _of_json(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return ""
        return of_document(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return ""
