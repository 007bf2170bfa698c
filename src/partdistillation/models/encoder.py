"""The frozen image encoder of stage 2: a backbone that turns photographs into maps of features."""

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from partdistillation.data.canvas import IMAGENET_MEAN, IMAGENET_STD, STRIDE, padded_size
from partdistillation.errors import ConfigError
from partdistillation.models.backbones import load_backbone, pixel_statistics, random_backbone
from partdistillation.models.layers import hasten_resnet
from partdistillation.models.part_mask2former import PartMask2Former, fastest_memory_format
from partdistillation.models.pretrained import read_config
from partdistillation.models.vision_transformers import grid_of

Images = UInt8[np.ndarray | Tensor, "batch height width 3"] | Sequence[UInt8[np.ndarray, "_height _width 3"]]


def normalize_images(
    images: UInt8[Tensor, "*batch height width 3"],
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Float[Tensor, "*batch 3 height width"]:
    """RGB images as networks read them: 0..255 to 0..1, minus `mean`, over `std`, channels first."""
    scaled = images.float() / 255 - torch.tensor(mean, dtype=torch.float32, device=images.device)
    return (scaled / torch.tensor(std, dtype=torch.float32, device=images.device)).movedim(-1, -3)


class Encoder:
    """A backbone in `eval()` mode, without gradients, that computes only the levels that are asked for."""

    def __init__(
        self,
        backbone: nn.Module,
        *,
        levels: Sequence[int] = (3, 4),
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        device: str | torch.device = "cpu",
        bfloat16: bool | None = None,
    ) -> None:
        """Wrap a copy of a transformers backbone.

        `levels` are numbered as in ResNets: 2 is 1/4 of the image's size, 5 is 1/32. Stages after the last
        of them are left out. A plain ViT has one level, of the size that is nearest to its patch's (16 and 14
        pixels are level 4); of what is asked for, it gives that.

        `bfloat16` chooses the precision of the matrix products inside; by default it is used where it is
        faster (features stay within 1.5 %): on a device that has it natively, but for convolutional networks
        on a CPU, which are quick enough there.
        """
        self.mean, self.std = tuple(mean), tuple(std)
        self.device = torch.device(device)
        backbone = copy.deepcopy(backbone)
        self._config: Any = copy.deepcopy(backbone.config)
        self.level_numbers = _keep_levels(backbone, tuple(levels))
        grid = grid_of(self._config)
        self.stride = STRIDE if grid is None else grid.multiple
        """Images are padded to multiples of this."""
        hasten_resnet(backbone)
        backbone.eval().requires_grad_(False)
        self._memory_format = fastest_memory_format(backbone)
        small = self._memory_format == torch.channels_last and self.device.type == "cpu"
        self.bfloat16 = has_bfloat16(self.device) and not small if bfloat16 is None else bfloat16
        self._backbone = nn.Module.to(backbone, self.device, memory_format=self._memory_format)  # type: ignore[call-overload]
        if self.bfloat16:  # as autocast would at every call, keeping both
            for module in self._backbone.modules():
                if isinstance(module, nn.Linear | nn.Conv2d):
                    module.to(torch.bfloat16)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        levels: Sequence[int] = (3, 4),
        device: str | torch.device = "cpu",
        bfloat16: bool | None = None,
    ) -> "Encoder":
        """The encoder of a Mask2Former, or a plain backbone: a model directory, or a published one's name.

        Raises CheckpointError where it can't be loaded.
        """
        backbone, mean, std = load_encoder(source)
        return cls(backbone, levels=levels, mean=mean, std=std, device=device, bfloat16=bfloat16)

    @classmethod
    def from_network(
        cls,
        network: PartMask2Former,
        *,
        levels: Sequence[int] = (3, 4),
        device: str | torch.device = "cpu",
        bfloat16: bool | None = None,
    ) -> "Encoder":
        """A frozen copy of a network's encoder."""
        return cls(
            network.model.pixel_level_module.encoder,
            levels=levels,
            mean=network.info.pixel_mean,
            std=network.info.pixel_std,
            device=device,
            bfloat16=bfloat16,
        )

    @classmethod
    def random(cls, like: "Encoder", seed: int) -> "Encoder":
        """The control: the same architecture with random weights, drawn from `seed`."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            backbone = random_backbone(copy.deepcopy(like._config))
        return cls(
            backbone,
            levels=like.level_numbers,
            mean=like.mean,
            std=like.std,
            device=like.device,
            bfloat16=like.bfloat16,
        )

    @torch.no_grad()
    def levels(
        self, images: Images, *, stride: int | None = None
    ) -> list[Float[Tensor, "batch _channel _height _width"]]:
        """Float32 maps of the encoder's levels, finest first, on its device.

        Images are padded to the right and below, with the mean colour, to the largest of them rounded up to
        a multiple of the encoder's `stride`, or of a multiple of that. The maps cover the padded canvas
        (`padded_size`): pad masks the same way, or crop what is upsampled from the maps.
        """
        batch = normalized_batch(images, self.mean, self.std, self.device, stride or self.stride)
        batch = batch.contiguous(memory_format=self._memory_format)
        mixed = torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()
        with mixed:
            maps = self._backbone(batch).feature_maps
        return [level.float() for level in maps]


def load_encoder(source: str | Path) -> tuple[nn.Module, Sequence[float], Sequence[float]]:
    """The encoder of a Mask2Former, or a plain backbone, with the mean and deviation of its images.

    Raises CheckpointError where it can't be loaded.
    """
    if read_config(source).get("model_type") != "mask2former":
        return load_backbone(str(source)), *pixel_statistics(str(source))
    whole = PartMask2Former.from_pretrained(source)
    return whole.model.pixel_level_module.encoder, whole.info.pixel_mean, whole.info.pixel_std


def normalized_batch(
    images: Images, mean: Sequence[float], std: Sequence[float], device: torch.device, stride: int = STRIDE
) -> Float[Tensor, "batch 3 height width"]:
    """Images as a batch: the mean colour right of each and below, up to multiples of `stride`."""
    largest = max(len(image) for image in images), max(image.shape[1] for image in images)
    height, width = padded_size(*largest, stride)
    batch = torch.zeros(len(images), 3, height, width, dtype=torch.float32, device=device)
    for canvas, image in zip(batch, images, strict=True):
        pixels = torch.as_tensor(np.array(image)) if isinstance(image, np.ndarray) else image
        canvas[:, : image.shape[0], : image.shape[1]] = normalize_images(pixels.to(device), mean, std)
    return batch


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for matrix products in bfloat16: emulated, they are slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # not in torch's older releases
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def _keep_levels(backbone: Any, levels: tuple[int, ...]) -> tuple[int, ...]:
    """Make the backbone return these levels, or those of them that it has, and forget the later stages."""
    config = backbone.config
    if not levels or sorted(set(levels)) != list(levels) or not {2, 3, 4, 5}.issuperset(levels):
        raise ConfigError(f"levels: expected an ascending choice of 2, 3, 4, 5; found {levels}.")
    if (grid := grid_of(config)) is not None:
        if grid.level not in levels:
            raise ConfigError(
                f"levels: expected {grid.level} among them, the only one of a plain ViT with patches of "
                f"{grid.stride} pixels; found {levels}"
            )
        config.out_features = config.stage_names[-1:]
        return (grid.level,)
    names = list(config.out_features) if len(config.out_features) == 4 else list(config.stage_names[-4:])
    config.out_features = [names[level - 2] for level in levels]
    kept = config.stage_names.index(config.out_features[-1])
    body = getattr(backbone, "swin", backbone)
    for name, stages in getattr(body, "encoder", nn.Module()).named_children():
        # the stem is a stage name without a module
        if isinstance(stages, nn.ModuleList) and len(stages) == len(config.stage_names) - 1:
            setattr(body.encoder, name, stages[:kept])
            if hasattr(stages[kept - 1], "downsample"):  # Swin's are for the stage that follows
                stages[kept - 1].downsample = None
            if body is not backbone:
                # Swin's last norm, whose output no level reads, has the width of stage 4
                body.layernorm = nn.Identity()
    return levels
