"""Plain vision transformers (ViT): maps of one scale, whatever the layer; CLIP's and SAM's as backbones.

The stages of a usual backbone halve the map, so their levels have strides 4, 8, 16 and 32. A plain ViT cuts
the image into patches once: it has one level, named after the stride that is nearest to its patch.
"""

import math
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPVisionModel, SamVisionModel
from transformers.modeling_outputs import BackboneOutput

_STAGE = "stage"
"""What the only map of CLIP's and SAM's is called."""


class Grid(NamedTuple):
    """How a plain ViT divides an image."""

    stride: int
    """Pixels between two places of its map: the side of a patch."""
    multiple: int
    """What both sides of an image must be multiples of."""
    level: int
    """What the map is called: 4 for strides 12 to 22, as 1/16 of the image's size in a usual backbone."""


def grid_of(config: Any) -> Grid | None:
    """How the ViT of a configuration divides an image; None for a backbone whose stages halve the map."""
    patch = getattr(config, "patch_size", None)
    sides = tuple(patch) if isinstance(patch, list | tuple) else (patch, patch)
    if hasattr(config, "depths") or sides[0] != sides[1] or not isinstance(sides[0], int):
        return None
    level = min(max(round(math.log2(sides[0])), 2), 5)
    return Grid(sides[0], config.image_size if config.model_type == SamMaps.model_type else sides[0], level)


class _OneMap(nn.Module):
    """A ViT that transformers has no backbone of, as one."""

    model_type: str
    model_class: Any

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, _with_stage(model.config)


class ClipMaps(_OneMap):
    """CLIP's ViT as a backbone of one map; its class token is left out."""

    model_type = "clip_vision_model"
    model_class = CLIPVisionModel

    def forward(self, pixel_values: Float[Tensor, "batch 3 height width"]) -> BackboneOutput:
        """The last layer's map."""
        tokens = self.model(pixel_values, interpolate_pos_encoding=True).last_hidden_state[:, 1:]
        height, width = (size // self.config.patch_size for size in pixel_values.shape[2:])
        return _output(tokens.transpose(1, 2).unflatten(2, (height, width)))


class SamMaps(_OneMap):
    """SAM's ViT as a backbone of one map. Its positions are of one size: images are padded to that."""

    model_type = "sam_vision_model"
    model_class = SamVisionModel

    def forward(self, pixel_values: Float[Tensor, "batch 3 height width"]) -> BackboneOutput:
        """The map behind its neck."""
        return _output(self.model(pixel_values).last_hidden_state)


MAPS: dict[str, type[_OneMap]] = {kind.model_type: kind for kind in (ClipMaps, SamMaps)}
"""By the model type of their configuration."""


def vision_part(config: Any) -> Any:
    """Of a configuration of CLIP or SAM that of their ViT, any other as it is."""
    part = getattr(config, "vision_config", None)
    return _with_stage(part) if getattr(part, "model_type", None) in MAPS else config


def _with_stage(config: Any) -> Any:
    config.stage_names = config.out_features = [_STAGE]
    return config


def _output(level: Tensor) -> BackboneOutput:
    maps: Any = (level,)
    return BackboneOutput(feature_maps=maps)
