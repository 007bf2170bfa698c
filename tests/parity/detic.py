"""The authors' Detic by its names and shapes, and all that ours computes of an image, step by step."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from partdistillation.objects.detic.cascade import Stage
from partdistillation.objects.detic.config import DeticConfig
from partdistillation.objects.detic.masks import paste
from partdistillation.objects.detic.network import Detections, DeticNetwork, rescale
from partdistillation.objects.detic.proposals import HeatMap, Proposals
from partdistillation.objects.detic.pyramid import Levels


class Steps(NamedTuple):
    """In the order in which they are computed."""

    levels: Levels
    heat_maps: list[HeatMap]
    """Of each level."""
    proposals: Proposals
    stages: list[Stage]
    """Of the cascade; their boxes are the proposals', moved."""
    logits: list[Float[Tensor, "box class+1"]]
    """Of each stage, the background (0) last."""
    detections: Detections
    """In the pixels of the image that the network saw."""
    rescaled: Detections
    """In those of the image as it is wanted."""
    masks: Bool[np.ndarray, "object height width"]
    """Of the rescaled detections."""


@torch.no_grad()
def compute_steps(
    network: DeticNetwork,
    image: UInt8[np.ndarray, "_ _ 3"],
    embeddings: Float[Tensor, "class dim"] | Float[Tensor, "stage class dim"],
    *,
    size: tuple[int, int],
) -> Steps:
    """All of `DeticNetwork.detect_resized` and what `DeticNetwork.detect` makes of it.

    Args:
        network: see `convert.detic.load_official_state_dict`.
        image: RGB. It isn't resized.
        embeddings: of the classes, as `DeticNetwork.detect` takes them; a checkpoint's own are
            `official_embeddings`.
        size: (height, width) of the image as it is wanted, whose pixels final boxes and masks are in.
    """
    levels = network.levels(network.pixels([image]))
    heat_maps = network.proposals(levels)
    (proposals,) = network.proposals.decode(heat_maps)
    seen = (image.shape[0], image.shape[1])
    stages = list(network.cascade.run(levels, [proposals], [seen]))
    classes = network.classifier(embeddings)
    logits = [
        torch.nn.functional.pad(stage.vectors @ own.T, (0, 1))
        for stage, own in zip(stages, classes, strict=True)
    ]
    (detections,) = network.detect_resized([image], embeddings)
    rescaled = rescale(detections, seen, size)
    masks = np.zeros((len(rescaled.boxes), *size), dtype=bool)
    for row, mask in zip(masks, paste(rescaled.boxes, rescaled.masks, *size), strict=True):
        row[:] = mask
    return Steps(levels, heat_maps, proposals, stages, logits, detections, rescaled, masks)


def official_embeddings(state: Mapping[str, Tensor | np.ndarray]) -> Float[Tensor, "stage class dim"]:
    """A checkpoint's own classifier: embeddings of its classes for each stage; the last is the background."""
    names = [f"roi_heads.box_predictor.{stage}.cls_score.zs_weight" for stage in range(3)]
    return torch.stack([torch.as_tensor(state[name]).float()[:, :-1].T for name in names])


def official_shapes(config: DeticConfig) -> dict[str, tuple[int, ...]]:
    """What the authors' network of a configuration has, by its names."""
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
