"""Dense clustering by swapped prediction: what the encoder warm-up minimises besides classification.

SwAV (Caron et al. 2020) on pixels, as in PiCIE (Cho et al. 2021): two views of an object must agree, pixel
by pixel, on a prototype.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

TEMPERATURE = 0.1
"""Of the predictions."""
SINKHORN_TEMPERATURE = 0.05
"""Of the targets."""
SINKHORN_STEPS = 3


def pooled(
    features: Float[Tensor, "image channel h w"], inside: Float[Tensor, "image 1 h w"]
) -> Float[Tensor, "image channel"]:
    """Mean of the features over the object; `inside` is each pixel's share of it. Without object, zero."""
    return (features * inside).sum(dim=(2, 3)) / inside.sum(dim=(2, 3)).clamp(min=1e-3)


def clustering_loss(
    features: Float[Tensor, "view channel h w"],
    inside: Float[Tensor, "view 1 h w"],
    prototypes: Float[Tensor, "prototype channel"],
    points: Float[Tensor, "object 2 point 2"],
    visible: Bool[Tensor, "object point"],
    *,
    window: int,
) -> Float[Tensor, ""]:
    """Swapped prediction: each view's prototype at a pixel, predicted from the other view's features.

    The two views of an object stand next to each other. A pixel's target is the mean over `window` x
    `window` pixels (an odd number) inside the object. `points` are (x, y) in -1..1, of which the `visible`
    ones count; without any, the loss is 0.
    """
    normal = functional.normalize(features, dim=1)
    scores = torch.einsum("vchw,pc->vphw", normal, functional.normalize(prototypes, dim=1))
    with torch.no_grad():
        targets = _window_mean(scores * inside, window) / _window_mean(inside, window).clamp(min=1e-3)
    at_points, targets = (_at(maps, points)[:, visible] for maps in (scores, targets))
    with torch.no_grad():
        codes = torch.stack([sinkhorn(target) for target in targets])
    predictions = (at_points / TEMPERATURE).log_softmax(dim=-1)
    if not visible.any():
        return predictions.sum()
    return -(codes.flip(0) * predictions).sum(dim=-1).mean()


@torch.no_grad()
def sinkhorn(scores: Float[Tensor, "point prototype"]) -> Float[Tensor, "point prototype"]:
    """Soft assignment of points to prototypes that uses every prototype about equally (rows sum to 1)."""
    codes = ((scores - scores.max()) / SINKHORN_TEMPERATURE).exp() if scores.numel() else scores
    for _ in range(SINKHORN_STEPS):
        codes = functional.normalize(codes, p=1, dim=0)
        codes = functional.normalize(codes, p=1, dim=1)
    return codes


def _window_mean(maps: Float[Tensor, "view channel h w"], window: int) -> Float[Tensor, "view channel h w"]:
    return functional.avg_pool2d(maps, window, stride=1, padding=window // 2) if window > 1 else maps


def _at(
    maps: Float[Tensor, "view prototype h w"], points: Float[Tensor, "object 2 point 2"]
) -> Float[Tensor, "2 object point prototype"]:
    """Bilinear values at each object's points, in each of its views."""
    values = functional.grid_sample(maps, points.flatten(0, 1)[:, :, None], align_corners=False)[..., 0]
    by_view = values.view(-1, 2, *values.shape[1:])
    return by_view.permute(1, 0, 3, 2)
