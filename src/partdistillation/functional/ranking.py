"""Stage 4's arithmetic: proposals made unique per pixel, filtered and ranked (supplement, eq. 1 to 4)."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import softmax
from torch import Tensor

from partdistillation.errors import ConfigError, InputError

Distance = Literal["l2", "released_21k", "dot"]


class Proposals(NamedTuple):
    """The proposals that an object keeps, in ascending order of their queries."""

    queries: Int[Tensor, " kept"]
    masks: Bool[Tensor, "kept height width"]
    scores: Float[Tensor, " kept"]
    ratios: Float[Tensor, " kept"]
    """Share of the object's area (eq. 2)."""
    features: Float[Tensor, "kept dim"]


class Parts(NamedTuple):
    """An object's parts after proposals of the same label were merged, in ascending order of their labels."""

    labels: Int[Tensor, " kept"]
    masks: Bool[Tensor, "kept height width"]
    scores: Float[Tensor, " kept"]
    """Best score among a part's proposals."""
    ratios: Float[Tensor, " kept"]


def assign_pixels(
    mask_logits: Float[Tensor, "query height width"],
    scores: Float[Tensor, " query"],
    object_mask: Bool[Tensor, "height width"],
) -> Int[Tensor, "height width"]:
    """Assign each pixel x of the object to the query argmax_j M_j(x) s_j; -1 outside the object.

    M_j is the sigmoid of query j's mask logits (eq. 1), s_j its score. Of equals, the first query wins.
    """
    weighted = mask_logits.sigmoid() * scores[:, None, None]
    return torch.where(object_mask, weighted.max(dim=0).indices, -1)


def unique_proposals(
    mask_logits: Float[Tensor, "query height width"],
    scores: Float[Tensor, " query"],
    features: Float[Tensor, "query dim"],
    object_mask: Bool[Tensor, "height width"],
    *,
    per_pixel: bool,
    min_ratio: float,
    min_score: float,
    keep_all_if_none: bool,
) -> Proposals:
    """Turn the queries' masks into an object's salient proposals (eq. 2 and 3).

    Masks are unique per pixel (`assign_pixels`), or with `per_pixel=False` what a query's mask probability
    is over .5 for, inside the object. Queries without a pixel are dropped; then those whose share of the
    object's area isn't over `min_ratio`; then those whose score isn't over `min_score`. With
    `keep_all_if_none`, a filter that none would pass is skipped, as in the released code.

    Raises:
        InputError: the object mask is empty, or sizes don't match.
    """
    _check(mask_logits, scores, object_mask)
    if per_pixel:
        queries, masks = _split(assign_pixels(mask_logits, scores, object_mask))
    else:
        masks = (mask_logits > 0) & object_mask
        queries = masks.flatten(1).any(dim=1).nonzero()[:, 0]
        masks = masks[queries]
    ratios = _ratios(masks, object_mask)
    kept = _filter(ratios, scores[queries], min_ratio, min_score, keep_all_if_none)
    queries = queries[kept]
    return Proposals(queries, masks[kept], scores[queries], ratios[kept], features[queries])


def unique_parts(
    mask_logits: Float[Tensor, "query height width"],
    scores: Float[Tensor, " query"],
    labels: Int[Tensor, " query"],
    object_mask: Bool[Tensor, "height width"],
    *,
    min_ratio: float,
    min_score: float,
    keep_all_if_none: bool,
) -> Parts:
    """Turn labelled masks into an object's parts: unique per pixel, merged by label, then filtered.

    A label's part is the union of its queries' pixels, with their best score. The filters are those of
    `unique_proposals`, on the merged parts.

    Raises:
        InputError: the object mask is empty, or sizes don't match.
    """
    _check(mask_logits, scores, object_mask)
    queries = assign_pixels(mask_logits, scores, object_mask)
    label_map = torch.where(object_mask, labels[queries], -1)
    parts, masks = _split(label_map)
    used = torch.zeros_like(scores, dtype=torch.bool)
    used[queries[object_mask]] = True
    candidates = torch.where(used & (labels == parts[:, None]), scores, -torch.inf)
    best = candidates.amax(dim=1)
    ratios = _ratios(masks, object_mask)
    kept = _filter(ratios, best, min_ratio, min_score, keep_all_if_none)
    return Parts(parts[kept], masks[kept], best[kept], ratios[kept])


def part_probabilities(
    features: Float[np.ndarray, "n dim"], centroids: Float[np.ndarray, "k dim"], *, distance: Distance
) -> Float[np.ndarray, "n k"]:
    """Probability of each part class: softmax over a class's centroids of minus the distance (eq. 4).

    `l2` is the paper's, the Euclidean norm (not squared). The released code's are x.c - |x|^2 - |c|^2
    (`released_21k`, where a factor of 2 is missing) and x.c (`dot`). Computed and returned in float64.

    Raises:
        InputError: no centroids, or features of another dimension than theirs.
        ConfigError: an unknown distance.
    """
    if len(centroids) == 0 or features.ndim != 2 or features.shape[1:] != centroids.shape[1:]:
        raise InputError(
            f"Expected features (n, dim) and at least one centroid (k, dim); "
            f"found the shapes {features.shape} and {centroids.shape}"
        )
    return softmax(_similarity(features.astype(np.float64), centroids.astype(np.float64), distance), axis=1)


def _similarity(
    features: NDArray[np.float64], centroids: NDArray[np.float64], distance: Distance
) -> NDArray[np.float64]:
    match distance:
        case "l2":
            return -cdist(features, centroids)
        case "released_21k":
            squares = np.square(features).sum(axis=1, keepdims=True) + np.square(centroids).sum(axis=1)
            return np.asarray(features @ centroids.T - squares)
        case "dot":
            return np.asarray(features @ centroids.T)
        case _:
            raise ConfigError(f"Expected the distance l2, released_21k or dot; found {distance!r}")


def _check(mask_logits: Tensor, scores: Tensor, object_mask: Tensor) -> None:
    if mask_logits.shape[1:] != object_mask.shape or len(mask_logits) != len(scores):
        raise InputError(
            "Expected mask logits (query, height, width), a score a query, an object mask (height, width); "
            f"found {tuple(mask_logits.shape)}, {tuple(scores.shape)} and {tuple(object_mask.shape)}"
        )
    if not bool(object_mask.any()):
        raise InputError("Expected an object mask with at least one pixel; found an empty one: leave it out")


def _split(index_map: Int[Tensor, "height width"]) -> tuple[Tensor, Tensor]:
    """Indices that occur in a map (but -1), ascending, and the mask of each."""
    indices = torch.unique(index_map)
    indices = indices[indices >= 0]
    return indices, index_map == indices[:, None, None]


def _ratios(masks: Bool[Tensor, "n height width"], object_mask: Bool[Tensor, "height width"]) -> Tensor:
    return masks.flatten(1).sum(dim=1) / object_mask.sum()


def _filter(
    ratios: Tensor, scores: Tensor, min_ratio: float, min_score: float, keep_all_if_none: bool
) -> Tensor:
    """Indices that pass the area filter, then the score filter (eq. 3)."""
    kept = torch.arange(len(ratios), device=ratios.device)
    for values, threshold in ((ratios, min_ratio), (scores, min_score)):
        passed = values[kept] > threshold
        if bool(passed.any()) or not keep_all_if_none:
            kept = kept[passed]
    return kept
