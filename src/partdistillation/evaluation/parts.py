"""What an evaluation reads: an image's true and predicted parts."""

from collections.abc import Sequence
from dataclasses import dataclass

from partdistillation.errors import InputError
from partdistillation.functional.masks import Mask


@dataclass(frozen=True, eq=False)
class TruePart:
    """A part of the ground truth: `name` within the object class `category`."""

    category: str
    name: str
    mask: Mask


@dataclass(frozen=True, eq=False)
class PredictedPart:
    """A predicted part; with `part=None` a proposal or segment, which has a recall but no mIoU."""

    category: str
    mask: Mask
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
        parts: list[TruePart | PredictedPart] = [*self.ground_truth, *self.predictions]
        sizes = {part.mask.shape for part in parts}
        if len(sizes) > 1:
            raise InputError(
                f"Expected masks of one size in image {self.image_id!r}, found {sorted(sizes)}; "
                "resize the predictions to the ground truth's size."
            )
