"""What was seen on photographs as files to take away: COCO, YOLO, label maps, pictures, JSON."""

import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from partdistillation.data.coco_entries import CocoImage
from partdistillation.export import coco, formats
from partdistillation.export.labels import ImageLabels, Labels, ObjectLabel, PartLabel
from partdistillation.export.photographs import IMAGES
from partdistillation.export.picture_names import picture_names
from partdistillation.export.zips import zipped
from partdistillation.functional.masks import decoded
from partdistillation.inference.result import FoundObject, FoundPart, Result
from partdistillation.studio.questions import Kind, Labelled, Pack, Upload

ReadImage = Callable[[Upload], UInt8[np.ndarray, "height width 3"]]


def suffix_of(kind: Kind, count: int) -> str:
    """Of the file that holds so many photographs."""
    if kind == "coco":
        return ".json"
    if kind in ("yolo", "masks") or count > 1:
        return ".zip"
    return ".png" if kind == "picture" else ".json"


def packed(question: Pack, read: ReadImage) -> bytes:
    """The file's bytes. Only for pictures are photographs read.

    Raises:
        InputError: the model's names can't be told apart in this format.
    """
    photographs = question.photographs
    match question.kind:
        case "coco":
            document = coco.document(
                [_labels(*entry) for entry in enumerate(photographs, 1)], question.catalog
            )
            return json.dumps(document, ensure_ascii=False).encode()
        case "json":
            names = [f"{photograph.upload.name}.json" for photograph in photographs]
            texts = (_result(entry, _no_pixels(entry), question).to_json() for entry in photographs)
            return _alone_or_zipped(dict(zip(names, (text.encode() for text in texts), strict=True)))
        case "picture":
            names = picture_names([photograph.upload.name for photograph in photographs])
            pictures = (_result(entry, read(entry.upload), question) for entry in photographs)
            return _alone_or_zipped(dict(zip(names, map(_png, pictures), strict=True)))
        case "yolo" | "masks":
            return zipped(dict(_written(question)))


def _written(question: Pack) -> Iterator[tuple[str, bytes]]:
    """What the format's own module writes; with YOLO's the photographs, as its programs want them."""
    labels = Labels([_labels(*entry) for entry in enumerate(question.photographs, 1)], question.catalog)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with redirect_stderr(io.StringIO()):  # where they say how far they are
            formats.write(labels, folder, "yolo" if question.kind == "yolo" else "masks")
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path.read_bytes()
    if question.kind == "yolo":
        for photograph in question.photographs:
            yield f"{IMAGES}/{photograph.upload.name}", photograph.upload.data


def _labels(number: int, photograph: Labelled) -> ImageLabels:
    image = CocoImage(number, photograph.upload.name, photograph.width, photograph.height)
    objects = (
        ObjectLabel(
            seen.category,
            seen.mask,
            tuple(PartLabel(part.name, part.mask, part.score) for part in seen.parts),
            seen.score,
        )
        for seen in photograph.objects
    )
    return ImageLabels(image, tuple(objects))


def _result(photograph: Labelled, pixels: UInt8[np.ndarray, "height width 3"], question: Pack) -> Result:
    objects = (
        FoundObject(
            seen.category,
            seen.score,
            decoded(seen.mask),
            tuple(FoundPart(part.part, part.name, part.score, decoded(part.mask)) for part in seen.parts),
        )
        for seen in photograph.objects
    )
    return Result(pixels, tuple(objects), photograph.upload.name, question.catalog)


def _no_pixels(photograph: Labelled) -> UInt8[np.ndarray, "height width 3"]:
    """An image of the size alone, for what doesn't look at it."""
    return np.broadcast_to(np.uint8(0), (photograph.height, photograph.width, 3))


def _png(result: Result) -> bytes:
    buffer = io.BytesIO()
    result.plot().save(buffer, "PNG")
    return buffer.getvalue()


def _alone_or_zipped(files: Mapping[str, bytes]) -> bytes:
    return next(iter(files.values())) if len(files) == 1 else zipped(files)
