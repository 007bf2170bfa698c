"""Matching queries with targets, and the loss of stages 0, 3 and 5 (Mask2Former's set prediction).

Masks enter as their factors: a query's embedding and the pixels' features, whose dot product is a mask
logit. Sampling is linear, so features are sampled at the points first, and one product gives the point
logits of all decoder layers: no full mask is computed. Only importance sampling, which looks at the
predictions before it chooses its points, needs the masks of the matched queries.

Class logits come image by image as "layer group query logit", "no object" last. A group is an object class of
the image: a part is classified among the parts of its own object's class (stage 5). Where there is but one
set of classes (stages 0 and 3) there is one group. In shapes, `_` marks an axis whose length differs from
image to image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.autograd.function import once_differentiable

from partdistillation.errors import PartDistillationError
from partdistillation.functional.sampling import sample_each, sample_features, sample_masks
from partdistillation.kernels.products import linear
from partdistillation.runs.profiling import span

_FACTORS = 64
"""Of a product whose logarithm is taken at once."""


class Targets(NamedTuple):
    """What is to be found in one image. Masks cover the whole input canvas, padding included."""

    masks: Bool[Tensor, "_target height width"]
    labels: Int[Tensor, " _target"]
    """Class, in 0 ... number of logits - 2."""
    groups: Int[Tensor, " _target"]
    """Index into the image's groups of class logits; zeros where there is one group."""


class ImportancePoints(NamedTuple):
    """Random points for importance sampling, of every layer and every target of the batch (x, y in 0..1)."""

    candidates: Float[Tensor, "layer target candidate 2"]
    """Of these, the most uncertain are used."""
    uniform: Float[Tensor, "layer target rest 2"]
    """These are used as they are."""


class Points(NamedTuple):
    """Where masks are compared: (x, y) in 0..1 over the canvas."""

    shared: Float[Tensor, "image point 2"]
    """One set an image: for the matcher; for the loss too, unless it samples by importance."""
    importance: ImportancePoints | None = None


class Match(NamedTuple):
    """Matched pairs of one image: min(queries, targets) in every layer, in the targets' order."""

    queries: Int[Tensor, "layer _pair"]
    targets: Int[Tensor, "layer _pair"]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms, used for the matcher's costs too (lambda 2/5/5)."""

    classification: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    no_object: float = 0.1
    """Weight of the "no object" class within the classification loss."""


class Losses(NamedTuple):
    """`total` is the weighted sum over terms and layers; the terms are unweighted, a value a layer."""

    total: Float[Tensor, ""]
    classification: Float[Tensor, " layer"]
    mask: Float[Tensor, " layer"]
    dice: Float[Tensor, " layer"]


def criterion(
    mask_embeddings: Float[Tensor, "layer image query channel"],
    mask_features: Float[Tensor, "image channel height width"],
    class_logits: Sequence[Float[Tensor, "layer _group query logit"]],
    targets: Sequence[Targets],
    points: Points,
    weights: LossWeights = LossWeights(),
    *,
    num_masks: float | None = None,
) -> Losses:
    """Match every layer's queries with the targets, and compare the pairs (deep supervision).

    `num_masks` divides the mask terms: the mean number of targets a process (`mean_target_count`), at least
    1; by default this batch's. Images may have no target, one, or more than there are queries.
    Raises PartDistillationError where a prediction isn't finite.
    """
    features = sample_features(mask_features, points.shared)
    point_targets = [
        sample_masks(t.masks, p).to(features) for t, p in zip(targets, points.shared, strict=True)
    ]
    with span("matcher"):
        matches = match(mask_embeddings, features, class_logits, targets, point_targets, weights)
    classification = classification_loss(class_logits, targets, matches, weights.no_object)
    if points.importance is None:
        terms = _compare_shared(mask_embeddings, features, point_targets, matches)
    else:
        count = points.shared.shape[1]
        terms = _compare_importance(
            mask_embeddings, mask_features, targets, matches, points.importance, count
        )
    divisor = max(sum(len(t.labels) for t in targets) if num_masks is None else num_masks, 1.0)
    mask, dice = (torch.stack(values).sum(dim=0) / divisor for values in zip(*terms, strict=True))
    total = weights.classification * classification + weights.mask * mask + weights.dice * dice
    return Losses(total.sum(), classification, mask, dice)


