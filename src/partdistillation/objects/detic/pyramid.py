"""Detic's backbone: transformers' Swin, and a feature pyramid (FPN) of p3 to p7 on its last three stages."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from transformers import SwinConfig

from partdistillation.objects.detic.config import DeticConfig

Levels = Sequence[Float[Tensor, "image channel _ _"]]
"""p3 to p7, at 1/8 to 1/128 of the image's size."""

_LATERAL = ("3", "4", "5")


def swin_config(config: DeticConfig) -> SwinConfig:
    """The backbone's configuration for transformers: its stages 2 to 4 are at strides 8 to 32."""
    values: dict[str, Any] = {
        "embed_dim": config.embed_dim,
        "depths": list(config.depths),
        "num_heads": list(config.num_heads),
        "window_size": config.window_size,
        "mlp_ratio": config.mlp_ratio,
        "patch_size": config.patch_size,
        "out_features": ["stage2", "stage3", "stage4"],
    }
    return SwinConfig(**values)


class Pyramid(nn.Module):
    """FPN, with p6 and p7 by strided convolutions of p5."""

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        width = config.pyramid_channels
        self.lateral = nn.ModuleDict(
            {name: nn.Conv2d(config.embed_dim * 2**stage, width, 1) for stage, name in enumerate(_LATERAL, 1)}
        )
        self.output = nn.ModuleDict({name: nn.Conv2d(width, width, 3, padding=1) for name in _LATERAL})
        self.extra = nn.ModuleDict(
            {name: nn.Conv2d(width, width, 3, stride=2, padding=1) for name in ("6", "7")}
        )

    def forward(self, maps: Sequence[Float[Tensor, "image _ _ _"]]) -> list[Tensor]:
        """`Levels` from the backbone's maps of stride 8, 16 and 32."""
        above = None
        levels: list[Tensor] = []
        for name, level in reversed(list(zip(_LATERAL, maps, strict=True))):
            merged = self.lateral[name](level)
            if above is not None:
                merged = merged + nn.functional.interpolate(above, scale_factor=2.0, mode="nearest")
            levels.insert(0, self.output[name](merged))
            above = merged
        levels.append(self.extra["6"](levels[-1]))
        levels.append(self.extra["7"](levels[-1].relu()))
        return levels
