"""Mask2Former's pixel decoder, from the backbone's maps to those that the transformer decoder reads.

The weights are transformers' `Mask2FormerPixelDecoder`; what is computed with them is written here, because
images come without padding: nothing is masked, and positions are the same for all images of a batch.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from partdistillation.models.deformable_attention import Sizes, deformable_attention

Levels = tuple[Float[Tensor, "batch _channel _height _width"], ...]


class PixelMaps(NamedTuple):
    """What the pixel decoder gives; maps have their channels last in memory."""

    mask_features: Float[Tensor, "batch channel height width"]
    """Pixel embeddings at 1/4 of the image's size."""
    levels: Levels
    """Maps at 1/32, 1/16 and 1/8 of the image's size."""


def decode_pixels(decoder: Any, maps: Levels) -> PixelMaps:
    """Run transformers' `decoder` on the backbone's maps res2 ... res5."""
    coarse = maps[: -decoder.num_feature_levels - 1 : -1]
    projected = [project(one) for project, one in zip(decoder.input_projections, coarse, strict=True)]
    sizes: Sizes = tuple((one.shape[-2], one.shape[-1]) for one in projected)
    positions = [
        pixel_rows(positions_of(decoder.position_embedding, one)) + level
        for one, level in zip(projected, decoder.level_embed, strict=True)
    ]
    hidden, position = (
        torch.cat(rows, dim=1) for rows in ([pixel_rows(one) for one in projected], positions)
    )
    for layer in decoder.encoder.layers:
        hidden = _encoder_layer(layer, hidden, position, sizes)
    rows = torch.split(hidden, [height * width for height, width in sizes], dim=1)
    levels = tuple(
        torch.unflatten(one.transpose(1, 2), 2, size) for one, size in zip(rows, sizes, strict=True)
    )
    finest = levels[-1]
    fine = maps[: decoder.num_fpn_levels][::-1]
    steps = zip(fine, decoder.lateral_convolutions, decoder.output_convolutions, strict=True)
    for one, lateral, output in steps:
        finest = output(lateral(one) + resize(finest, one.shape[-2:]))
    return PixelMaps(decoder.mask_projection(finest), levels)


def pixel_rows(maps: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch pixel channel"]:
    return maps.flatten(2).transpose(1, 2)


def positions_of(embedding: Any, maps: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "1 dim h w"]:
    """Transformers' sine embedding of the pixels' positions, which are those of any image."""
    shape = torch.Size([1, *maps.shape[1:]])
    return embedding(shape, maps.device, maps.dtype)  # type: ignore[no-any-return]


def resize(maps: Float[Tensor, "batch channel _h _w"], size: Sequence[int]) -> Tensor:
    return nn.functional.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def _encoder_layer(
    layer: Any,
    hidden: Float[Tensor, "batch pixel dim"],
    position: Float[Tensor, "1 pixel dim"],
    sizes: Sizes,
) -> Float[Tensor, "batch pixel dim"]:
    """Deformable self-attention and feed-forward; each followed by its layer norm."""
    attention, placed = layer.self_attn, hidden + position
    values, offsets, logits = (
        rows.unflatten(2, (attention.n_heads, -1))
        for rows in (
            attention.value_proj(hidden),
            attention.sampling_offsets(placed),
            attention.attention_weights(placed),
        )
    )
    seen = deformable_attention(values, offsets, logits, sizes).flatten(2)
    hidden = layer.self_attn_layer_norm(hidden + attention.output_proj(seen))
    fed = layer.fc2(layer.activation_fn(layer.fc1(hidden)))
    return layer.final_layer_norm(hidden + fed)  # type: ignore[no-any-return]
