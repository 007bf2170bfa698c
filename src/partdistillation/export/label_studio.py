"""Label Studio: tasks with predictions, as brush masks, and the labelling interface for them.

    tasks.json            import it into a project; `data.image` is a path below Label Studio's local storage
    labels.xml            the project's labelling interface (Settings > Labeling Interface > Code)

A part's region has its object's as parent. Masks are Label Studio's own run-length encoding of RGBA pixels.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import Bool, UInt8

from partdistillation import __version__
from partdistillation.errors import InputError
from partdistillation.export.categories import CategoryIds, full_name
from partdistillation.export.labels import ImageLabels
from partdistillation.export.pieces import Entries, Piece
from partdistillation.functional.masks import Mask, decoded
from partdistillation.pictures.colors import hex_of
from partdistillation.runs.atomic import replace_file, replacing_file
from partdistillation.runs.progress import followed

TASKS, INTERFACE = "tasks.json", "labels.xml"
LOCAL = "/data/local-files/?d="
_CHANNELS = 4
_RUN_BITS = (4, 8, 12, 16)
"""Bits of a run's length, in the four ways that the format may write it."""
_WORD_BITS = 8
Entry = dict[str, object]


@dataclass(frozen=True)
class Writer:
    """`tasks.json` and `labels.xml`. The entry of an image is its task."""

    ids: CategoryIds

    def piece(self, image: ImageLabels) -> Piece:
        """The task of an image."""
        return Piece([json.dumps(task(image), ensure_ascii=False, allow_nan=False).encode()])

    def join(self, folder: Path, entries: Entries) -> str:
        """Write both files; return a line on what there is."""
        with replacing_file(folder / TASKS) as write:
            separator = b"["
            for (text,) in followed(entries, "photographs", unit="joined"):
                write(separator + text)
                separator = b",\n"
            write(b"]\n" if separator != b"[" else b"[]\n")
        replace_file(folder / INTERFACE, _interface(self.ids).encode())
        return f"{len(entries)} tasks; their images are looked for below Label Studio's local file storage"


def task(image: ImageLabels) -> Entry:
    """An image with its objects and parts as one prediction."""
    results = list(_regions(image))
    prediction = {"model_version": f"partdistillation {__version__}", "result": results}
    return {"data": {"image": LOCAL + quote(image.image.file_name)}, "predictions": [prediction]}


def _regions(image: ImageLabels) -> Iterator[Entry]:
    for number, label in enumerate(image.objects):
        name = f"object-{number}"
        yield _region(name, label.category, label.mask, label.score)
        for place, part in enumerate(label.parts):
            region = _region(
                f"{name}-part-{place}", full_name(label.category, part.name), part.mask, part.score
            )
            yield region | {"parentID": name}


def _region(name: str, label: str, mask: Mask, score: float | None) -> Entry:
    height, width = mask.shape
    region: Entry = {
        "id": name,
        "type": "brushlabels",
        "from_name": "labels",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": brush(decoded(mask)).tolist(), "brushlabels": [label]},
    }
    return region if score is None else region | {"score": float(score)}


def _interface(ids: CategoryIds) -> str:
    labels = "".join(
        f"    <Label value={quoteattr(name)} background={quoteattr(hex_of(number - 1))}/>\n"
        for number, name in ids.names.items()
    )
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="labels" toName="image">\n{labels}  </BrushLabels>\n</View>\n'
    )


def brush(mask: Bool[np.ndarray, "height width"]) -> UInt8[np.ndarray, " byte"]:
    """A mask as Label Studio's brush: run lengths of its RGBA pixels, 255 in the mask and 0 elsewhere.

    The bits, packed into bytes: how many values there are (32), bits of a value less one (5), bits of a run's
    length less one in four ways (4 each); then for each run a 1, its way (2), its length less one, its value.
    """
    pixels = mask.ravel()
    ends = np.append(np.flatnonzero(pixels[1:] != pixels[:-1]) + 1, pixels.size)
    lengths = np.diff(ends, prepend=0) * _CHANNELS
    fields = [(pixels.size * _CHANNELS, 32), (_WORD_BITS - 1, 5), *((bits - 1, 4) for bits in _RUN_BITS)]
    longest = 1 << _RUN_BITS[-1]
    for end, length in zip(ends.tolist(), lengths.tolist(), strict=True):
        while length:
            run = min(length, longest)
            way = next(place for place, bits in enumerate(_RUN_BITS) if run <= 1 << bits)
            value = 255 if pixels[end - 1] else 0
            fields += [(1, 1), (way, 2), (run - 1, _RUN_BITS[way]), (value, _WORD_BITS)]
            length -= run
    bits = "".join(f"{value:0{width}b}" for value, width in fields)
    packed = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2)
    return np.frombuffer(packed.to_bytes(-(-len(bits) // 8), "big"), dtype=np.uint8)


def brush_mask(
    rle: UInt8[np.ndarray, " byte"], height: int, width: int
) -> Bool[np.ndarray, "{height} {width}"]:
    """The mask of a brush, whoever encoded it: where its alpha channel isn't 0.

    Raises:
        InputError: the bytes aren't such an encoding of an image of this size.
    """
    bits = "".join(f"{byte:08b}" for byte in rle.tolist())
    place = 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        if place > len(bits):
            raise InputError("expected a brush's run-length encoding, found that it ends too early")
        return int(bits[place - count : place], 2)

    size, word = take(32), take(5) + 1
    ways = [take(4) + 1 for _ in range(4)]
    if size != height * width * _CHANNELS:
        raise InputError(
            f"expected a brush of {height} x {width} pixels with {_CHANNELS} channels, found {size} values; "
            "was it drawn on another image?"
        )
    values = np.zeros(size, dtype=np.uint32)
    start = 0
    while start < size:
        repeated = take(1)
        end = start + 1 + take(ways[take(2)])
        if end > size:
            raise InputError("expected a brush's run-length encoding, found runs that overflow its image")
        values[start:end] = take(word) if repeated else [take(word) for _ in range(end - start)]
        start = end
    alpha: Bool[np.ndarray, "height width"] = values.reshape(height, width, _CHANNELS)[..., -1] > 0
    return alpha
