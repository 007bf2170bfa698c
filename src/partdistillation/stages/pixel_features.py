"""What pixels are compared by (section 4.2): an encoder's features, several encoders', or a control's."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize, pad

from partdistillation.config import PixelsConfig, Recipe
from partdistillation.data.canvas import STRIDE, padded_size
from partdistillation.errors import ConfigError
from partdistillation.functional.grouping import combine_levels
from partdistillation.models.encoder import Encoder
from partdistillation.models.pretrained import read_config
from partdistillation.models.sources import pinned, resolve
from partdistillation.runs.manifest import Json

FeatureMap = Float[Tensor, "channel rows columns"]


@dataclass(frozen=True, eq=False)
class PixelFeatures:
    """Turns an image of the working size into its feature map."""

    extract: Callable[[UInt8[np.ndarray, "height width 3"]], FeatureMap]
    stride: int = STRIDE
    """The map covers the image padded, to the right and below, to multiples of this."""

    def __call__(self, image: UInt8[np.ndarray, "height width 3"]) -> FeatureMap:
        return self.extract(image)

    def padded(self, masks: Bool[np.ndarray, "object h w"]) -> Bool[Tensor, "object height width"]:
        """Masks of the working size on the field that the map covers."""
        height, width = masks.shape[1:]
        rows, columns = padded_size(height, width, self.stride)
        return torch.from_numpy(np.pad(masks, ((0, 0), (0, rows - height), (0, columns - width))))


def encoders_of(recipe: Recipe) -> tuple[str, ...]:
    """All that a run looks at photographs with."""
    return tuple(dict.fromkeys([*encoder_names(recipe.encoder, recipe.segments), recipe.encoder]))


def encoder_names(encoder: str, config: PixelsConfig) -> tuple[str, ...]:
    """The encoders whose features are compared: the settings' own, or else the recipe's."""
    return config.encoders or (encoder,)


def encoder_settings(encoder: str, config: PixelsConfig) -> dict[str, Json]:
    """What a stage's fingerprint says of the encoders: of published ones the commit; files are upstream."""
    return {"encoder": list(map(pinned, config.encoders)) or pinned(encoder)}


def encoder_files(encoder: str, config: PixelsConfig) -> list[Path]:
    """The folders of the encoders that aren't published ones."""
    return [file for name in encoder_names(encoder, config) for file in resolve(name).files]


def make_features(encoder: str, config: PixelsConfig, device: torch.device) -> PixelFeatures:
    """The trained encoders' features, or a control's.

    Raises:
        CheckpointError: an encoder can't be loaded.
        ConfigError: an encoder has none of the levels.
    """
    if config.features == "rgb_xy":
        return PixelFeatures(colour_and_position)
    encoders = [load_encoder(name, config.levels, device) for name in encoder_names(encoder, config)]
    if config.features == "random":
        encoders = [Encoder.random(trained, config.seed) for trained in encoders]
    stride = math.lcm(*(trained.stride for trained in encoders))
    extract = partial(encoder_features, encoders, unit=config.level_norm == "unit", stride=stride)
    return PixelFeatures(extract, stride)


def load_encoder(name: str, levels: Sequence[int], device: torch.device) -> Encoder:
    """A Mask2Former's, a plain backbone, or that of a Detic that was converted (supplement, table 4)."""
    from partdistillation.objects.detic.config import MODEL_TYPE
    from partdistillation.objects.detic.files import load

    source = resolve(name).path
    if read_config(source).get("model_type") != MODEL_TYPE:
        return Encoder.from_pretrained(source, levels=levels, device=device)
    if 2 in levels:
        raise ConfigError(f"segments.levels: expected some of 3, 4, 5, as {name} is a Detic, found {levels}")
    network = load(Path(source))
    mean, std = network.config.pixel_mean, network.config.pixel_std
    return Encoder(network.backbone, levels=levels, mean=mean, std=std, device=device)


def encoder_features(
    encoders: Sequence[Encoder], image: UInt8[np.ndarray, "height width 3"], *, unit: bool, stride: int
) -> FeatureMap:
    """All levels of all encoders, the coarser ones upsampled to the finest, concatenated.

    With `unit` each level is scaled to unit length at every pixel first: in networks whose blocks end
    linearly the levels differ in scale 10 to 1, and only the largest would be read.
    """
    maps = [level[0] for encoder in encoders for level in encoder.levels([image], stride=stride)]
    return combine_levels([normalize(level, dim=0) for level in maps] if unit else maps)


def colour_and_position(image: UInt8[np.ndarray, "height width 3"]) -> FeatureMap:
    """A control without learning: RGB and (x, y), in 0..1, at 1/4 of the size, padded like an encoder's."""
    colour = torch.from_numpy(image).movedim(-1, 0).float()[None] / 255
    colour = pad(colour, (0, -image.shape[1] % STRIDE, 0, -image.shape[0] % STRIDE), mode="replicate")
    colour = avg_pool2d(colour, 4)[0]
    y, x = (torch.arange(size, dtype=torch.float32) for size in colour.shape[1:])
    longest = max(image.shape[:2]) / 4
    position = torch.stack(torch.meshgrid(x, y, indexing="xy")) / longest
    return torch.cat([colour, position])
