"""Stage 2's pixel grouping: k-means inside an object, then labels at image size (supplement, section 2).

The clusters are found on the feature map; only the assignment is at image size. Resizing bilinearly and
taking a dot product commute, so the similarity maps of the k centroids are upsampled instead of the
features' hundreds of channels: the same labels, from k maps.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, overload

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from partdistillation.errors import ConfigError, InputError
from partdistillation.functional.arrays import as_array
from partdistillation.functional.kmeans import Clustering, kmeans, kmeans_batch, naming_object, single_thread
from partdistillation.functional.mask_gate import MaskLike, as_mask

__all__ = [
    "Clustering",
    "Metric",
    "assign_to_centroids",
    "combine_levels",
    "group_objects",
    "group_pixels",
    "kmeans",
    "mask_at",
]

Metric = Literal["dot", "l2", "cosine"]


@overload
def group_pixels(
    features: Float[Tensor, "channel h w"],
    mask: MaskLike,
    *,
    k: int,
    metric: Metric,
    restarts: int,
    seed: int,
) -> Int[Tensor, "height width"]: ...


@overload
def group_pixels(
    features: Float[np.ndarray, "channel h w"],
    mask: MaskLike,
    *,
    k: int,
    metric: Metric,
    restarts: int,
    seed: int,
) -> Int[np.ndarray, "height width"]: ...


def group_pixels(
    features: Float[Tensor, "channel h w"] | Float[np.ndarray, "channel h w"],
    mask: MaskLike,
    *,
    k: int,
    metric: Metric,
    restarts: int,
    seed: int,
) -> Int[Tensor, "height width"] | Int[np.ndarray, "height width"]:
    """Group an object's pixels into at most `k` segments.

    The feature map must cover the same field as the mask, which has the image's size (where the image was
    padded for the encoder, so must the mask be). K-means is Euclidean whatever the metric: its points are the
    feature pixels that the mask, resized by nearest neighbour, covers (of an object too thin for that: those
    in which its pixels lie), and the best of `restarts` starts counts. Then each pixel of the mask takes the
    centroid that is best, compared on the feature map and upsampled bilinearly (`align_corners=False`):

    - `dot`: largest dot product with the centroid, neither being normalized (as in the released code);
    - `l2`: smallest Euclidean distance;
    - `cosine`: features are normalized first, clustered, and compared with normalized centroids.

    The result is a function of the arguments alone: neither other objects nor threads nor workers matter.

    Returns:
        Labels of the mask's size, of the kind of `features` (int64): 0 outside the mask, 1..k inside. A
        label may be missing: with `dot`, a centroid can be nobody's best, and there are no more clusters than
        distinct features. The numbers of the labels mean nothing.

    Raises:
        InputError: a mask that is empty, ambiguous or polygons (see `mask_gate.as_mask`), arrays of the wrong
            rank, features that aren't finite.
        ConfigError: `k` or `restarts` below 1, or an unknown metric.
    """
    # Copies: torch can't share arrays that are read-only or have negative strides.
    masks = torch.from_numpy(np.array(as_mask(mask)))[None]
    if isinstance(features, Tensor):
        return group_objects(features, masks, k=k, metric=metric, restarts=restarts, seeds=[seed])[0]
    maps = torch.from_numpy(np.array(as_array(features, "features"), np.float32))
    return group_objects(maps, masks, k=k, metric=metric, restarts=restarts, seeds=[seed])[0].numpy()


def group_objects(
    features: Float[Tensor, "channel h w"],
    masks: Bool[Tensor, "objects height width"],
    *,
    k: int,
    metric: Metric,
    restarts: int,
    seeds: Sequence[int],
) -> Int[Tensor, "objects height width"]:
    """Group every object of an image: the label maps that `group_pixels` gives for each mask and seed.

    On a CPU objects are clustered one by one, so that none changes another's result by a bit; on a GPU, which
    one would leave idle, in one go (`kmeans_batch`).

    Raises:
        InputError: as `group_pixels`, naming the object; not as many seeds as masks.
        ConfigError: as `group_pixels`.
    """
    if features.ndim != 3 or masks.ndim != 3:
        raise InputError(
            "Pixel grouping needs features (channel, h, w) and masks of shape (height, width); "
            f"found features {tuple(features.shape)} and masks {tuple(masks.shape[1:])}"
        )
    if len(seeds) != len(masks):
        raise InputError(f"Expected one seed for each of {len(masks)} masks; found {len(seeds)}")
    masks = masks.to(features.device, torch.bool)
    with torch.no_grad(), single_thread(features.device):
        features = _prepared(features, metric)
        labels = torch.zeros(masks.shape, dtype=torch.int64, device=features.device)
        clusterings = _clusterings(features, masks, k, restarts, seeds)
        for index, (mask, clustering) in enumerate(zip(masks, clusterings, strict=True)):
            labels[index] = _assign(features, mask, clustering.centroids, metric)
    return labels


def _clusterings(
    features: Tensor, masks: Tensor, k: int, restarts: int, seeds: Sequence[int]
) -> Iterator[Clustering]:
    if _one_by_one(features.device):
        for index, (mask, seed) in enumerate(zip(masks, seeds, strict=True)):
            with naming_object(index):
                clustering = kmeans(_points(features, mask), k, restarts=restarts, seed=seed)
            yield clustering
        return
    points = []
    for index, mask in enumerate(masks):
        with naming_object(index):
            points.append(_points(features, mask))
    yield from kmeans_batch(points, k, restarts=restarts, seeds=seeds)


def _one_by_one(device: torch.device) -> bool:
    return device.type == "cpu"


def _points(features: Tensor, mask: Tensor) -> Tensor:
    """The feature pixels of an object, "n channel"."""
    inside = mask_at(mask, *features.shape[1:]).flatten().nonzero()[:, 0]
    return features.flatten(1).T.index_select(0, inside)  # twice as fast as `features[:, inside].T`


def assign_to_centroids(
    features: Float[Tensor, "channel h w"],
    mask: Bool[Tensor, "height width"],
    centroids: Float[Tensor, "clusters channel"],
    *,
    metric: Metric,
) -> Int[Tensor, "height width"]:
    """Label the mask's pixels with the best of given centroids (1..clusters; 0 outside the mask).

    Similarities are computed on the feature map, upsampled bilinearly (`align_corners=False`) and compared.
    """
    with torch.no_grad(), single_thread(features.device):
        return _assign(_prepared(features, metric), mask, centroids, metric)


def mask_at(mask: Bool[Tensor, "height width"], h: int, w: int) -> Bool[Tensor, "h w"]:
    """Resize a mask to the feature map by nearest neighbour, without losing it.

    An object so thin that no sample hits it covers the feature pixels in which its pixels lie.

    Raises:
        InputError: the mask is empty.
    """
    small = functional.interpolate(mask[None, None].float(), size=(h, w), mode="nearest")[0, 0] > 0
    if bool(small.any()):
        return small
    rows, columns = mask.nonzero(as_tuple=True)
    if len(rows) == 0:
        raise InputError("expected a mask with at least one pixel; found an empty one: leave the object out")
    height, width = mask.shape
    small[rows * h // height, columns * w // width] = True
    return small


def combine_levels(maps: Sequence[Float[Tensor, "_ _ _"]]) -> Float[Tensor, "channel h w"]:
    """Concatenate feature maps of one image, in the given order, at the size of the finest, in float32.

    Coarser maps are upsampled bilinearly (`align_corners=False`).

    Raises:
        InputError: no maps.
    """
    if len(maps) == 0:
        raise InputError("Expected at least one feature map; found none: choose the encoder's levels")
    size = max((level.shape[1:] for level in maps), key=lambda shape: shape.numel())
    resized = [
        functional.interpolate(level[None].float(), size=size, mode="bilinear", align_corners=False)[0]
        for level in maps
    ]
    return torch.cat(resized)


def _prepared(features: Tensor, metric: Metric) -> Tensor:
    features = features.float()
    return functional.normalize(features, dim=0) if metric == "cosine" else features


def _assign(features: Tensor, mask: Tensor, centroids: Tensor, metric: Metric) -> Tensor:
    scores = _similarity(features, centroids, metric)
    scores = functional.interpolate(scores[None], size=mask.shape, mode="bilinear", align_corners=False)[0]
    return torch.where(mask, scores.max(dim=0).indices + 1, 0)


def _similarity(features: Tensor, centroids: Tensor, metric: Metric) -> Tensor:
    """Similarity maps "clusters h w", linear in the features up to a term that all clusters share."""
    dots = (centroids @ features.flatten(1)).view(len(centroids), *features.shape[1:])
    match metric:
        case "dot":
            return dots
        case "l2":
            return 2 * dots - centroids.square().sum(dim=1)[:, None, None]
        case "cosine":
            directions = functional.normalize(centroids, dim=1)
            return _similarity(features, directions, "dot")
        case _:
            raise ConfigError(f"Expected the metric dot, l2 or cosine; found {metric!r}")
