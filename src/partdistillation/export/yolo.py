"""YOLO's segmentation format: a text file an image, a line a mask, and `data.yaml` with the classes.

    data.yaml
    labels/car/1.txt      class x1 y1 x2 y2 ...   corners as shares of the width and height
    images/               the photographs, or links to them

A line holds a single polygon: pieces and holes are joined by seams (`export.outlines`). Objects and parts are
classes of one list, in the order of COCO's ids, counted from 0.
"""

from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from partdistillation.errors import InputError
from partdistillation.export.categories import CategoryIds
from partdistillation.export.labels import ImageLabels, Labels
from partdistillation.export.outlines import filled, outline
from partdistillation.functional.masks import Mask, decoded
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.progress import followed

IMAGES, LABELS, CLASSES = "images", "labels", "data.yaml"
_DIGITS = 6
_INTO_PIXEL = 0.25


def write(folder: Path, labels: Labels) -> str:
    """Write `labels/` and `data.yaml`; return a line on how well the masks are kept.

    Raises:
        InputError: a mask is damaged, or two photographs would share a file.
    """
    ids = CategoryIds.of_catalog(labels.catalog)
    numbers = _numbers(ids)
    files: dict[str, str] = {}
    overlaps = array("d")
    for image in followed(labels.images, "photographs", unit="written"):
        path = _file(image.image.file_name, files)
        lines = []
        for number, mask in _masks(image, numbers):
            lines.append(line(number, mask))
            overlaps.append(_overlap(lines[-1], mask))
        make_folder((folder / path).parent)
        replace_file(folder / path, "".join(f"{text}\n" for text in lines).encode())
    replace_file(folder / CLASSES, _classes(ids).encode())
    kept = f", IoU when read back {np.mean(overlaps):.4f}, at least {min(overlaps):.2f}" if overlaps else ""
    return f"{len(overlaps)} masks as polygons{kept}"


def lines_of(image: ImageLabels, ids: CategoryIds) -> list[str]:
    """An image's lines, without line breaks."""
    return [line(number, mask) for number, mask in _masks(image, _numbers(ids))]


def line(number: int, mask: Mask) -> str:
    """A class and the corners of a mask; whoever rounds them, or rounds them down, finds the pixels."""
    height, width = mask.shape
    corners = (outline(decoded(mask)) + _INTO_PIXEL) / (width, height)
    return " ".join([str(number), *(f"{value:.{_DIGITS}f}" for value in corners.ravel().tolist())])


def _numbers(ids: CategoryIds) -> dict[object, int]:
    """The classes' numbers, of object classes by name and of parts by both names."""
    return {key: number - 1 for key, number in [*ids.objects.items(), *ids.parts.items()]}


def _masks(image: ImageLabels, numbers: Mapping[object, int]) -> Iterator[tuple[int, Mask]]:
    for label in image.objects:
        yield numbers[label.category], label.mask
        for part in label.parts:
            yield numbers[label.category, part.name], part.mask


def _file(file_name: str, files: dict[str, str]) -> str:
    """Where an image's lines are: at the place of the image, as the format has it."""
    path = str(PurePosixPath(LABELS, file_name).with_suffix(".txt"))
    if (other := files.get(path.casefold())) is not None:
        raise InputError(
            f"YOLO's labels of a photograph are called as it is, but .txt: {other!r} and {file_name!r} would "
            "share theirs; rename one of them, or choose another format"
        )
    files[path.casefold()] = file_name
    return path


def _overlap(text: str, mask: Mask) -> float:
    """The IoU of a mask and its line, read as others read it."""
    height, width = mask.shape
    corners = np.array(text.split()[1:], dtype=np.float64).reshape(-1, 2) * (width, height)
    read, true = filled(corners.astype(np.int64), height, width), decoded(mask)
    return float(np.count_nonzero(read & true) / np.count_nonzero(read | true))


def _classes(ids: CategoryIds) -> str:
    """The classes by number. Some may have no part, of one that is joined with another, say."""
    named = ids.names
    names = {number: named.get(number + 1, f"unused {number}") for number in range(max(named, default=0))}
    content = {"train": IMAGES, "val": IMAGES, "names": names}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
