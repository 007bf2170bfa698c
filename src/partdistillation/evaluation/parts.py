"""What an evaluation reads: an image's true and predicted parts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from partdistillation.errors import InputError


@dataclass(frozen=True, eq=False)
class TruePart:
    """A part of the ground truth: `name` within the object class `category`."""

    category: str
    name: str
    mask: Bool[np.ndarray, "height width"]


@dataclass(frozen=True, eq=False)
class PredictedPart:
    """A predicted part; with `part=None` a proposal or segment, which has a recall but no mIoU."""

    category: str
    mask: Bool[np.ndarray, "height width"]
    score: float
    part: int | None = None
    object_id: int = 0


@dataclass(frozen=True, eq=False)
class ImageParts:
    """An image's parts; all masks have the image's size (InputError if they differ)."""

    ground_truth: Sequence[TruePart]
    predictions: Sequence[PredictedPart]
    image_id: str = ""

    def __post_init__(self) -> None:
        sizes = {part.mask.shape for part in self.ground_truth} | {
            part.mask.shape for part in self.predictions
        }
        if len(sizes) > 1:
            raise InputError(
                f"Expected masks of one size in image {self.image_id!r}, found {sorted(sizes)}; "
                "resize the predictions to the ground truth's size."
            )
