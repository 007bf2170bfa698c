"""A CLIP text model of a few thousand weights, and the shapes of the authors' weights."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from partdistillation.objects.detic.config import DeticConfig

CHARACTERS = "abcdefghijklmnopqrstuvwxyz_-'0123456789"


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its directory; embeddings have 24 values, texts at most 16 tokens, of letters and the word "car"."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    from partdistillation.models.pretrained import quiet_transformers

    folder = tmp_path_factory.mktemp("clip")
    tokens = [*CHARACTERS, *(f"{one}</w>" for one in CHARACTERS), "ca", "car</w>"]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    merges: Any = [("c", "a"), ("ca", "r</w>")]
    tokenizer = CLIPTokenizer({token: number for number, token in enumerate(tokens)}, merges)
    config = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=24,
        max_position_embeddings=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = CLIPTextModelWithProjection(config)
    for value in model.parameters():  # the usual start is so small that all texts look alike
        torch.nn.init.normal_(value, std=0.3)
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def official_shapes() -> "Callable[[DeticConfig], dict[str, tuple[int, ...]]]":
    """What the authors' network of a configuration has, by its names."""
    return _official_shapes


def _official_shapes(config: "DeticConfig") -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int) -> None:
        shapes[name + ".weight"] = shape
        shapes[name + ".bias"] = shape[:1]

    swin = "backbone.bottom_up."
    layer(swin + "patch_embed.proj", config.embed_dim, 3, config.patch_size, config.patch_size)
    layer(swin + "patch_embed.norm", config.embed_dim)
    for stage, (depth, heads) in enumerate(zip(config.depths, config.num_heads, strict=True)):
        width = config.embed_dim * 2**stage
        hidden = int(width * config.mlp_ratio)
        for index in range(depth):
            block = f"{swin}layers.{stage}.blocks.{index}."
            table = (2 * config.window_size - 1) ** 2
            shapes[block + "attn.relative_position_bias_table"] = (table, heads)
            for name, shape in {
                "norm1": (width,),
                "attn.qkv": (3 * width, width),
                "attn.proj": (width, width),
                "norm2": (width,),
                "mlp.fc1": (hidden, width),
                "mlp.fc2": (width, hidden),
            }.items():
                layer(block + name, *shape)
        if stage < 3:
            layer(f"{swin}layers.{stage}.downsample.norm", 4 * width)
            shapes[f"{swin}layers.{stage}.downsample.reduction.weight"] = (2 * width, 4 * width)
        if stage > 0:
            layer(f"{swin}norm{stage}", width)
            layer(f"backbone.fpn_lateral{stage + 2}", config.pyramid_channels, width, 1, 1)
    channels = config.pyramid_channels
    square = (channels, channels, 3, 3)
    for name in ("fpn_output3", "fpn_output4", "fpn_output5", "top_block.p6", "top_block.p7"):
        layer(f"backbone.{name}", *square)
    head = "proposal_generator.centernet_head."
    for index in range(config.proposal_convs):
        layer(f"{head}bbox_tower.{3 * index}", *square)
        layer(f"{head}bbox_tower.{3 * index + 1}", channels)
    layer(head + "bbox_pred", 4, channels, 3, 3)
    layer(head + "agn_hm", 1, channels, 3, 3)
    for index in range(5):
        shapes[f"{head}scales.{index}.scale"] = (1,)
    for stage in range(3):
        inputs = channels * config.box_resolution**2
        for index, width in enumerate(config.fc_dims, start=1):
            layer(f"roi_heads.box_head.{stage}.fc{index}", width, inputs)
            inputs = width
        predictor = f"roi_heads.box_predictor.{stage}."
        shapes[predictor + "cls_score.zs_weight"] = (config.embedding_dim, 8)
        layer(predictor + "cls_score.linear", config.embedding_dim, inputs)
        layer(predictor + "bbox_pred.0", inputs, inputs)
        layer(predictor + "bbox_pred.2", 4, inputs)
    mask_head, inputs = "roi_heads.mask_head.", channels
    for index in range(1, config.mask_convs + 1):
        layer(f"{mask_head}mask_fcn{index}", config.mask_channels, inputs, 3, 3)
        inputs = config.mask_channels
    shapes[mask_head + "deconv.weight"] = (inputs, config.mask_channels, 2, 2)
    shapes[mask_head + "deconv.bias"] = (config.mask_channels,)
    layer(mask_head + "predictor", 1, config.mask_channels, 1, 1)
    return shapes
