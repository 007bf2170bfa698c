"""Cross-entropy and dice of masks in one go, with less memory: `functional.losses` says what they are."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

_FACTORS = 64
"""Of a product whose logarithm is taken at once."""


class Values(NamedTuple):
    """The terms by their names in `functional.losses.MASK_TERMS`."""

    mask: Tensor
    dice: Tensor


def of_all_pairs(logits: Float[Tensor, "point prediction"], targets: Float[Tensor, "target point"]) -> Values:
    """Of every target with every prediction, without gradients.

    Overwrites `logits`: all layers' predictions have many, and copies take longer than the arithmetic.
    """
    probabilities = logits.sigmoid()
    overlap = 2 * (targets @ probabilities) + 1
    dice = 1 - overlap / (probabilities.sum(dim=0) + targets.sum(dim=1, keepdim=True) + 1)
    agreed = targets @ logits
    likelier = probabilities.sub_(0.5).abs_().add_(0.5)
    return Values((_softplus_sum(logits.relu_(), likelier, 0) - agreed) / len(logits), dice)


def of_pairs(logits: Float[Tensor, "*pair point"], targets: Float[Tensor, "*pair point"]) -> Values:
    """Of each prediction with its target."""
    return Values(*_PairLosses.apply(logits, targets))  # type: ignore[no-untyped-call]


class _PairLosses(torch.autograd.Function):
    """Both losses of each pair, whose gradients share most of their work."""

    @staticmethod
    def forward(context: Any, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        probabilities = logits.sigmoid()
        likelier = (probabilities - 0.5).abs_().add_(0.5)
        positive = _softplus_sum(logits.relu(), likelier, logits.dim() - 1)
        cross_entropy = (positive - (logits * targets).sum(dim=-1)) / logits.shape[-1]
        overlap = 2 * (probabilities * targets).sum(dim=-1) + 1
        size = probabilities.sum(dim=-1) + targets.sum(dim=-1) + 1
        context.save_for_backward(probabilities, targets, overlap, size)
        return cross_entropy, 1 - overlap / size

    @staticmethod
    @once_differentiable
    def backward(context: Any, of_cross_entropy: Tensor, of_dice: Tensor) -> tuple[Tensor, None]:
        probabilities, targets, overlap, size = context.saved_tensors
        share = (of_cross_entropy / probabilities.shape[-1])[..., None]
        slope = (of_dice / size)[..., None]  # of 1 - overlap / size: slope * (overlap / size - 2 * target)
        by_probability = torch.addcmul(slope * (overlap / size)[..., None], targets, slope, value=-2)
        by_probability *= probabilities * (1 - probabilities)
        return by_probability.addcmul_(probabilities - targets, share), None


def _softplus_sum(
    positive: Float[Tensor, "*shape"], likelier: Float[Tensor, "*shape"], dim: int
) -> Float[Tensor, "*reduced"]:
    """The sum of log(1 + e^logit) along an axis: a term is the logit's positive part minus log p.

    p is `likelier`, the larger of the logit's sigmoid and its complement. One logarithm serves many: p is at
    least a half, so a product of 64 is far from the smallest number.
    """
    whole = likelier.shape[dim] // _FACTORS * _FACTORS
    grouped = likelier.narrow(dim, 0, whole).unflatten(dim, (_FACTORS, -1))  # type: ignore[no-untyped-call]
    logs: Tensor = grouped.prod(dim=dim).log().sum(dim=dim)
    rest = likelier.narrow(dim, whole, likelier.shape[dim] - whole)
    return positive.sum(dim=dim) - logs - rest.log().sum(dim=dim)
