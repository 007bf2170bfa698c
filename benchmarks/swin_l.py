"""Swin-L with random weights, for what depends on the features' size rather than on what they show."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoBackbone, SwinConfig

from partdistillation.models.encoder import Encoder

_AUTO: Any = AutoBackbone  # transformers' are untyped, or typed for other arguments
_CONFIG: Any = SwinConfig


def swin_encoder(depths: Sequence[int] = (2, 2, 18, 2)) -> Encoder:
    """Levels 3 and 4, 384 + 768 channels, on one image's scale; fewer blocks are quicker."""
    torch.manual_seed(0)
    config = _CONFIG(
        image_size=384,
        embed_dim=192,
        depths=list(depths),
        num_heads=[6, 12, 24, 48],
        window_size=12,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    return Encoder(_AUTO.from_config(config))
