"""The network of the contrastive baseline: any encoder with DeepLab's head, a channel a part."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoBackbone, AutoConfig

from partdistillation.errors import CheckpointError
from partdistillation.models.encoder import load_encoder, normalize_images
from partdistillation.models.folders import check_numbers, read_json
from partdistillation.models.layers import hasten_resnet
from partdistillation.models.part_mask2former import fastest_memory_format
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.digests import require_whole
from partdistillation.runs.shards import file_name

CLASSES = "classes"
"""In the baseline's folder: a folder for each object class, that no class can share with anything else."""
MODEL = "model"
"""In a class's folder: its network."""
RATES = (6, 12, 18, 24)
"""Of DeepLab's atrous convolutions."""
FIRST_LEVEL = 1
"""Index of res3 among an encoder's four maps; this and the coarser ones are read."""

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_AUTO_BACKBONE: Any = AutoBackbone  # its methods are untyped
_AUTO_CONFIG: Any = AutoConfig


def class_folder(folder: Path, category: str) -> Path:
    """Where the network of an object class is learned, in the baseline's folder; safe whatever its name."""
    return folder / CLASSES / file_name(category)


class ContrastiveNet(nn.Module):
    """Part logits at 1/8 of the image's size."""

    def __init__(
        self,
        encoder: nn.Module,
        *,
        num_parts: int,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.encoder, self.num_parts, self.image_size = encoder, num_parts, image_size
        self.mean, self.std = tuple(mean), tuple(std)
        channels: Any = encoder.channels
        width = sum(channels[FIRST_LEVEL:])
        self.head = nn.ModuleList(
            nn.Conv2d(width, num_parts, kernel_size=3, padding=rate, dilation=rate) for rate in RATES
        )
        hasten_resnet(encoder)
        self._memory_format = fastest_memory_format(encoder)
        nn.Module.to(encoder, memory_format=self._memory_format)  # type: ignore[call-overload]

    @classmethod
    def on_encoder(
        cls, source: str | Path, *, num_parts: int, image_size: int, seed: int
    ) -> "ContrastiveNet":
        """The encoder of a Mask2Former, or a plain backbone, with a random head drawn from `seed`.

        Raises:
            CheckpointError: the encoder can't be loaded.
        """
        with torch.random.fork_rng():
            encoder, mean, std = load_encoder(source)
            torch.manual_seed(seed)
            network = cls(encoder, num_parts=num_parts, image_size=image_size, mean=mean, std=std)
            for convolution in network.head:
                nn.init.normal_(convolution.weight, std=0.01)  # type: ignore[arg-type]  # as DeepLab's
                nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        return network

    def train(self, mode: bool = True) -> "ContrastiveNet":
        """As nn.Module's, but the encoder's norms keep their statistics, and it drops nothing."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(
        self, images: Float[Tensor, "image 3 height width"]
    ) -> Float[Tensor, "image {self.num_parts} h w"]:
        """Logits of normalised images whose sides are multiples of 32."""
        maps = self.encoder(images.contiguous(memory_format=self._memory_format)).feature_maps[FIRST_LEVEL:]
        size = maps[0].shape[-2:]
        features = torch.cat(
            [functional.interpolate(level, size, mode="bilinear", align_corners=False) for level in maps],
            dim=1,
        )
        features = functional.instance_norm(features)  # or one part takes all (see the package)
        return torch.stack([convolution(features) for convolution in self.head]).sum(dim=0)

    def normalized(
        self, images: UInt8[Tensor, "image height width 3"]
    ) -> Float[Tensor, "image 3 height width"]:
        """Images as the encoder reads them."""
        return normalize_images(images, self.mean, self.std)

    def save(self, folder: Path, *, category: str) -> None:
        """Write `config.json` and `model.safetensors` into a new folder."""
        backbone: Any = self.encoder
        values = {
            "object_class": category,
            "num_parts": self.num_parts,
            "image_size": self.image_size,
            "pixel_mean": self.mean,
            "pixel_std": self.std,
            "backbone_config": backbone.config.to_dict(),
        }
        text = json.dumps(values, indent=1, sort_keys=True)
        replace_file(make_folder(folder) / _CONFIG, f"{text}\n".encode())
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, folder / _WEIGHTS)

    @classmethod
    def load(cls, folder: Path) -> "ContrastiveNet":
        """A network that `save` wrote, in `eval()` mode.

        Raises:
            CheckpointError: files are missing, damaged or of another model.
        """
        require_whole(folder)
        try:
            values = read_json(folder / _CONFIG)
            check_numbers(values, folder / _CONFIG)
            network = cls(
                _AUTO_BACKBONE.from_config(_AUTO_CONFIG.for_model(**values["backbone_config"])),
                num_parts=values["num_parts"],
                image_size=values["image_size"],
                mean=values["pixel_mean"],
                std=values["pixel_std"],
            )
            network.load_state_dict(load_file(folder / _WEIGHTS))
        except (
            CheckpointError,
            OSError,
            ValueError,
            KeyError,
            TypeError,
            RuntimeError,
            SafetensorError,
        ) as error:
            raise CheckpointError(
                f"{folder}: expected a network that `partdistill baseline contrastive` has trained, found "
                f"{error}. Delete the folder to train it again."
            ) from error
        return network.eval()
