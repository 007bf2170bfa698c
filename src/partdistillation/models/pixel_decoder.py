"""Mask2Former's pixel decoder, from the backbone's maps to those that the transformer decoder reads.

The weights are transformers' `Mask2FormerPixelDecoder`; what is computed with them is written here, because
images come without padding: nothing is masked, and positions are the same for all images of a batch.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from partdistillation.kernels.products import linear
from partdistillation.models.deformable_attention import Sizes, deformable_attention
from partdistillation.models.layers import group_norm

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
    sizes: Sizes = tuple((level_map.shape[-2], level_map.shape[-1]) for level_map in coarse)
    projected = [
        _project(step, level_map) for step, level_map in zip(decoder.input_projections, coarse, strict=True)
    ]
    positions = [
        pixel_rows(positions_of(decoder.position_embedding, level_map)) + level
        for level_map, level in zip(coarse, decoder.level_embed, strict=True)
    ]
    hidden, position = torch.cat(projected, dim=1), torch.cat(positions, dim=1)
    for layer in decoder.encoder.layers:
        hidden = _encoder_layer(layer, hidden, position, sizes)
    rows = torch.split(hidden, [height * width for height, width in sizes], dim=1)
    levels = tuple(_as_maps(level_map, size) for level_map, size in zip(rows, sizes, strict=True))
    finest = _finest(decoder, levels[-1], maps[: decoder.num_fpn_levels][::-1])
    mask_features = linear(pixel_rows(finest), decoder.mask_projection.weight, decoder.mask_projection.bias)
    return PixelMaps(_as_maps(mask_features, finest.shape[-2:]), levels)


def _finest(decoder: Any, level: Tensor, maps: Levels) -> Tensor:
    """The finest `level`, upsampled and merged with the backbone's finer maps, one after the other."""
    for level_map, lateral, output in zip(
        maps, decoder.lateral_convolutions, decoder.output_convolutions, strict=True
    ):
        size = level_map.shape[-2:]
        merged = _as_maps(_project(lateral, level_map), size) + resize(level, size)
        convolve, norm, _ = output
        level = _as_maps(group_norm(pixel_rows(convolve(merged)), norm, relu=True), size)
    return level


def _project(layers: Any, maps: Tensor) -> Float[Tensor, "batch pixel channel"]:
    convolve, norm = layers
    return group_norm(linear(pixel_rows(maps), convolve.weight, convolve.bias), norm)


def _as_maps(rows: Float[Tensor, "batch pixel channel"], size: Sequence[int]) -> Tensor:
    """The inverse of `pixel_rows`: maps with their channels last in memory."""
    return rows.transpose(1, 2).view(len(rows), -1, *size)


def pixel_rows(maps: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch pixel channel"]:
    return maps.flatten(2).transpose(1, 2)


def positions_of(embedding: Any, maps: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "1 dim h w"]:
    """Transformers' sine embedding of the pixels' positions, which are those of any image."""
    shape = torch.Size([1, *maps.shape[1:]])
    return embedding(shape, maps.device, maps.dtype)  # type: ignore[no-any-return]


def resize(maps: Float[Tensor, "batch channel _h _w"], size: Sequence[int]) -> Tensor:
    return nn.functional.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def _encoder_layer(
    layer: Any, hidden: Float[Tensor, "batch pixel dim"], position: Float[Tensor, "1 pixel dim"], sizes: Sizes
) -> Float[Tensor, "batch pixel dim"]:
    """Deformable self-attention and feed-forward; each followed by its layer norm."""
    attention, placed = layer.self_attn, hidden + position
    values, offsets, logits = (
        rows.view(*rows.shape[:2], attention.n_heads, -1)
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
