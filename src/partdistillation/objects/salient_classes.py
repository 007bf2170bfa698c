"""What stands out in a photograph, with its class: the one whose objects look most like it.

Saliency knows no classes, and a new photograph lies in no class folder. So a part model that was learned from
salient objects keeps what the objects of each class looked like to its encoder, on average.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from safetensors.numpy import load_file

from partdistillation.config import Device
from partdistillation.errors import CheckpointError
from partdistillation.functional.masks import decode
from partdistillation.objects.salient import SalientObjects
from partdistillation.runs.digests import require_whole
from partdistillation.runs.records import Object
from partdistillation.runs.tensor_keys import name_of

FILE = "class_means.safetensors"

Means = Mapping[str, Float[np.ndarray, " dim"]]
"""Of each class the mean of its objects' features, of unit length."""
_Pixels = UInt8[np.ndarray, "_ _ 3"]
FeatureOf = Callable[[_Pixels, Bool[np.ndarray, "_ _"]], Float[np.ndarray, " dim"]]
"""From an image and a mask to what the part model's encoder sees inside, of unit length."""


class NamedSalientObjects:
    """The ObjectSegmenter of one object a photograph, of the class whose objects it is most like."""

    def __init__(self, salient: SalientObjects, feature_of: FeatureOf, means: Means) -> None:
        """`feature_of` is of the network that the means were found with."""
        self._salient, self._feature_of, self._means = salient, feature_of, means

    @classmethod
    def from_pretrained(
        cls, folder: Path, feature_of: FeatureOf, device: Device = "auto"
    ) -> "NamedSalientObjects":
        """What a part model's folder has: a saliency network's file and the means.

        Raises:
            CheckpointError: the file or the means are missing or damaged.
        """
        require_whole(folder)
        files = sorted(folder.glob("*.onnx"))
        try:
            means = {name_of(key): values for key, values in load_file(folder / FILE).items()}
        except Exception as error:  # safetensors has its own
            raise CheckpointError(
                f"{folder / FILE}: expected the means of object classes: {error}"
            ) from error
        if len(files) != 1 or len({values.shape for values in means.values()}) != 1:
            raise CheckpointError(
                f"{folder}: expected the .onnx file of a saliency network and {FILE}, found "
                f"{len(files)} such files and {len(means)} classes"
            )
        return cls(SalientObjects.from_pretrained(str(files[0]), device), feature_of, means)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The classes whose objects it has seen."""
        return tuple(self._means)

    def saliency(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[Float32[np.ndarray, "_ _"]]:
        """How much every pixel of each image stands out, 0..1."""
        return self._salient.saliency(images)

    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], class_names: Sequence[str]
    ) -> list[list[Object]]:
        """For each image what stands out in it, as an object of one of the classes."""
        found = self._salient(images, ["object"]) if class_names else [[] for _ in images]
        return [
            [self._named(salient, image, class_names) for salient in objects]
            for objects, image in zip(found, images, strict=True)
        ]

    def _named(self, salient: Object, image: _Pixels, class_names: Sequence[str]) -> Object:
        mask = decode(salient.rle, *image.shape[:2])
        feature = self._feature_of(image, mask)
        likeness = [float(feature @ self._means[name]) for name in class_names]
        category = class_names[int(np.argmax(likeness))]
        return replace(salient, category=category)
