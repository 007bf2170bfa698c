"""YOLO's segmentation format: a text file an image, a line a mask, and `data.yaml` with the classes.

    data.yaml
    labels/car/1.txt      class x1 y1 x2 y2 ...   corners as shares of the width and height
    images/               the photographs, or links to them

A line holds a single polygon: pieces and holes are joined by seams (`export.outlines`). Objects and parts are
classes of one list, in the order of COCO's ids, counted from 0.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from partdistillation.errors import InputError
from partdistillation.export.categories import CategoryIds
from partdistillation.export.labels import ImageLabels
from partdistillation.export.outlines import filled, outline
from partdistillation.export.photographs import IMAGES
from partdistillation.export.pieces import Entries, Piece
from partdistillation.functional.masks import Mask, decoded
from partdistillation.runs.atomic import replace_file

LABELS, CLASSES = "labels", "data.yaml"
_DIGITS = 6
_INTO_PIXEL = 0.25


@dataclass(frozen=True)
class Writer:
    """`labels/` and `data.yaml`. The entry of an image: float64, each mask's IoU when it is read back."""

    ids: CategoryIds

    def piece(self, image: ImageLabels) -> Piece:
        """The lines of an image."""
        lines, overlaps = [], array("d")
        for number, mask in _masks(image, self._numbers):
            lines.append(line(number, mask))
            overlaps.append(_overlap(lines[-1], mask))
        text = "".join(f"{text}\n" for text in lines)
        return Piece([overlaps.tobytes()], {_file(image.image.file_name): text.encode()})

    def join(self, folder: Path, entries: Entries) -> str:
        """Write the classes; return a line on how well the masks are kept."""
        replace_file(folder / CLASSES, _classes(self.ids).encode())
        overlaps = array("d")
        for (some,) in entries:
            overlaps.frombytes(some)
        if not overlaps:
            return "0 masks as polygons"
        kept = f"IoU when read back {np.mean(overlaps):.4f}, at least {min(overlaps):.2f}"
        return f"{len(overlaps)} masks as polygons, {kept}"

    @cached_property
    def _numbers(self) -> dict[object, int]:
        return _numbers(self.ids)


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


def require_own_files(file_names: Iterable[str]) -> None:
    """Refuse photographs whose lines would be in one file.

    Raises:
        InputError: two are called alike but for the suffix, or for capitals.
    """
    files: dict[str, str] = {}
    for file_name in file_names:
        path = _file(file_name).casefold()
        if (other := files.get(path)) is not None:
            raise InputError(
                f"YOLO's labels of a photograph are called as it is, but .txt: {other!r} and {file_name!r} "
                "would share theirs; rename one of them, or choose another format"
            )
        files[path] = file_name


def _file(file_name: str) -> str:
    """Where an image's lines are: at the place of the image, as the format has it."""
    return str(PurePosixPath(LABELS, file_name).with_suffix(".txt"))


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
