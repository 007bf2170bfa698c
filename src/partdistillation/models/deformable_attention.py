"""Multi-scale deformable self-attention, as Mask2Former's pixel decoder has it (Zhu et al., 2021).

Transformers' version samples a batch of small maps with `grid_sample`, and writes every sample down before it
sums them. On a CPU one pass that keeps nothing takes a tenth of the time; elsewhere theirs is used.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers.models.mask2former.modeling_mask2former import multi_scale_deformable_attention

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
    if values.device.type == "cpu" and values.dtype == torch.float32:
        return _OnCpu.apply(values, offsets, logits, sizes)  # type: ignore[no-any-return, no-untyped-call]
    return by_grid_sample(values, offsets, logits, sizes)


def by_grid_sample(
    values: Float[Tensor, "batch pixel head channel"],
    offsets: Float[Tensor, "batch pixel head places"],
    logits: Float[Tensor, "batch pixel head points"],
    sizes: Sizes,
) -> Float[Tensor, "batch pixel head channel"]:
    """The same with PyTorch's own operations, on any device and in any precision."""
    spread = (*logits.shape[:3], len(sizes), -1)
    extent = torch.tensor([(width, height) for height, width in sizes]).to(offsets)
    moved = offsets.view(*spread[:4], logits.shape[3] // len(sizes), 2) / extent[:, None]
    places = pixel_centres(sizes).to(offsets)[:, None, None, None] + moved
    weights = logits.softmax(dim=-1).view(spread)
    seen: Tensor = multi_scale_deformable_attention(values, list(sizes), places, weights)
    return seen.view(values.shape)


def pixel_centres(sizes: Sizes) -> Float[Tensor, "pixel 2"]:
    """Each pixel's centre (x, y) in 0..1 over its level."""
    grids = [
        torch.meshgrid(
            (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
        )
        for height, width in sizes
    ]
    return torch.cat([torch.stack([x, y], dim=-1).flatten(0, 1) for y, x in grids])


class _OnCpu(torch.autograd.Function):
    """`functional.deformable`, which numba compiles: it is imported when first needed."""

    @staticmethod
    def forward(context: Any, values: Tensor, offsets: Tensor, logits: Tensor, sizes: Sizes) -> Tensor:
        from partdistillation.kernels.deformable import attend

        values, offsets, logits = (one.detach().contiguous() for one in (values, offsets, logits))
        arrays = values.numpy(), offsets.numpy(), logits.numpy()
        seen, weights = attend(*arrays, sizes, threads=torch.get_num_threads())
        context.save_for_backward(values, offsets, torch.from_numpy(weights))
        context.sizes = sizes
        return torch.from_numpy(seen)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from partdistillation.kernels.deformable import attend_backward

        values, offsets, weights = (one.numpy() for one in context.saved_tensors)
        wanted = gradient.contiguous().numpy()
        found = attend_backward(
            values, offsets, weights, wanted, context.sizes, threads=torch.get_num_threads()
        )
        return (*(torch.from_numpy(one) for one in found), None)
