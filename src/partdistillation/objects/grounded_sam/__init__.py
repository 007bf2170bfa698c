"""Objects by name from two published models: one finds boxes for class names, the other segments boxes.

The boxes are Grounding DINO's, MM-Grounding DINO's or OWLv2's, the masks SAM's or SAM 2's. Any class name can
be asked for. An object's score is its box's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from partdistillation.config import Device
from partdistillation.models.devices import choose_device
from partdistillation.objects import to_object
from partdistillation.objects.grounded_sam.box_segmenters import BoxSegmenter
from partdistillation.objects.grounded_sam.detections import best
from partdistillation.objects.grounded_sam.text_detectors import TextDetector, load_detector
from partdistillation.runs.records import Object

DETECTOR = "IDEA-Research/grounding-dino-base"
SEGMENTER = "facebook/sam2.1-hiera-large"


@dataclass(frozen=True, eq=False)
class GroundedSamObjects:
    """The ObjectSegmenter that asks a detector for boxes and a second model for their masks.

    Images are taken one at a time: detectors and segmenters of this size fill a device with one.
    """

    detector: TextDetector
    segmenter: BoxSegmenter
    min_score: float
    """Objects below this score are left out."""

    @classmethod
    def from_pretrained(
        cls,
        detector: str | Path = DETECTOR,
        segmenter: str | Path = SEGMENTER,
        *,
        min_score: float,
        device: Device = "auto",
    ) -> "GroundedSamObjects":
        """Load both models, each a directory or a published one's name; `config.json` tells which they are.

        Raises:
            CheckpointError: one can't be loaded, or isn't of a kind named above.
        """
        place = choose_device(device)
        return cls(load_detector(detector, place), BoxSegmenter.from_pretrained(segmenter, place), min_score)

    @property
    def vocabulary(self) -> None:
        """None: any name can be asked for."""

    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], class_names: Sequence[str]
    ) -> list[list[Object]]:
        """For each image its objects of the named classes, best first, at most `detections.MOST_BOXES`.

        Raises:
            InputError: the detector can't read a class name.
        """
        names = tuple(dict.fromkeys(class_names))
        if not names:
            return [[] for _ in images]
        return [self._objects(image, names) for image in images]

    def _objects(self, image: UInt8[np.ndarray, "height width 3"], names: Sequence[str]) -> list[Object]:
        height, width = image.shape[:2]
        detections = best(self.detector(image, names), height, width, min_score=self.min_score)
        masks = self.segmenter(image, detections.boxes)
        # encoded one by one: a hundred masks of a large photograph take gigabytes
        return [
            to_object(mask, names[label], score)
            for mask, label, score in zip(
                masks, detections.labels.tolist(), detections.scores.tolist(), strict=True
            )
            if mask.any()
        ]
