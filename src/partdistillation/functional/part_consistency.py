"""What makes a division into parts a good one, without labels (Choudhury et al. 2021).

A part is a soft mask; the masks of an object's parts add up to the object's own.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_LEAST = 1e-6
"""Pixels of a part below which its mean fades to zero: a division by less has no finite gradient."""


def part_means(
    values: Float[Tensor, "image channel h w"], masks: Float[Tensor, "image part h w"]
) -> Float[Tensor, "image part channel"]:
    """Mean of the values over each part. Of a part without any pixel, zero."""
    sums = masks.flatten(2) @ values.flatten(2).transpose(1, 2)
    return sums / masks.sum(dim=(2, 3)).clamp(min=_LEAST)[..., None]


def within_part_variance(
    values: Float[Tensor, "image channel h w"], masks: Float[Tensor, "image part h w"]
) -> Float[Tensor, ""]:
    """Squared distance of pixels from their part's mean, summed over pixels and parts: mean over images.

    Of colours: how far the image is from one painted with a single colour a part (visual consistency). Of a
    network's features: how far the parts are from being of one kind each (semantic consistency).
    """
    values = values - values.mean(dim=(2, 3), keepdim=True)  # the same, but less is lost by rounding
    lengths = (masks.sum(dim=1) * values.square().sum(dim=1)).sum(dim=(1, 2))
    means = part_means(values, masks).square().sum(dim=-1)
    explained = (masks.sum(dim=(2, 3)) * means).sum(dim=1)
    return (lengths - explained).mean()


def contrast_of_parts(
    descriptors: Float[Tensor, "image part channel"], temperature: float
) -> Float[Tensor, ""]:
    """Contrastive loss: a part is like itself in other images, and unlike other parts, by its descriptors.

    InfoNCE on cosine similarities over `temperature`: each pair of one part in two images competes with the
    first one's pairs with all other parts, whichever image these are in; mean over pairs. Needs two images
    and two parts.
    """
    images, parts = descriptors.shape[:2]
    units = functional.normalize(descriptors, dim=-1).flatten(0, 1)
    similarity = units @ units.T / temperature
    image = torch.arange(images, device=units.device).repeat_interleave(parts)
    part = torch.arange(parts, device=units.device).repeat(images)
    same = part[:, None] == part
    others = similarity.masked_fill(same, -torch.inf).logsumexp(dim=1, keepdim=True)
    pairs = same & (image[:, None] != image)
    # -log(e^s / (e^s + e^others))
    return functional.softplus(others - similarity)[pairs].mean()


def symmetric_divergence(
    first: Float[Tensor, "image part h w"],
    second: Float[Tensor, "image part h w"],
    weights: Float[Tensor, "image 1 h w"],
) -> Float[Tensor, ""]:
    """KL(p, q) + KL(q, p) of the pixels' part probabilities, given as logits: weighted mean over pixels.

    Zero where the weights are. Without any weight, zero.
    """
    p, q = first.log_softmax(dim=1), second.log_softmax(dim=1)
    pixels = ((p.exp() - q.exp()) * (p - q)).sum(dim=1, keepdim=True)
    return (weights * pixels).sum() / weights.sum().clamp(min=1.0)
