"""Who finds objects (stage 1): models that find them, labels that hold them, and the rows that both end as.

An `ObjectSegmenter` is a model: photographs and class names in, objects out. An `ObjectSource` is what the
stage runs: it reads the images that it needs, and whatever it meets, an input ends as a row: `accept` for an
image with its objects, `reject` for one that can't be used, with the reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8

from partdistillation.data.images import ImageInput
from partdistillation.functional.masks import box, encode
from partdistillation.objects.labelling import best
from partdistillation.runs import terminal
from partdistillation.runs.records import Object, ObjectRow

OBJECTS_MODEL = "objects_model"
"""In a part model's folder: what finds the objects."""
_SHOWN = 3

_log = terminal.logger(__name__)


class Instance(NamedTuple):
    """A predicted object."""

    mask: Bool[np.ndarray, "height width"]
    category: str
    score: float


@runtime_checkable
class ObjectSegmenter(Protocol):
    """Finds the objects of named classes in photographs."""

    @property
    def vocabulary(self) -> tuple[str, ...] | None:
        """The classes that it knows; None: it takes any name (open vocabulary)."""
        ...

    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], class_names: Sequence[str]
    ) -> list[list[Object]]:
        """For each image its objects of the named classes, in any order and unnumbered (see `to_object`).

        An object's category is the name that was asked for; its mask has the size of its image. What is found
        in one image doesn't depend on the others, which may differ in size.
        """
        ...


@runtime_checkable
class ObjectSource(Protocol):
    """Where the rows of the stage come from: a segmenter with the labelling rules, or labels that exist."""

    def __call__(self, images: Sequence[ImageInput]) -> Sequence[ObjectRow]:
        """One row an image, in order; never raises for what is wrong with a single image."""
        ...


def to_object(mask: Bool[np.ndarray, "height width"], category: str, score: float) -> Object:
    """An object from its mask; `accept` numbers it."""
    return Object(0, category, score, int(np.count_nonzero(mask)), box(mask), encode(mask))


def accept(
    image: ImageInput,
    *,
    height: int,
    width: int,
    objects: Iterable[Object],
    max_objects: int | None,
    min_area: float,
    notes: Iterable[str] = (),
) -> ObjectRow:
    """The row of an image with its best objects (`labelling.best`).

    The row's reason says what was left out, `notes` (what the source left out) first.
    """
    kept, left_out = best(objects, pixels=height * width, max_objects=max_objects, min_area=min_area)
    return to_row(image, height=height, width=width, objects=kept, left_out=[*notes, *left_out])


def to_row(
    image: ImageInput,
    *,
    height: int,
    width: int,
    objects: Iterable[Object],
    remarks: Sequence[str] = (),
    left_out: Sequence[str] = (),
    missing: str = "no objects",
) -> ObjectRow:
    """The row of an image with these objects, numbered best score first; rejected where there are none.

    The row's reason holds `remarks` and what was `left_out`; of a rejected one, `missing` before.
    """
    ranked = sorted(objects, key=lambda candidate: (-candidate.score, -candidate.area))
    if not ranked:
        return reject(image, "; ".join([missing, *remarks, *left_out]), height=height, width=width)
    numbered = tuple(replace(candidate, object_id=number) for number, candidate in enumerate(ranked))
    said = "; ".join(left_out)
    reason = "; ".join([*remarks, f"left out: {said}"] if said else remarks)
    return ObjectRow(image.image_id, image.file_name, width, height, "ok", reason, numbered)


def reject(image: ImageInput, reason: str, *, height: int = 0, width: int = 0) -> ObjectRow:
    """The row of an image that can't be used; the size is 0 where it isn't known."""
    return ObjectRow(image.image_id, image.file_name, width, height, "rejected", reason, ())


def log_rejected(rows: Iterable[ObjectRow], images_dir: Path | None = None) -> None:
    """Say in the log how many images (of a folder) can't be used, and why the first of them can't."""
    images, reasons = 0, list[str]()
    for row in rows:
        images += 1
        if row.status == "rejected":
            reasons.append(f"{row.file_name}: {row.reason}" if len(reasons) < _SHOWN else "")
    if reasons:
        place = f" below {images_dir}" if images_dir else ""
        more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
        _log.warning(
            "%d of %d images%s can't be used: %s%s",
            len(reasons), images, place, "; ".join(reasons[:_SHOWN]), more,
        )  # fmt: skip
