"""Objects from a COCO file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from partdistillation.data.coco import CocoDataset, CocoImage
from partdistillation.data.images import ImageInput, load_image
from partdistillation.errors import InputError
from partdistillation.functional.masks import from_coco
from partdistillation.objects import accept, reject, to_object
from partdistillation.runs.records import Object, ObjectRow


@dataclass(frozen=True)
class AnnotatedObjects:
    """The ObjectSource that reads a COCO file."""

    dataset: CocoDataset
    max_objects: int | None
    min_area: float

    def __call__(self, images: Sequence[ImageInput]) -> list[ObjectRow]:
        return [
            annotated_objects(self.dataset, image, max_objects=self.max_objects, min_area=self.min_area)
            for image in images
        ]


def annotated_objects(
    dataset: CocoDataset, image: ImageInput, *, max_objects: int | None, min_area: float
) -> ObjectRow:
    """The objects of one image from its annotations, class by name; score 1 where the file has none.

    The image is found by its id, or else by its file name. Crowd regions aren't objects. An annotation that
    can't be used is left out and named in the row's reason. The image is decoded, so that a damaged one is
    rejected here, before anything is computed from it.
    """
    entry = dataset.find(image)
    if entry is None:
        return reject(image, f"no entry in {dataset.path.name} has this image's id or file name")
    if entry.problem:
        return reject(image, entry.problem)
    try:
        height, width = checked_size(image)
    except InputError as error:
        return reject(image, said(error, image.path))
    if (entry.height, entry.width) != (height, width):
        annotated = f"{entry.width} x {entry.height}"
        reason = f"expected an image of {annotated} as {dataset.path.name} says, found {width} x {height}"
        return reject(image, reason, height=height, width=width)
    objects, notes = _decoded(dataset, entry)
    return accept(
        image,
        height=height,
        width=width,
        objects=objects,
        max_objects=max_objects,
        min_area=min_area,
        notes=notes,
    )


def _decoded(dataset: CocoDataset, entry: CocoImage) -> tuple[list[Object], list[str]]:
    """The image's objects, and what was left out."""
    objects: list[Object] = []
    annotations, unusable = dataset.annotations_of(entry)
    notes = list(unusable)
    for annotation in annotations:
        if annotation.crowd:
            continue
        try:
            mask = from_coco(annotation.segmentation, entry.height, entry.width)
        except InputError as error:
            notes.append(f"annotation {annotation.id}: {error}")
        else:
            score = 1.0 if annotation.score is None else annotation.score
            objects.append(to_object(mask, annotation.category.name, score))
    crowds = sum(annotation.crowd for annotation in annotations)
    if crowds:
        notes.append(f"{crowds} crowd regions")
    return objects, notes


def checked_size(image: ImageInput) -> tuple[int, int]:
    """(height, width) of an image that can be read to its end."""
    if image.problem:
        raise InputError(image.problem)
    height, width, _ = load_image(image.path).shape
    return height, width


def said(error: InputError, *prefixes: Path) -> str:
    """The message without directories: rows must not depend on where the data set lies."""
    message = str(error)
    for prefix in prefixes:
        message = message.removeprefix(f"{prefix}: ").removeprefix(f"{prefix}/")
    return message
