"""Matching queries with targets, layer by layer (Mask2Former's set prediction).

Masks enter as their factors: a query's embedding and the pixels' features, whose dot product is a mask
logit. Sampling is linear, so features are sampled at the points first, and one product gives the point
logits of all decoder layers: no full mask is computed.

Class logits come image by image as "layer group query logit", "no object" last. A group is an object class of
the image: a part is classified among the parts of its own object's class (stage 5). Where there is but one
set of classes (stages 0 and 3) there is one group. In shapes, `_` marks an axis whose length differs from
image to image.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from partdistillation.errors import PartDistillationError
from partdistillation.functional.losses import LossWeights, pairwise_losses
from partdistillation.kernels.products import linear


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


def draw_points(
    counts: Sequence[int],
    num_points: int,
    *,
    own: Sequence[int] | None = None,
    layers: int,
    generator: torch.Generator,
    importance_sampling: bool,
    oversample: float = 3.0,
    importance: float = 0.75,
) -> Points:
    """Random points for `criterion`, drawn on the generator's device.

    Uniform (the paper: the borders of segments are noise), or with candidates for importance sampling
    (Mask2Former): `oversample` times as many, of which the uncertain ones fill `importance` of the points.

    `counts` are the targets of the batch's images. `own` are the places of those whose points are returned,
    in this order, by default all: an image's points don't depend on who draws the others'.
    """
    chosen = range(len(counts)) if own is None else own
    starts = [*accumulate(counts, initial=0)]
    targets = [target for image in chosen for target in range(starts[image], starts[image + 1])]

    def draw(kept: Sequence[int], *shape: int) -> Tensor:
        drawn = torch.rand(*shape, 2, generator=generator, device=generator.device)
        return drawn if own is None else drawn[list(kept)]

    shared = draw(chosen, len(counts), num_points)
    if not importance_sampling:
        return Points(shared)
    sizes = int(num_points * oversample), num_points - int(importance * num_points)
    candidates, uniform = (
        torch.stack([draw(targets, starts[-1], size) for _ in range(layers)]) for size in sizes
    )
    return Points(shared, ImportancePoints(candidates, uniform))


@torch.no_grad()
def matching_costs(
    mask_embeddings: Float[Tensor, "layer image query channel"],
    features: Float[Tensor, "image point channel"],
    class_logits: Sequence[Float[Tensor, "layer _group query logit"]],
    targets: Sequence[Targets],
    point_targets: Sequence[Float[Tensor, "_target point"]],
    weights: LossWeights,
) -> list[np.ndarray]:
    """What each pair of a query and a target costs: an array "layer query target" an image.

    `features` and `point_targets` are samples at the same points. A pair's cost is the weighted sum of minus
    the target class's probability and the terms of masks (`losses.MASK_TERMS`).
    Raises PartDistillationError where a prediction isn't finite.
    """
    costs = []
    for image, target in enumerate(targets):
        probabilities = class_logits[image].float().softmax(dim=-1)
        cost = -weights.classification * probabilities[:, target.groups, :, target.labels]
        predictions = mask_embeddings[:, image]
        logits = linear(features[image], predictions.flatten(0, 1), None).float()
        terms = pairwise_losses(logits, point_targets[image].float())
        of_masks = reduce(torch.add, [weights.of(name) * term for name, term in terms.items()])
        cost += of_masks.view(-1, *predictions.shape[:2])
        costs.append(cost.movedim(0, -1))
    host = torch.cat(costs, dim=-1).cpu().numpy()  # one transfer, whatever the number of images
    if not np.isfinite(host).all():
        raise PartDistillationError(
            "expected finite predictions, found NaN or infinity: training has diverged. Lower the learning"
            " rate or the gradient norm at which it is clipped."
        )
    ends = np.cumsum([len(t.labels) for t in targets])[:-1]
    return np.split(host, ends, axis=-1)


def match(
    mask_embeddings: Float[Tensor, "layer image query channel"],
    features: Float[Tensor, "image point channel"],
    class_logits: Sequence[Float[Tensor, "layer _group query logit"]],
    targets: Sequence[Targets],
    point_targets: Sequence[Float[Tensor, "_target point"]],
    weights: LossWeights,
) -> list[Match]:
    """Cheapest one-to-one assignment of queries to targets: image by image, every layer for itself."""
    costs = matching_costs(mask_embeddings, features, class_logits, targets, point_targets, weights)
    return [assign(image, mask_embeddings.device) for image in costs]


def assign(costs: Float[np.ndarray, "layer query target"], device: torch.device) -> Match:
    """Solve every layer's assignment problem; pairs in the targets' order."""
    queries, matched = [], []
    for cost in costs:
        rows, columns = linear_sum_assignment(cost)
        order = np.argsort(columns)
        queries.append(rows[order])
        matched.append(columns[order])
    stacked = torch.from_numpy(np.stack([queries, matched])).to(device)
    return Match(stacked[0], stacked[1])
