"""Label maps: a PNG an image for the objects and one for the parts, and a legend.

    objects/car/1.png     the number of each pixel's object class, 0 where there is none
    parts/car/1.png       the number of each pixel's part class
    legend.json           what the numbers mean, and their colours

Numbers are COCO's ids. Where masks overlap, the better score is seen. Up to 255 categories the PNGs are
8-bit with a palette, so that they are coloured in any viewer; above, they are 16-bit grey.
"""

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from PIL import Image

from partdistillation.errors import InputError
from partdistillation.export.categories import CategoryIds
from partdistillation.export.labels import ImageLabels, Labels
from partdistillation.export.picture_names import picture_names
from partdistillation.functional.masks import Mask, decoded
from partdistillation.pictures.colors import color_of, hex_of
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.progress import followed

OBJECTS, PARTS, LEGEND = "objects", "parts", "legend.json"
_MOST, _MOST_COLORED = 2**16 - 1, 255
Map = Int[np.ndarray, "height width"]


def write(folder: Path, labels: Labels) -> str:
    """Write the maps and the legend; return a line on them.

    Raises:
        InputError: a mask is damaged, or there are more categories than a PNG has values.
    """
    ids = CategoryIds.of_catalog(labels.catalog)
    most = max(ids.names, default=0)
    if most > _MOST:
        raise InputError(
            f"expected at most {_MOST} categories for 16-bit label maps, found {most}: export coco"
        )
    names = picture_names([image.image.file_name for image in labels.images])
    if len(set(names)) < len(names):
        raise InputError("expected every photograph once, found one twice: a label map has only its name")
    for image, name in zip(followed(labels.images, "photographs", unit="written"), names, strict=True):
        for kind, values in zip((OBJECTS, PARTS), maps(image, ids), strict=True):
            make_folder((folder / kind / name).parent)
            replace_file(folder / kind / name, _png(values, colored=most <= _MOST_COLORED))
    replace_file(folder / LEGEND, _legend(ids).encode())
    return f"{len(labels.images)} maps of objects and of parts"


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
