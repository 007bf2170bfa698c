"""Swin-L with random weights, for what depends on the features' size rather than on what they show."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoBackbone, SwinConfig

from partdistillation.models.encoder import Encoder

_AUTO: Any = AutoBackbone  # transformers' are untyped, or typed for other arguments
_CONFIG: Any = SwinConfig


def swin_config(depths: Sequence[int] = (2, 2, 18, 2)) -> Any:
    """Swin-L as Mask2Former has it; fewer blocks are quicker."""
    return _CONFIG(
        image_size=384,
        embed_dim=192,
        depths=list(depths),
        num_heads=[6, 12, 24, 48],
        window_size=12,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def swin_backbone(depths: Sequence[int] = (2, 2, 18, 2)) -> nn.Module:
    """All four levels, random weights."""
    torch.manual_seed(0)
    backbone: nn.Module = _AUTO.from_config(swin_config(depths))
    return backbone


def swin_encoder(depths: Sequence[int] = (2, 2, 18, 2)) -> Encoder:
    """Levels 3 and 4, 384 + 768 channels, on one image's scale."""
    return Encoder(swin_backbone(depths))
