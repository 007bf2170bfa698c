"""Multi-scale deformable self-attention, as Mask2Former's pixel decoder has it (Zhu et al., 2021).

`by_grid_sample` says what it is: it samples a batch of small maps and writes every sample down before it sums
them. On a CPU `kernels.deformable`, one pass that keeps nothing, takes a tenth of the time.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.models.mask2former.modeling_mask2former import multi_scale_deformable_attention

from partdistillation.kernels.tracing import takes_kernel

Sizes = tuple[tuple[int, int], ...]
"""Height and width of each level."""


def deformable_attention(
    values: Float[Tensor, "batch pixel head channel"],
    offsets: Float[Tensor, "batch pixel head places"],
    logits: Float[Tensor, "batch pixel head points"],
    sizes: Sizes,
) -> Float[Tensor, "batch pixel head channel"]:
    """The sum of `values` at the points that each pixel looks at, weighted by the softmax of `logits`.

    Pixels are those of all levels (`sizes`: height, width), row by row, a level after the other. There are
    as many points in each level; a point lies at the pixel's own position moved by its offset, which are
    given x and y by turns and in pixels of the point's level. Values in between are bilinear, outside zero.
    """
    if takes_kernel(values):
        from partdistillation.kernels.deformable import attention  # numba takes most of a second to import

        return attention(values, offsets, logits, sizes)
    return by_grid_sample(values, offsets, logits, sizes)


def by_grid_sample(
    values: Float[Tensor, "batch pixel head channel"],
    offsets: Float[Tensor, "batch pixel head places"],
    logits: Float[Tensor, "batch pixel head points"],
    sizes: Sizes,
) -> Float[Tensor, "batch pixel head channel"]:
    """The definition, in PyTorch's own operations: on any device, in any precision, and in any graph."""
    spread = (*logits.shape[:3], len(sizes), -1)
    extent = torch.tensor([(width, height) for height, width in sizes]).to(offsets)
    moved = offsets.view(*spread[:4], logits.shape[3] // len(sizes), 2) / extent[:, None]
    places = pixel_centres(sizes).to(offsets)[:, None, None, None] + moved
    weights = logits.softmax(dim=-1).view(spread)
    seen: Tensor = multi_scale_deformable_attention(values, list(sizes), places, weights)
    return seen.view(values.shape)


def pixel_centres(sizes: Sizes) -> Float[Tensor, "pixel 2"]:
    """Each pixel's centre (x, y) in 0..1 over its level."""
    axes = [[(torch.arange(side) + 0.5) / side for side in size] for size in sizes]
    return torch.cat([torch.cartesian_prod(*rows_and_columns).flip(1) for rows_and_columns in axes])
