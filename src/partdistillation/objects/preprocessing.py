"""Images as published models want them: resized, normalized, padded. transformers has it with torchvision."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from transformers.image_processing_base import ImageProcessingMixin
from transformers.image_transforms import get_size_with_aspect_ratio

from partdistillation.errors import CheckpointError
from partdistillation.models.folders import MOST_PIXELS, check_numbers, check_object

_FILES = ("processor_config.json", "preprocessor_config.json")
_STEPS = ("do_resize", "do_rescale", "do_normalize")


class Exact(NamedTuple):
    """Resize to this size, whatever the aspect ratio (SAM 2, SAM 3)."""

    height: int
    width: int


class Longest(NamedTuple):
    """Resize so that the longest side has this many pixels (SAM)."""

    longest: int


class Shortest(NamedTuple):
    """Resize so that the shortest side has `shortest` pixels, or the longest `longest` (DETR's family)."""

    shortest: int
    longest: int


class Prepared(NamedTuple):
    """A batch: each image in the top left corner, zeros right of it and below."""

    pixels: Float[Tensor, "image 3 height width"]
    inside: Bool[Tensor, "image height width"]
    """Where the image is, and not padding."""
    sizes: tuple[tuple[int, int], ...]
    """(height, width) of each image in `pixels`."""


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images."""

    size: Exact | Longest | Shortest
    mean: tuple[float, float, float]
    """Of the RGB channels, scaled to 0..1."""
    std: tuple[float, float, float]
    resample: Image.Resampling = Image.Resampling.BILINEAR
    canvas: tuple[int, int] | None = None
    """(height, width) that every image is padded to; the batch's largest, if not given."""

    def __post_init__(self) -> None:
        largest = self.size if isinstance(self.size, Exact) else (max(self.size), max(self.size))
        sides = (*self.size, *(self.canvas or ()))
        if min(sides) < 1 or max(sides) > MOST_PIXELS:
            raise ValueError(f"expected sides from 1 to {MOST_PIXELS} pixels, found {sides}")
        if self.canvas is not None and (self.canvas[0] < largest[0] or self.canvas[1] < largest[1]):
            raise ValueError(f"expected a canvas of at least {largest}, found {self.canvas}")

    @classmethod
    def from_pretrained(cls, source: str | Path, default: "Preprocessing") -> "Preprocessing":
        """What the model's `processor_config.json` or `preprocessor_config.json` says.

        Args:
            source: a model directory, or a published model's name.
            default: for what the files don't say, and for a directory without them.

        Raises:
            CheckpointError: the files can't be read, or ask for something else than resizing and normalizing.
        """
        settings = _read_settings(source)
        skipped = [step for step in _STEPS if not settings.get(step, True)]
        if skipped:
            raise CheckpointError(
                f"{source}: expected image settings with {skipped[0]}, found it switched off"
            )
        try:
            return replace(default, **_parse_settings(settings))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{source}: its image settings can't be used: {error!r}") from error

    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], *, device: torch.device | None = None
    ) -> Prepared:
        """Resize, normalize and pad at least one image."""
        small = [self._resized(image) for image in images]
        sizes = tuple((image.shape[0], image.shape[1]) for image in small)
        height, width = self.canvas or tuple(max(side) for side in zip(*sizes, strict=True))
        pixels = torch.zeros(len(small), 3, height, width, device=device)
        inside = torch.zeros(len(small), height, width, dtype=torch.bool, device=device)
        mean = torch.tensor(self.mean, device=device)[:, None, None]
        std = torch.tensor(self.std, device=device)[:, None, None]
        for row, (image, (bottom, right)) in enumerate(zip(small, sizes, strict=True)):
            values = torch.from_numpy(image).to(device).permute(2, 0, 1) / 255
            pixels[row, :, :bottom, :right] = (values - mean) / std
            inside[row, :bottom, :right] = True
        return Prepared(pixels, inside, sizes)

    def resized_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of an image after resizing, rounded as the model's own preprocessing does."""
        match self.size:
            case Exact():
                return self.size.height, self.size.width
            case Longest(longest):
                scale = longest / max(height, width)
                size = int(height * scale + 0.5), int(width * scale + 0.5)
            case Shortest(shortest, longest):
                size = get_size_with_aspect_ratio((height, width), shortest, longest)
        return max(size[0], 1), max(size[1], 1)  # a strip of an image has no less than a row

    def _resized(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
        height, width = self.resized_size(image.shape[0], image.shape[1])
        return np.array(Image.fromarray(image).resize((width, height), self.resample))


def _read_settings(source: str | Path) -> dict[str, Any]:
    directory = Path(source)
    if directory.is_dir() and not any((directory / name).is_file() for name in _FILES):
        return {}
    try:
        settings = check_object(ImageProcessingMixin.get_image_processor_dict(source)[0], source)
    except Exception as error:  # transformers and the hub client each have their own
        raise CheckpointError(
            f"{source}: expected image settings in {' or '.join(_FILES)}; they can't be read: {error}"
        ) from error
    check_numbers(settings, source)
    return settings


def _parse_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The fields of `Preprocessing` that the settings have a value for."""
    fields: dict[str, Any] = {}
    if settings.get("size") is not None:
        fields["size"] = _parse_size(settings["size"])
    for field, name in (("mean", "image_mean"), ("std", "image_std")):
        if settings.get(name) is not None:
            red, green, blue = settings[name]
            fields[field] = (float(red), float(green), float(blue))
    if settings.get("resample") is not None:
        fields["resample"] = Image.Resampling(settings["resample"])
    if settings.get("pad_size") is not None:
        fields["canvas"] = (int(settings["pad_size"]["height"]), int(settings["pad_size"]["width"]))
    return fields


def _parse_size(size: dict[str, int]) -> Exact | Longest | Shortest:
    match size:
        case {"height": int(height), "width": int(width)}:
            return Exact(height, width)
        case {"shortest_edge": int(shortest), "longest_edge": int(longest)}:
            return Shortest(shortest, longest)
        case {"longest_edge": int(longest)}:
            return Longest(longest)
    raise ValueError(f"size: expected height and width, longest_edge, or both edges; found {size}")
