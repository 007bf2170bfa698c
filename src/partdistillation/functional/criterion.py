"""The loss of stages 0, 3 and 5: matched queries are compared with their targets (deep supervision).

Each term is defined in `losses`; here is what is compared with what. Only importance sampling, which looks at
the predictions before it chooses its points, needs the masks of the matched queries; else masks are compared
at points that all masks of an image share (see `matching`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from partdistillation.functional.losses import MASK_TERMS, PAPER_WEIGHTS, LossWeights, pair_losses
from partdistillation.functional.matching import ImportancePoints, Match, Points, Targets, match
from partdistillation.functional.sampling import sample_each, sample_features, sample_masks


class Losses(NamedTuple):
    """`total` is the weighted sum over terms and layers."""

    total: Float[Tensor, ""]
    terms: Mapping[str, Float[Tensor, " layer"]]
    """"classification" and those of masks, unweighted."""


def criterion(
    mask_embeddings: Float[Tensor, "layer image query channel"],
    mask_features: Float[Tensor, "image channel height width"],
    class_logits: Sequence[Float[Tensor, "layer _group query logit"]],
    targets: Sequence[Targets],
    points: Points,
    weights: LossWeights = PAPER_WEIGHTS,
    *,
    num_masks: float | None = None,
    query_weight: float | None = None,
    matcher: Callable[..., Sequence[Match]] = match,
) -> Losses:
    """Match every layer's queries with the targets, and compare the pairs.

    `num_masks` divides the mask terms, `query_weight` the classification's: by default this batch's number of
    targets, at least 1, and the weight of its queries; else those of a larger batch that this is a part of.
    `matcher` takes and gives what `match` does. Images may have no target, one, or more than there
    are queries.
    Raises PartDistillationError where a prediction isn't finite.
    """
    features = sample_features(mask_features, points.shared)
    point_targets = [
        sample_masks(t.masks, p).to(features) for t, p in zip(targets, points.shared, strict=True)
    ]
    matches = matcher(mask_embeddings, features, class_logits, targets, point_targets, weights)
    classification = classification_loss(class_logits, targets, matches, weights.no_object, query_weight)
    if points.importance is None:
        compared = _compare_shared(mask_embeddings, features, point_targets, matches)
    else:
        compared = _compare_importance(
            mask_embeddings, mask_features, targets, matches, points.importance, points.shared.shape[1]
        )
    divisor = max(sum(len(t.labels) for t in targets), 1) if num_masks is None else num_masks
    terms = {"classification": classification}
    total = weights.classification * classification
    for name in MASK_TERMS:
        terms[name] = torch.stack([values[name].sum(dim=-1) for values in compared]).sum(dim=0) / divisor
        total = total + weights.of(name) * terms[name]
    return Losses(total.sum(), terms)


def classification_loss(
    class_logits: Sequence[Float[Tensor, "layer _group query logit"]],
    targets: Sequence[Targets],
    matches: Sequence[Match],
    no_object_weight: float,
    query_weight: float | None = None,
) -> Float[Tensor, " layer"]:
    """Weighted mean cross-entropy over all queries of all images.

    A matched query has its target's class, among the classes of the target's group. An unmatched one has
    "no object", with weight `no_object_weight`, as the mean over the image's groups. `query_weight` is the
    sum of the weights, if more queries than these are meant.
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
    total = torch.stack(terms).sum(dim=0)
    return total / (torch.stack(weights).sum(dim=0) if query_weight is None else query_weight)


def _compare_shared(
    mask_embeddings: Tensor, features: Tensor, point_targets: Sequence[Tensor], matches: Sequence[Match]
) -> list[dict[str, Float[Tensor, "layer pair"]]]:
    """Terms of masks, of each image at the points that all its masks share."""
    terms = []
    # unbound at once: the gradient of one image's, taken by its index, would be as large as that of all
    for embeddings, values, wanted, pairs in zip(
        mask_embeddings.unbind(1), features.unbind(), point_targets, matches, strict=True
    ):
        logits = _matched(embeddings, pairs) @ values.T
        terms.append(pair_losses(logits.float(), wanted[pairs.targets].float()))
    return terms


def _compare_importance(
    mask_embeddings: Tensor,
    mask_features: Tensor,
    targets: Sequence[Targets],
    matches: Sequence[Match],
    points: ImportancePoints,
    count: int,
) -> list[dict[str, Float[Tensor, "layer pair"]]]:
    """Terms of masks, of each image at points of each mask's own, `count` of them."""
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
        terms.append(pair_losses(logits.float(), point_targets.float()))
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
