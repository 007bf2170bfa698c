"""Features of regions: what a map says inside masks, averaged."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pad


@torch.no_grad()
def pooled(
    features: Float[Tensor, "channel rows columns"],
    masks: Bool[Tensor, "mask height width"],
    *,
    content: tuple[int, int],
    field: tuple[int, int],
) -> Float[Tensor, "mask channel"]:
    """Features averaged inside every mask, of which none may be empty; on the CPU.

    The map covers `field` (height, width), in whose upper left corner the masks' image is `content` large. A
    place of the map counts by the share of it that the mask covers.
    """
    inside = interpolate(masks[:, None].float(), size=content, mode="area")
    inside = pad(inside, (0, field[1] - content[1], 0, field[0] - content[0]))
    rows, columns = features.shape[1:]
    shares = adaptive_avg_pool2d(inside, (rows, columns)).flatten(1)
    means: Tensor = shares @ features.cpu().flatten(1).T / shares.sum(dim=1, keepdim=True)
    return means
