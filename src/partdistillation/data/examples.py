"""Training examples: photographs with labelled masks, augmented on a square canvas."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8

from partdistillation.config import TrainingConfig
from partdistillation.data.images import load_image_of
from partdistillation.data.transforms import augment, draw_augmentation
from partdistillation.errors import InputError
from partdistillation.functional.masks import decode


@dataclass(frozen=True)
class LabelledMask:
    """A mask to learn: an object (stage 0), a segment (stage 3) or a part (stage 5)."""

    rle: bytes
    label: int
    """Class of the mask, among those of its object class."""
    object_class: int = 0
    """Index of the class whose rows of the head it is scored with; 0 where there is one set of rows."""


@dataclass(frozen=True)
class LabelledImage:
    """An image of the training set, as compact as its rows on disk."""

    file_name: str
    height: int
    width: int
    masks: tuple[LabelledMask, ...]


class Example(NamedTuple):
    """One augmented image with its targets. Masks that fell outside the crop are gone."""

    image: UInt8[np.ndarray, "size size 3"]
    masks: Bool[np.ndarray, "target size size"]
    labels: Int[np.ndarray, " target"]
    groups: Int[np.ndarray, " target"]
    """Each target's index into `object_classes`."""
    object_classes: tuple[int, ...]
    """The object classes of the image's masks before the crop, each once, ascending."""


class LabelledImages:
    """The Samples of `training.train` for every stage that learns masks."""

    def __init__(self, root: Path, images: Sequence[LabelledImage], config: TrainingConfig) -> None:
        if not images:
            raise InputError(
                "expected images with masks to learn, found none: every image was rejected, or its "
                "masks are smaller than the settings' min_object_area and min_mask_area"
            )
        self.root, self.images, self.config = root, images, config

    def __len__(self) -> int:
        return len(self.images)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """The augmented image at `index`, with the masks that the crop has left something of."""
        image = self.images[index]
        size = self.config.image_size
        pixels = load_image_of(self.root / image.file_name, image.height, image.width)
        augmentation = draw_augmentation(
            rng,
            image.height,
            image.width,
            size=size,
            scale_min=self.config.scale_min,
            scale_max=self.config.scale_max,
            flip=self.config.flip,
        )
        masks = np.zeros((len(image.masks), image.height, image.width), np.bool_)
        for place, mask in enumerate(image.masks):
            masks[place] = decode(mask.rle, image.height, image.width)
        augmented = augment(pixels, masks, augmentation)
        kept = np.flatnonzero(augmented.areas)
        classes = sorted({mask.object_class for mask in image.masks})
        return Example(
            augmented.image,
            augmented.masks[kept],
            np.array([image.masks[place].label for place in kept], np.int64),
            np.array([classes.index(image.masks[place].object_class) for place in kept], np.int64),
            tuple(classes),
        )
