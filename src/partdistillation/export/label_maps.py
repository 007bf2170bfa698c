"""Label maps: a PNG an image for the objects and one for the parts, and a legend.

    objects/car/1.png     the number of each pixel's object class, 0 where there is none
    parts/car/1.png       the number of each pixel's part class
    legend.json           what the numbers mean, and their colours

Numbers are COCO's ids. Where masks overlap, the better score is seen. Up to 255 categories the PNGs are
8-bit with a palette, so that they are coloured in any viewer; above, they are 16-bit grey.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int
from PIL import Image

from partdistillation.errors import InputError
from partdistillation.export.categories import CategoryIds
from partdistillation.export.labels import ImageLabels
from partdistillation.export.picture_names import picture_name, picture_names
from partdistillation.export.pieces import Entries, Piece
from partdistillation.functional.masks import Mask, decoded
from partdistillation.pictures.colors import color_of, hex_of
from partdistillation.runs.atomic import replace_file

OBJECTS, PARTS, LEGEND = "objects", "parts", "legend.json"
_MOST, _MOST_COLORED = 2**16 - 1, 255
Map = Int[np.ndarray, "height width"]


@dataclass(frozen=True)
class Writer:
    """The maps and the legend. Images have no entries.

    Raises:
        InputError: there are more categories than a PNG has values.
    """

    ids: CategoryIds
    names: Mapping[str, str]
    """What maps are called that aren't called as their photographs: see `other_names`."""

    def __post_init__(self) -> None:
        if self._most > _MOST:
            raise InputError(
                f"expected at most {_MOST} categories for 16-bit label maps, found {self._most}: export coco"
            )

    def piece(self, image: ImageLabels) -> Piece:
        """The maps of an image."""
        file_name = image.image.file_name
        name, colored = self.names.get(file_name, picture_name(file_name)), self._most <= _MOST_COLORED
        pictures = (_png(values, colored=colored) for values in maps(image, self.ids))
        return Piece((), dict(zip((f"{OBJECTS}/{name}", f"{PARTS}/{name}"), pictures, strict=True)))

    def join(self, folder: Path, entries: Entries) -> str:
        """Write the legend; return a line on what there is."""
        replace_file(folder / LEGEND, _legend(self.ids).encode())
        return f"{len(entries)} maps of objects and of parts"

    @property
    def _most(self) -> int:
        return max(self.ids.names, default=0)


def other_names(file_names: Sequence[str]) -> dict[str, str]:
    """What the maps are called of those photographs whose `picture_name` could be another's.

    Raises:
        InputError: a photograph is there twice.
    """
    names = picture_names(file_names)
    if len(set(names)) < len(names):
        raise InputError("expected every photograph once, found one twice: a label map has only its name")
    pairs = zip(file_names, names, strict=True)
    return {file_name: name for file_name, name in pairs if name != picture_name(file_name)}


def maps(image: ImageLabels, ids: CategoryIds) -> tuple[Map, Map]:
    """The maps of an image's objects and of its parts."""
    objects = [(label.score, ids.objects[label.category], label.mask) for label in image.objects]
    parts = [
        (part.score, ids.parts[label.category, part.name], part.mask)
        for label in image.objects
        for part in label.parts
    ]
    size = (image.image.height, image.image.width)
    return _map(objects, size), _map(parts, size)


def _map(masks: Iterable[tuple[float | None, int, Mask]], size: Sequence[int]) -> Map:
    values = np.zeros(size, dtype=np.int32)
    for _, number, mask in sorted(masks, key=lambda entry: 1.0 if entry[0] is None else entry[0]):
        values[decoded(mask)] = number
    return values


def _png(values: Map, *, colored: bool) -> bytes:
    picture = Image.fromarray(values.astype(np.uint8 if colored else np.uint16))
    if colored:
        picture.putpalette([0, 0, 0, *(int(c) for number in range(_MOST_COLORED) for c in color_of(number))])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _legend(ids: CategoryIds) -> str:
    content = {
        OBJECTS: [
            {"number": number, "object_class": category, "color": hex_of(number - 1)}
            for category, number in ids.objects.items()
        ],
        PARTS: [
            {"number": number, "object_class": category, "part": part, "color": hex_of(number - 1)}
            for (category, part), number in ids.parts.items()
        ],
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