def mean_target_count(targets: Sequence[Targets], device: torch.device) -> float:
    """Number of targets of the batch, averaged over the processes of a distributed run; at least 1."""
    count = torch.tensor(float(sum(len(t.labels) for t in targets)), device=device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return max(count.item(), 1.0)


def draw_points(
    targets: Sequence[Targets],
    num_points: int,
    *,
    layers: int,
    generator: torch.Generator,
    importance_sampling: bool,
    oversample: float = 3.0,
    importance: float = 0.75,
) -> Points:
    """Random points for `criterion`, drawn on the generator's device.

    Uniform (the paper: the borders of segments are noise), or with candidates for importance sampling
    (Mask2Former): `oversample` times as many, of which the uncertain ones fill `importance` of the points.
    """

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, 2, generator=generator, device=generator.device)

    shared = draw(len(targets), num_points)
    if not importance_sampling:
        return Points(shared)
    count = sum(len(t.labels) for t in targets)
    rest = num_points - int(importance * num_points)
    candidates = draw(layers, count, int(num_points * oversample))
    return Points(shared, ImportancePoints(candidates, draw(layers, count, rest)))


# ---------------------------------------------------------------------- matching


@torch.no_grad()
def match(
    mask_embeddings: Float[Tensor, "layer image query channel"],
    features: Float[Tensor, "image point channel"],
    class_logits: Sequence[Float[Tensor, "layer _group query logit"]],
    targets: Sequence[Targets],
    point_targets: Sequence[Float[Tensor, "_target point"]],
    weights: LossWeights,
) -> list[Match]:
    """Cheapest one-to-one assignment of queries to targets: image by image, every layer for itself.

    `features` and `point_targets` are samples at the same points. The cost of a pair is the weighted sum of
    minus the target class's probability, the mean binary cross-entropy, and the dice loss.
    """
    costs = []
    for image, target in enumerate(targets):
        probabilities = class_logits[image].float().softmax(dim=-1)
        cost = -weights.classification * probabilities[:, target.groups, :, target.labels]
        predictions = mask_embeddings[:, image]
        logits = linear(features[image], predictions.flatten(0, 1), None).float()
        mask, dice = pairwise_costs(logits, point_targets[image].float())
        cost += (weights.mask * mask + weights.dice * dice).view(-1, *predictions.shape[:2])
        costs.append(cost.movedim(0, -1))
    host = torch.cat(costs, dim=-1).cpu().numpy()  # one transfer, whatever the number of images
    if not np.isfinite(host).all():
        raise PartDistillationError(
            "expected finite predictions, found NaN or infinity: training has diverged. Lower the learning"
            " rate or the gradient norm at which it is clipped."
        )
    ends = np.cumsum([len(t.labels) for t in targets])[:-1]
    device = mask_embeddings.device
    with span("Hungarian"):
        return [_assign(cost, device) for cost in np.split(host, ends, axis=-1)]


def pairwise_costs(
    logits: Float[Tensor, "point prediction"], targets: Float[Tensor, "target point"]
) -> tuple[Float[Tensor, "target prediction"], Float[Tensor, "target prediction"]]:
    """Mean sigmoid cross-entropy, and dice loss, of every target with every prediction, over the points.

    Overwrites `logits`: all layers' predictions have many, and copies take longer than the arithmetic.
    """
    probabilities = logits.sigmoid()
    overlap = 2 * (targets @ probabilities) + 1
    dice = 1 - overlap / (probabilities.sum(dim=0) + targets.sum(dim=1, keepdim=True) + 1)
    agreed = targets @ logits
    likelier = probabilities.sub_(0.5).abs_().add_(0.5)
    return (_softplus_sum(logits.relu_(), likelier, 0) - agreed) / len(logits), dice


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


def _assign(costs: np.ndarray, device: torch.device) -> Match:
    """Solve every layer's assignment problem; pairs in the targets' order."""
    queries, matched = [], []
    for cost in costs:
        rows, columns = linear_sum_assignment(cost)
        order = np.argsort(columns)
        queries.append(rows[order])
        matched.append(columns[order])
    stacked = torch.from_numpy(np.stack([queries, matched])).to(device)
    return Match(stacked[0], stacked[1])


# ---------------------------------------------------------------------- losses


