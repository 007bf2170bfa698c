"""Mask AP of instance segmentation, by pycocotools' COCOeval: the number that published models are known by.

Fractions in 0..1; NaN = nothing to measure.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from partdistillation.data.coco import CocoDataset, CocoImage
from partdistillation.errors import InputError
from partdistillation.evaluation.tables import Grid, ScoreTables, percent
from partdistillation.functional.masks import EncodedMask, area, encoded_from_coco
from partdistillation.runs import terminal

AVERAGES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR@1", "AR@10", "AR@100", "ARs", "ARm", "ARl")
"""What COCOeval sums up, in its order; s, m, l: objects up to 32 x 32 pixels, up to 96 x 96, and larger."""

_log = terminal.logger(__name__)


class FoundInstance(NamedTuple):
    """A predicted object."""

    category: str
    score: float
    mask: EncodedMask


class ImageInstances(NamedTuple):
    """The objects predicted in an image of the ground truth, in any order; there may be none."""

    image: CocoImage
    instances: tuple[FoundInstance, ...]


@dataclass(frozen=True)
class MaskAp:
    """What a model's instances are worth on a data set."""

    images: int
    left_out: int
    """Images of the data set that nothing was predicted for, because they can't be used."""
    objects: int
    """True objects; crowd regions aren't counted: what overlaps them is neither right nor wrong."""
    predictions: int
    averages: Mapping[str, float]
    """By the names in `AVERAGES`."""
    categories: Mapping[str, float]
    """AP of each class that has true objects."""

    def tables(self, *, classes: bool = True) -> ScoreTables:
        """In percent: the averages, then the AP of every class; in JSON as fractions."""
        left_out = f" ({self.left_out} more can't be used)" if self.left_out else ""
        head = (
            f"Images: {self.images}{left_out}; true objects: {self.objects}; "
            f"predictions: {self.predictions}. Mask AP in percent."
        )
        averages = Grid([*self.averages], {"": [[*map(percent, self.averages.values())]]}, text_columns=())
        rows = [(name, percent(value)) for name, value in self.categories.items()]
        return ScoreTables(
            [head, averages, Grid(("class", "AP"), {"": rows})] if classes else [head, averages], vars(self)
        )


def score(truth: CocoDataset, predictions: Iterable[ImageInstances]) -> MaskAp:
    """COCO's mask AP of `predictions`, on the images that they are of.

    Categories are compared by name; predictions of others than the ground truth's are left out. True objects
    are small or large by the file's `area`, as COCO's own numbers are, or where it has none by their pixels.

    Raises:
        InputError: there are no images, an image comes twice, or a mask has another size than its image.
    """
    images: dict[str, CocoImage] = {}
    predicted: list[dict[str, Any]] = []
    names = dict.fromkeys(category.name for category in truth.categories)  # once each, in the file's order
    numbers = {name: number for number, name in enumerate(names, start=1)}
    for image, instances in predictions:
        if str(image.id) in images:
            raise InputError(f"expected each image once, found {image.file_name} again")
        images[str(image.id)] = image
        known = [instance for instance in instances if instance.category in numbers]
        predicted += [
            _prediction(len(images), image, numbers[instance.category], instance) for instance in known
        ]
    if not images:
        raise InputError(
            f"expected images of {truth.path} to measure mask AP on, found none that can be used"
        )
    true = _true_objects(truth, images, numbers)
    averages, classes = _evaluate(list(images.values()), list(numbers), true, predicted)
    return MaskAp(
        images=len(images),
        left_out=len(truth.images) - len(images),
        objects=sum(not annotation["iscrowd"] for annotation in true),
        predictions=len(predicted),
        averages=averages,
        categories={name: value for name, value in classes.items() if not math.isnan(value)},
    )


def _prediction(number: int, image: CocoImage, category: int, instance: FoundInstance) -> dict[str, Any]:
    if instance.mask.shape != (image.height, image.width):
        raise InputError(
            f"{image.file_name}: expected a mask of the image's size {image.height, image.width} (height, "
            f"width), found {instance.mask.shape}"
        )
    return {**_coco(number, category, instance.mask), "area": area(*instance.mask), "score": instance.score}


def _true_objects(
    truth: CocoDataset, images: Mapping[str, CocoImage], numbers: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Ids are numbered anew: COCOeval needs integers, and takes an object with the id 0 for none."""
    objects = []
    for number, image in enumerate(images.values(), start=1):
        for annotation in truth.of(image.id):
            try:
                mask = encoded_from_coco(annotation.segmentation, image.height, image.width)
            except InputError as error:
                _log.warning("%s: annotation %s is left out: %s", truth.path, annotation.id, error)
                continue
            size = area(*mask) if annotation.area is None else annotation.area
            values = _coco(number, numbers[annotation.category.name], mask)
            objects.append({**values, "area": size, "iscrowd": int(annotation.crowd)})
    return objects


def _coco(image: int, category: int, mask: EncodedMask) -> dict[str, Any]:
    segmentation = {"size": list(mask.shape), "counts": mask.counts}
    return {"image_id": image, "category_id": category, "segmentation": segmentation}


def _evaluate(
    images: Sequence[CocoImage],
    names: Sequence[str],
    true: Sequence[dict[str, Any]],
    predicted: Sequence[dict[str, Any]],
) -> tuple[dict[str, float], dict[str, float]]:
    """The averages, and the AP of every class."""
    with redirect_stdout(StringIO()):  # pycocotools prints
        evaluation: Any = COCOeval(_index(images, names, true), _index(images, names, predicted), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = (math.nan if value < 0 else float(value) for value in evaluation.stats)
    averages = dict(zip(AVERAGES, stats, strict=True))
    # threshold, recall, class, area range (all), detections an image (100)
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    return averages, {name: _mean(precision[:, :, place]) for place, name in enumerate(names)}


def _index(images: Sequence[CocoImage], names: Sequence[str], annotations: Sequence[dict[str, Any]]) -> Any:
    coco: Any = COCO()
    coco.dataset = {
        "images": [
            {"id": number, "height": image.height, "width": image.width}
            for number, image in enumerate(images, start=1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "annotations": [
            {"iscrowd": 0, **annotation, "id": number}
            for number, annotation in enumerate(annotations, start=1)
        ],
    }
    coco.createIndex()
    return coco


def _mean(precision: Float[np.ndarray, "threshold recall"]) -> float:
    return float(precision.mean()) if (precision >= 0).all() else math.nan  # -1 without true objects
