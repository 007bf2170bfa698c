"""Bilinear values of maps and masks at points (x, y) in 0..1.

Pixel centres lie at (i + .5) / size; outside the map there is zero, as `grid_sample` has it.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from partdistillation.kernels.tracing import takes_kernel

_MOST_PIXELS = 2**22
"""Of masks that are held as numbers at a time: 16 MiB."""


def sample_features(
    features: Float[Tensor, "image channel height width"], points: Float[Tensor, "image point 2"]
) -> Float[Tensor, "image point channel"]:
    """All channels at each point.

    As weighted sums of rows, which is fast for many channels, above all where they are last in memory.
    """
    pixels, weights = _neighbors(points, *features.shape[2:])
    rows = features.flatten(2).transpose(1, 2)
    if takes_kernel(rows):
        from partdistillation.kernels.scatter import with_scattered_gradient  # imports numba

        return with_scattered_gradient(_weighted_sums, rows, pixels, weights)
    return _weighted_sums(rows, pixels, weights.to(rows))


def sample_masks(
    masks: Bool[Tensor, "target height width"], points: Float[Tensor, "point 2"]
) -> Float[Tensor, "target point"]:
    """Binary masks at points shared by all of them."""
    grid = (2 * points - 1)[None, None]
    some = torch.split(masks, max(1, _MOST_PIXELS // masks.shape[1:].numel()))
    sampled = [nn.functional.grid_sample(few[None].to(points), grid, align_corners=False) for few in some]
    return torch.cat(sampled, dim=1)[0, :, 0]


def sample_each(
    masks: Float[Tensor, "mask height width"], points: Float[Tensor, "mask point 2"]
) -> Float[Tensor, "mask point"]:
    """Each mask at points of its own."""
    grid = 2 * points[:, None] - 1
    return nn.functional.grid_sample(masks[:, None], grid, align_corners=False)[:, 0, 0]


def _neighbors(
    points: Float[Tensor, "*batch point 2"], height: int, width: int
) -> tuple[Int[Tensor, "*batch point 4"], Float[Tensor, "*batch point 4"]]:
    """The four pixels around each point, row by row, and their weights: 0 for those outside."""
    columns, across = _beside(points[..., 0], width)
    rows, down = _beside(points[..., 1], height)
    pixels = torch.stack([row * width + column for row in rows for column in columns], dim=-1)
    return pixels, torch.stack([vertical * horizontal for vertical in down for horizontal in across], dim=-1)


def _beside(
    places: Float[Tensor, "*point"], size: int
) -> tuple[tuple[Int[Tensor, "*point"], Int[Tensor, "*point"]], tuple[Tensor, Tensor]]:
    """Along an axis, the pixel before each place and the one after it, and their weights."""
    places = places * size - 0.5
    before = places.floor()
    part = places - before
    weights = (1 - part) * ((before >= 0) & (before < size)), part * ((before >= -1) & (before < size - 1))
    pixel = before.long()
    return (pixel.clamp(0, size - 1), (pixel + 1).clamp(0, size - 1)), weights


def _weighted_sums(
    rows: Float[Tensor, "image pixel channel"],
    pixels: Int[Tensor, "image point 4"],
    weights: Float[Tensor, "image point 4"],
) -> Float[Tensor, "image point channel"]:
    first = torch.arange(len(rows), device=rows.device)[:, None, None] * rows.shape[1]
    sums = nn.functional.embedding_bag(
        (pixels + first).flatten(0, 1),
        rows.flatten(0, 1),
        per_sample_weights=weights.flatten(0, 1),
        mode="sum",
    )
    return sums.view(*pixels.shape[:2], -1)
