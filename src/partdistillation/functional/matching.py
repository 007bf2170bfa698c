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
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from partdistillation.errors import PartDistillationError
from partdistillation.functional.products import linear
from partdistillation.profiling import span


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


# ---------------------------------------------------------------------- sampling


def sample_features(
    features: Float[Tensor, "image channel height width"], points: Float[Tensor, "image point 2"]
) -> Float[Tensor, "image channel point"]:
    """Bilinear values at points (x, y) in 0..1; pixel centres lie at (i + .5) / size, outside is 0.

    As weighted sums of rows, which is fast for many channels, above all where they are last in memory.
    """
    count, channels, height, width = features.shape
    pixels, weights = _neighbors(points, height, width)
    first = torch.arange(count, device=pixels.device)[:, None, None] * (height * width)
    sampled = nn.functional.embedding_bag(
        (pixels + first).flatten(0, 1),
        features.permute(0, 2, 3, 1).reshape(-1, channels),
        per_sample_weights=weights.flatten(0, 1).to(features),
        mode="sum",
    )
    return sampled.view(count, -1, channels).transpose(1, 2)


def sample_masks(
    masks: Bool[Tensor, "target height width"], points: Float[Tensor, "point 2"]
) -> Float[Tensor, "target point"]:
    """Bilinear values of binary masks at points shared by all of them."""
    pixels, weights = _neighbors(points, *masks.shape[1:])
    return (masks.flatten(1)[:, pixels] * weights).sum(dim=-1)


def _neighbors(
    points: Float[Tensor, "*batch point 2"], height: int, width: int
) -> tuple[Int[Tensor, "*batch point 4"], Float[Tensor, "*batch point 4"]]:
    """The four pixels around each point, row by row, and their weights: 0 for those outside."""
    size = points.new_tensor([width, height])
    place = points * size - 0.5
    corner = place.floor()
    part = (place - corner)[..., None]
    sides = corner[..., None] + torch.arange(2, device=points.device)
    inside = (sides >= 0) & (sides < size[:, None])
    weights = torch.cat([1 - part, part], dim=-1) * inside
    x, y = sides.clamp(min=0).minimum(size[:, None] - 1).long().unbind(dim=-2)
    across, down = weights.unbind(dim=-2)
    pixels = y[..., :, None] * width + x[..., None, :]
    return pixels.flatten(-2), (down[..., :, None] * across[..., None, :]).flatten(-2)


def _sample_each(
    masks: Float[Tensor, "mask height width"], points: Float[Tensor, "mask point 2"]
) -> Float[Tensor, "mask point"]:
    """As `sample_features`, for one channel."""
    grid = 2 * points[:, None] - 1
    return nn.functional.grid_sample(masks[:, None], grid, align_corners=False)[:, 0, 0]


# ---------------------------------------------------------------------- matching


@torch.no_grad()
def match(
    mask_embeddings: Float[Tensor, "layer image query channel"],
    features: Float[Tensor, "image channel point"],
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
        cost = -weights.classification * probabilities[:, target.groups, :, target.labels].movedim(0, -1)
        by_point = linear(features[image].T, mask_embeddings[:, image].flatten(0, 1), None).float()
        logits = by_point.T.view(*mask_embeddings.shape[::2], -1)
        mask, dice = pairwise_costs(logits, point_targets[image].float())
        costs.append(cost + weights.mask * mask + weights.dice * dice)
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
    logits: Float[Tensor, "layer query point"], targets: Float[Tensor, "target point"]
) -> tuple[Float[Tensor, "layer query target"], Float[Tensor, "layer query target"]]:
    """Mean sigmoid cross-entropy, and dice loss, of every query with every target, over the points."""
    transposed = targets.T
    positive = nn.functional.softplus(logits).sum(dim=-1, keepdim=True)
    cross_entropy = (positive - logits @ transposed) / logits.shape[-1]
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities @ transposed) + 1
    dice = 1 - overlap / (probabilities.sum(dim=-1, keepdim=True) + targets.sum(dim=-1) + 1)
    return cross_entropy, dice


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
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * targets).sum(dim=-1) + 1
    dice = 1 - overlap / (probabilities.sum(dim=-1) + targets.sum(dim=-1) + 1)
    return cross_entropy.mean(dim=-1).sum(dim=-1), dice.sum(dim=-1)


def _compare_shared(
    mask_embeddings: Tensor, features: Tensor, point_targets: Sequence[Tensor], matches: Sequence[Match]
) -> list[tuple[Tensor, Tensor]]:
    """Mask losses of each image at the points that all its masks share."""
    terms = []
    # unbound at once: the gradient of one image's, taken by its index, would be as large as that of all
    for embeddings, values, wanted, pairs in zip(
        mask_embeddings.unbind(1), features.unbind(), point_targets, matches, strict=True
    ):
        logits = _matched(embeddings, pairs) @ values
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
            _sample_each(values, chosen).view(*pairs.targets.shape, count) for values in (masks, wanted)
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
    certainty = _sample_each(masks, candidates).abs()
    nearest = certainty.topk(count - uniform.shape[1], dim=1, largest=False).indices
    return torch.cat([candidates.gather(1, nearest[..., None].expand(-1, -1, 2)), uniform], dim=1)


def _matched(embeddings: Tensor, pairs: Match) -> Float[Tensor, "layer pair channel"]:
    layer = torch.arange(len(embeddings), device=embeddings.device)[:, None]
    return embeddings[layer, pairs.queries]
