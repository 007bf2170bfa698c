"""The numbers of a Detic network: what its weights' shapes tell, and what they don't."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from partdistillation.data.canvas import IMAGENET_MEAN, IMAGENET_STD
from partdistillation.errors import CheckpointError
from partdistillation.models.folders import check_numbers, read_json

MODEL_TYPE = "partdistillation-detic"
"""`model_type` in config.json, which tells a Detic from other models."""

STRIDES = (8, 16, 32, 64, 128)
"""Of the pyramid's levels p3 to p7: fixed in the authors' code."""

POOLED_STRIDES = STRIDES[:3]
"""Of the levels that boxes read their features from."""

Weights4 = tuple[float, float, float, float]


@dataclass(frozen=True)
class DeticConfig:
    """The defaults are those of `Detic_LCOCOI21k_CLIP_SwinB_896b32_4x_ft4x_max-size`.

    Images had 896 pixels in its training; it is tested with the shortest side resized to 800.
    """

    embed_dim: int = 128
    """Swin: channels of the first stage."""
    depths: tuple[int, ...] = (2, 2, 18, 2)
    """Swin: blocks a stage."""
    num_heads: tuple[int, ...] = (4, 8, 16, 32)
    """Swin: attention heads a stage."""
    window_size: int = 7
    """Swin: side of an attention window, in cells."""
    mlp_ratio: float = 4.0
    """Swin: hidden channels of the feed-forward layers, over a stage's channels."""
    patch_size: int = 4
    """Swin: side of a patch, in pixels."""
    pyramid_channels: int = 256
    """Channels of p3 to p7."""
    proposal_convs: int = 4
    """Convolutions before CenterNet's predictions."""
    fc_dims: tuple[int, ...] = (1024, 1024)
    """Widths of the fully connected layers of a cascade stage."""
    embedding_dim: int = 512
    """Width of class embeddings (CLIP ViT-B/32's)."""
    box_resolution: int = 7
    """Bins along an axis of what a cascade stage reads."""
    mask_convs: int = 4
    """Convolutions of the mask head."""
    mask_channels: int = 256
    """Their channels."""
    mask_resolution: int = 14
    """Bins along an axis of what the mask head reads; masks have twice as many pixels."""
    delta_weights: tuple[Weights4, ...] = (
        (10.0, 10.0, 5.0, 5.0),
        (20.0, 20.0, 10.0, 10.0),
        (30.0, 30.0, 15.0, 15.0),
    )
    """For each cascade stage, what its box deltas are multiplied by."""
    temperature: float = 50.0
    """Class logits are the cosine times this."""
    heat_threshold: float = 1e-4
    """Probability over which a cell of the heat map may propose a box."""
    proposals_per_level: int = 1000
    """At most, before non-maximum suppression."""
    proposal_nms: float = 0.9
    """IoU over which the worse of two proposals goes."""
    proposals: int = 256
    """At most, an image."""
    score_threshold: float = 0.02
    """Over which a detection counts."""
    detection_nms: float = 0.5
    """IoU over which the worse of two detections of a class goes."""
    max_detections: int = 300
    """At most, an image."""
    min_size: int = 800
    """Images are resized to this shortest side, in pixels,"""
    max_size: int = 1333
    """but no longer than this."""
    pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    """Of the RGB channels, scaled to 0..1."""
    pixel_std: tuple[float, float, float] = IMAGENET_STD

    def resized_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of an image of this size when the network sees it, as detectron2 rounds it."""
        scale = self.min_size / min(height, width)
        sides = (scale * height, scale * width)
        if max(sides) > self.max_size:
            shrink = self.max_size / max(sides)
            sides = (sides[0] * shrink, sides[1] * shrink)
        return max(int(sides[0] + 0.5), 1), max(int(sides[1] + 0.5), 1)

    def to_json(self) -> str:
        """The text of config.json."""
        return json.dumps({"model_type": MODEL_TYPE, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> "DeticConfig":
        """From a model directory's config.json.

        Raises:
            CheckpointError: it can't be read, is another model's, or lacks a field or has one too many.
        """
        values = read_json(path)
        check_numbers(values, path)
        kind = values.pop("model_type", None)
        if kind != MODEL_TYPE:
            raise CheckpointError(f"{path}: expected the model_type {MODEL_TYPE!r}, found {kind!r}.")
        expected = {field.name for field in fields(cls)}
        if set(values) != expected:
            differing = ", ".join(sorted(expected ^ set(values)))
            raise CheckpointError(f"{path}: expected a Detic's settings; missing or unknown: {differing}.")
        return cls.of(values)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "DeticConfig":
        """From plain values, whose lists become tuples."""
        return cls(**{name: _frozen(value) for name, value in values.items()})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
