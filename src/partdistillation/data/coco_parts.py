"""Ground-truth parts of an image, and which object each belongs to. Only evaluation reads them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool
from scipy.optimize import linear_sum_assignment

from partdistillation.data.coco import CocoDataset, CocoImage, Id
from partdistillation.errors import InputError
from partdistillation.functional.masks import EncodedMask, decoded, encoded_from_coco, pairwise_iou


@dataclass(frozen=True, eq=False)
class GroundTruthPart:
    """One annotated region of a part; an object may have several of the same name (each wheel its own)."""

    category: str
    """The object class."""
    name: str
    """The part's name within its object class: `Wheel`, where the file says `Car Wheel`."""
    object_id: Id | None
    """Tells the objects of a class in one image apart, where the file says it."""
    encoded: EncodedMask

    @cached_property
    def mask(self) -> Bool[np.ndarray, "height width"]:
        return decoded(self.encoded)


def parts_of(dataset: CocoDataset, image: CocoImage) -> tuple[GroundTruthPart, ...]:
    """The parts of an image of `read_parts`, in the file's order; crowd regions are skipped.

    Raises InputError where anything about the image or its parts is unusable: a score against ground truth
    with silent gaps would be wrong.
    """
    where = f"{dataset.path}: image {image.id!r} ({image.file_name})"
    annotations, unusable = dataset.annotations_of(image)
    problems = [image.problem] if image.problem else unusable
    if problems:
        raise InputError(f"{where}: {'; '.join(problems)}; mend the file or leave the image out")
    parts = []
    for annotation in annotations:
        if annotation.crowd:
            continue
        try:
            mask = encoded_from_coco(annotation.segmentation, image.height, image.width)
        except InputError as error:
            raise InputError(f"{where}: annotation {annotation.id!r}: {error}") from error
        category = annotation.category.supercategory
        name = annotation.category.name.removeprefix(f"{category} ")
        parts.append(GroundTruthPart(category, name, annotation.object_id, mask))
    return tuple(parts)


def tie_parts(
    parts: Sequence[GroundTruthPart],
    categories: Sequence[str],
    masks: Bool[np.ndarray, "object height width"],
) -> list[int]:
    """For every part, the index of the object (class `categories[i]`, `masks[i]`) it belongs to, or -1.

    Parts of one `object_id` stay together and go to one object of their class: the assignment with the
    largest sum of IoUs between objects and unions of parts. A part without `object_id` goes to the object of
    its class, and where there are several to the one it overlaps most.
    """
    tied = [-1] * len(parts)
    groups: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, part in enumerate(parts):
        candidates = [i for i, category in enumerate(categories) if category == part.category]
        if part.object_id is not None:
            groups[part.category][str(part.object_id)].append(index)
        elif len(candidates) == 1:
            tied[index] = candidates[0]
        elif candidates:
            overlap = np.count_nonzero(masks[candidates] & part.mask, axis=(1, 2))
            tied[index] = candidates[int(overlap.argmax())] if overlap.any() else -1
    for category, of_class in groups.items():
        candidates = [i for i, name in enumerate(categories) if name == category]
        unions = np.stack([np.any([parts[i].mask for i in members], axis=0) for members in of_class.values()])
        iou = pairwise_iou(unions, masks[candidates])
        for group, column in zip(*linear_sum_assignment(iou, maximize=True), strict=True):
            if iou[group, column] > 0:
                for index in list(of_class.values())[group]:
                    tied[index] = candidates[column]
    return tied
