"""What stands out in a photograph as its one object: a saliency network that knows no classes.

U-2-Net, IS-Net or BiRefNet as ONNX files, as the `rembg` project names and publishes them. The class comes
from the photograph's folder, so a photograph is asked for one class. What such a network can't do: tell
several objects apart, or find one that fills the picture or hardly shows in it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image
from scipy import ndimage

from partdistillation.config import Device
from partdistillation.data.canvas import IMAGENET_MEAN, IMAGENET_STD
from partdistillation.errors import CheckpointError, ConfigError
from partdistillation.models.onnx_sessions import open_session
from partdistillation.objects import to_object
from partdistillation.objects.saliency_weights import weights_file
from partdistillation.runs.records import Object

THRESHOLD = 0.5
MIN_SHARE, MAX_SHARE = 0.005, 0.95
"""Of the image: less of it stands out by chance, and more is no object in a picture."""
NOTHING_SALIENT = "nothing stands out as one object (of .5 % to 95 % of the image)"

_SIZE = 320
"""Of U-2-Net's input, where the file takes any."""


class Scaling(NamedTuple):
    """How a network reads colours, in 0..1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_IMAGENET = Scaling(IMAGENET_MEAN, IMAGENET_STD)
_ISNET = Scaling((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))


class SalientObjects:
    """The ObjectSegmenter of one object a photograph."""

    vocabulary = None

    def __init__(self, session: Any, scaling: Scaling, origin: str) -> None:
        """Wrap an onnxruntime session; `origin` is for messages.

        Raises:
            CheckpointError: its inputs or outputs aren't those of a saliency network.
        """
        self._session, self._scaling = session, scaling
        inputs, outputs = session.get_inputs(), session.get_outputs()
        shape, output = inputs[0].shape, outputs[0].shape
        if len(inputs) != 1 or not _is_map(shape, channels=3) or not _is_map(output, channels=1):
            raise CheckpointError(
                f"{origin}: expected a saliency network, from images (1, 3, height, width) to a map "
                f"(1, 1, height, width); found {[entry.shape for entry in inputs]} to {output}"
            )
        self._input = inputs[0].name
        height, width = (side if isinstance(side, int) else _SIZE for side in shape[2:])
        self._size = width, height
        self._batched = not isinstance(shape[0], int)

    @classmethod
    def from_pretrained(cls, model: str = "", device: Device = "auto") -> "SalientObjects":
        """The network of an ONNX file, or of a name that `rembg` has; by default `u2netp`.

        Raises:
            CheckpointError: the file isn't there or isn't a saliency network's, or onnxruntime isn't
                installed.
        """
        path = weights_file(model)
        session = open_session(path, device, extra="photos", threads=1)  # processes share the cores
        return cls(session, _ISNET if path.name.startswith("isnet") else _IMAGENET, str(path))

    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], class_names: Sequence[str]
    ) -> list[list[Object]]:
        """For each image what stands out in it, as an object of the one class that is asked for.

        Raises:
            ConfigError: several classes are asked for, which saliency can't tell apart.
        """
        if not images:
            return []
        if len(class_names) != 1:
            raise ConfigError(
                "objects.source salient finds what stands out, not what it is; expected every photograph in "
                f"a folder named after its class, found some that may be any of {len(class_names)}"
            )
        masks = map(salient_mask, self.saliency(images))
        return [[] if mask is None else [to_object(mask, class_names[0], score)] for mask, score in masks]

    def saliency(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[Float32[np.ndarray, "_ _"]]:
        """How much every pixel of each image stands out, 0..1."""
        batch = np.stack([self._input_of(image) for image in images])
        batches = [batch] if self._batched else np.split(batch, len(batch))
        maps = np.concatenate([self._session.run(None, {self._input: part})[0][:, 0] for part in batches])
        return [_at_size(saliency, *image.shape[:2]) for saliency, image in zip(maps, images, strict=True)]

    def _input_of(self, image: UInt8[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "3 h w"]:
        small = np.asarray(Image.fromarray(image).resize(self._size, Image.Resampling.LANCZOS))
        values = small.astype(np.float32) / max(1, int(small.max()))
        mean, std = (np.array(numbers, np.float32) for numbers in self._scaling)
        return ((values - mean) / std).transpose(2, 0, 1)


def _is_map(shape: Sequence[object], *, channels: int) -> bool:
    return len(shape) == 4 and (shape[1] == channels or isinstance(shape[1], str))


def _at_size(
    saliency: Float32[np.ndarray, "h w"], height: int, width: int
) -> Float32[np.ndarray, "height width"]:
    if saliency.min() < 0 or saliency.max() > 1:  # BiRefNet's are logits
        saliency = 1 / (1 + np.exp(-saliency))
    whole = Image.fromarray(saliency.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(whole, np.float32)


def salient_mask(
    saliency: Float32[np.ndarray, "height width"],
) -> tuple[Bool[np.ndarray, "height width"] | None, float]:
    """The largest piece of what stands out, and its mean saliency; None where nothing does.

    As in U-2-Net's own use the most salient pixel counts as 1, but only if it is over the threshold itself.
    """
    highest, lowest = float(saliency.max()), float(saliency.min())
    if highest <= THRESHOLD or highest == lowest:
        return None, 0.0
    pieces, count = ndimage.label((saliency - lowest) / (highest - lowest) > THRESHOLD)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    mask = pieces == int(areas.argmax()) + 1
    if not MIN_SHARE <= mask.mean() <= MAX_SHARE:
        return None, 0.0
    return mask, float(saliency[mask].mean())
