"""Small networks: one with a convolutional, one with a transformer backbone."""

import pytest
from transformers import Mask2FormerConfig, ResNetConfig, SwinConfig

from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import ModelInfo

STAGES = ["stage1", "stage2", "stage3", "stage4"]


def small_config(backbone: str = "resnet") -> Mask2FormerConfig:
    resnet = ResNetConfig(  # type: ignore[call-arg]
        layer_type="basic",
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 32],
        depths=[1, 1, 1, 1],
        out_features=STAGES,
    )
    swin = SwinConfig(  # type: ignore[call-arg]
        embed_dim=8, depths=[1, 2, 1, 1], num_heads=[1, 2, 2, 4], window_size=4, out_features=STAGES
    )
    return Mask2FormerConfig(
        backbone_config=resnet if backbone == "resnet" else swin,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_layers=1,
        encoder_feedforward_dim=32,
        decoder_layers=4,
        dim_feedforward=32,
        num_queries=6,
    )


@pytest.fixture
def small_network() -> PartMask2Former:
    """A stage 0 network of three classes, ResNet backbone, random weights."""
    return PartMask2Former.create(small_config(), ModelInfo(("car", "cat", "tree")), seed=0).eval()


@pytest.fixture
def small_swin() -> PartMask2Former:
    """The same with a Swin backbone."""
    return PartMask2Former.create(small_config("swin"), ModelInfo(("car", "cat", "tree")), seed=0).eval()