def classification_loss(
    class_logits: Sequence[Float[Tensor, "layer _group query logit"]],
    targets: Sequence[Targets],
    matches: Sequence[Match],
    no_object_weight: float,
) -> Float[Tensor, " layer"]:
    """Weighted mean cross-entropy over all queries of all images.

    A matched query has its target's class, among the classes of the target's group. An unmatched one has
    "no object", with weight `no_object_weight`, as the mean over the image's groups.
    """
    terms, weights = [], []
    for logits, target, pairs in zip(class_logits, targets, matches, strict=True):
        if not logits.shape[1]:
            continue
        negative = -logits.log_softmax(dim=-1)
        layer = torch.arange(len(negative), device=negative.device)[:, None]
        groups, labels = target.groups[pairs.targets], target.labels[pairs.targets]
        term = negative[..., -1].mean(dim=1)
        term = term.index_put((layer, pairs.queries), negative[layer, groups, pairs.queries, labels])
        weight = torch.full_like(term, no_object_weight).index_put(
            (layer, pairs.queries), torch.ones((), device=term.device, dtype=term.dtype)
        )
        terms.append((term * weight).sum(dim=-1))
        weights.append(weight.sum(dim=-1))
    if not terms:
        return class_logits[0].sum(dim=(1, 2, 3))  # zeros, that keep the graph connected
    return torch.stack(terms).sum(dim=0) / torch.stack(weights).sum(dim=0)


def mask_losses(
    logits: Float[Tensor, "layer pair point"], targets: Float[Tensor, "layer pair point"]
) -> tuple[Float[Tensor, " layer"], Float[Tensor, " layer"]]:
    """Binary cross-entropy (mean over points) and dice loss, each summed over the pairs."""
    cross_entropy, dice = _MaskLosses.apply(logits.float(), targets.float())  # type: ignore[no-untyped-call]
    return cross_entropy.sum(dim=-1), dice.sum(dim=-1)


class _MaskLosses(torch.autograd.Function):
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


def _compare_shared(
    mask_embeddings: Tensor, features: Tensor, point_targets: Sequence[Tensor], matches: Sequence[Match]
) -> list[tuple[Tensor, Tensor]]:
    """Mask losses of each image at the points that all its masks share."""
    terms = []
    # unbound at once: the gradient of one image's, taken by its index, would be as large as that of all
    for embeddings, values, wanted, pairs in zip(
        mask_embeddings.unbind(1), features.unbind(), point_targets, matches, strict=True
    ):
        logits = _matched(embeddings, pairs) @ values.T
        terms.append(mask_losses(logits, wanted[pairs.targets]))
    return terms


def _compare_importance(
    mask_embeddings: Tensor,
    mask_features: Tensor,
    targets: Sequence[Targets],
    matches: Sequence[Match],
    points: ImportancePoints,
    count: int,
) -> list[tuple[Tensor, Tensor]]:
    """Mask losses of each image at points of each mask's own, `count` of them."""
    terms, start = [], 0
    for embeddings, features, target, pairs in zip(
        mask_embeddings.unbind(1), mask_features.unbind(), targets, matches, strict=True
    ):
        masks = torch.einsum("lpc,chw->lphw", _matched(embeddings, pairs), features).flatten(0, 1)
        layer = torch.arange(len(pairs.targets), device=masks.device)[:, None]
        candidates, uniform = (values[layer, start + pairs.targets].flatten(0, 1) for values in points)
        chosen = _most_uncertain(masks, candidates, uniform, count)
        wanted = target.masks[pairs.targets.flatten()].to(masks)
        logits, point_targets = (
            sample_each(values, chosen).view(*pairs.targets.shape, count) for values in (masks, wanted)
        )
        terms.append(mask_losses(logits, point_targets))
        start += len(target.labels)
    return terms


@torch.no_grad()
def _most_uncertain(
    masks: Float[Tensor, "pair height width"],
    candidates: Float[Tensor, "pair candidate 2"],
    uniform: Float[Tensor, "pair rest 2"],
    count: int,
) -> Float[Tensor, "pair point 2"]:
    """The uniform points, filled up to `count` with the candidates whose logits are nearest to 0."""
    certainty = sample_each(masks, candidates).abs()
    nearest = certainty.topk(count - uniform.shape[1], dim=1, largest=False).indices
    return torch.cat([candidates.gather(1, nearest[..., None].expand(-1, -1, 2)), uniform], dim=1)


def _matched(embeddings: Tensor, pairs: Match) -> Float[Tensor, "layer pair channel"]:
    layer = torch.arange(len(embeddings), device=embeddings.device)[:, None]
    return embeddings[layer, pairs.queries]
