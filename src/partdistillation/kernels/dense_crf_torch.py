"""The dense CRF in torch, for a GPU: the objects of an image in one go, as `dense_crf.py` does each.

The same lattice and update, in operations on whole arrays that sum in a fixed order (no atomic additions):
results repeat bit for bit on a device. From those of `dense_crf.py` they differ by rounding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from partdistillation.kernels.permutohedral import axis_scales, packing


def dense_crf_objects(
    image: UInt8[Tensor, "height width 3"],
    labels: Int[Tensor, "object height width"],
    *,
    gt_prob: float,
    gaussian_sxy: float,
    gaussian_weight: float,
    bilateral_sxy: float,
    bilateral_srgb: float,
    bilateral_weight: float,
    iterations: int,
    certain_beyond: float = math.inf,
) -> Float32[Tensor, "object labels height width"]:
    """Each object's marginals over its labels, 0..its largest; 0 for larger ones that other objects have.

    Args: see `dense_crf.dense_crf_marginals`; all on one device.
    """
    count, height, width = labels.shape
    kernels = [
        (_kernel(image, gaussian_sxy, None), gaussian_weight),
        (_kernel(image, bilateral_sxy, bilateral_srgb), bilateral_weight),
    ]
    flat = labels.flatten(1).long()
    unary = _unary(flat, gt_prob)
    near = _near_other_labels(labels, certain_beyond).flatten(1)
    marginals = _mean_field(unary, near, kernels, iterations)
    return marginals.reshape(count, -1, height, width)


def _unary(labels: Int64[Tensor, "object pixels"], gt_prob: float) -> Float32[Tensor, "object labels pixels"]:
    """By how much the given label's logit is above the others'; minus infinity for labels an object lacks."""
    largest = labels.amax(dim=1).clamp(min=1)
    every = torch.arange(int(largest.max()) + 1, device=labels.device)
    bonus = math.log(gt_prob) - ((1 - gt_prob) / largest).log()
    unary = bonus[:, None, None] * (labels[:, None] == every[:, None])
    return unary.masked_fill_((every > largest[:, None])[..., None], -math.inf)


def _near_other_labels(
    labels: Int[Tensor, "object height width"], reach: float
) -> Bool[Tensor, "object height width"]:
    """The pixels that have another label than 0 within `reach` rows and columns."""
    reach = int(min(reach, max(labels.shape[1:])))
    near = (labels != 0).float()
    for side in ((2 * reach + 1, 1), (1, 2 * reach + 1)):
        near = functional.max_pool2d(near, side, stride=1, padding=(side[0] // 2, side[1] // 2))
    return near > 0


def _mean_field(
    unary: Float32[Tensor, "object labels pixels"],
    near: Bool[Tensor, "object pixels"],
    kernels: "Sequence[tuple[_Kernel, float]]",
    iterations: int,
) -> Float32[Tensor, "object labels pixels"]:
    """As `mean_field.mean_field`: label 0 isn't filtered, but gets what the others leave of all messages."""
    total = torch.stack([weight * kernel.sums for kernel, weight in kernels]).sum(dim=0)
    marginals = unary.softmax(dim=1)
    for _ in range(iterations):
        others = (marginals[:, 1:] * near[:, None]).flatten(0, 1).T.contiguous()
        messages = torch.stack([weight * kernel.filtered(others) for kernel, weight in kernels]).sum(dim=0)
        by_label = messages.T.reshape(len(unary), -1, len(total))
        logits = unary + torch.cat([(total - by_label.sum(dim=1))[:, None], by_label], dim=1)
        marginals = logits.softmax(dim=1)
    certain = torch.zeros_like(marginals[:1])
    certain[:, 0] = 1
    return torch.where(near[:, None], marginals, certain)


@dataclass(frozen=True)
class _Kernel:
    """A normalized Gaussian over the pixels: their simplices, the vertices' pixels, the vertices' neighbours.

    The last vertex stands for "none" and holds zero.
    """

    vertices: Int[Tensor, "pixels corners"]
    weights: Float32[Tensor, "pixels corners"]
    members: Int[Tensor, " memberships"]
    """The pixels of the first vertex, of the second, ..., from `starts` on, and their weights."""
    member_weights: Float32[Tensor, " memberships"]
    starts: Int[Tensor, " vertices"]
    neighbors: Int[Tensor, "directions 2 vertices"]
    sums: Float32[Tensor, " pixels"]

    def filtered(self, values: Float32[Tensor, "pixels channels"]) -> Float32[Tensor, "pixels channels"]:
        """Splat, blur, slice."""
        held = functional.embedding_bag(
            self.members, values, self.starts, mode="sum", per_sample_weights=self.member_weights
        )
        for before, after in self.neighbors:
            held = held + 0.5 * (held[before] + held[after])
        return functional.embedding_bag(self.vertices, held, mode="sum", per_sample_weights=self.weights)

    def normalized(self) -> "_Kernel":
        ones = torch.ones_like(self.sums)[:, None]
        scale = (self.filtered(ones) + 1e-20).rsqrt()
        member_weights = self.member_weights * scale[self.members, 0]
        scaled = replace(self, weights=self.weights * scale, member_weights=member_weights)
        return replace(scaled, sums=scaled.filtered(ones)[:, 0])


def _kernel(image: UInt8[Tensor, "height width 3"], sxy: float, srgb: float | None) -> _Kernel:
    """Over position, or position and colour."""
    height, width = image.shape[:2]
    y, x = (torch.arange(size, dtype=torch.float32, device=image.device) / sxy for size in (height, width))
    features = list(torch.meshgrid(y, x, indexing="ij"))
    highest = [(height - 1) / sxy, (width - 1) / sxy]
    if srgb is not None:
        features += list(image.movedim(-1, 0).float() / srgb)
        highest += [255 / srgb] * 3
    scales = axis_scales(len(features))
    corner_keys, steps = packing(np.zeros(len(scales)), np.array(highest) * scales)
    elevated = _elevated(
        [values.flatten() * float(scale) for values, scale in zip(features, scales, strict=True)]
    )
    weights, keys = _simplices(elevated, corner_keys, steps)
    return _numbered(weights, keys, steps).normalized()


def _elevated(features: Sequence[Float32[Tensor, " pixels"]]) -> Float32[Tensor, "corners pixels"]:
    """Positions in the hyperplane of d + 1 coordinates that sum to zero."""
    coordinates = []
    partial = torch.zeros_like(features[0])
    for axis in range(len(features), 0, -1):
        coordinates.append(partial - axis * features[axis - 1])
        partial = partial + features[axis - 1]
    return torch.stack([partial, *reversed(coordinates)])


def _simplices(
    elevated: Float32[Tensor, "corners pixels"], corner_keys: np.ndarray, steps: np.ndarray
) -> tuple[Float32[Tensor, "corners pixels"], Int64[Tensor, "corners pixels"]]:
    """Barycentric weights and packed vertices, as `permutohedral.py` finds them one by one."""
    size = len(elevated)
    by_corner, by_step = (
        torch.from_numpy(keys).to(elevated.device)[:, None] for keys in (corner_keys, steps)
    )
    corners = (elevated / size).round().long()
    offsets = elevated - size * corners
    axis = torch.arange(size, device=elevated.device)[:, None, None]
    before = (offsets[None] > offsets[:, None]) | (
        (offsets[None] == offsets[:, None]) & (axis.movedim(0, 1) < axis)
    )
    ranks = before.sum(dim=1) + corners.sum(dim=0)
    move = (ranks < 0).long() - (ranks >= size).long()
    ranks, corners, offsets = ranks + size * move, corners + move, offsets - size * move
    ordered = torch.empty_like(offsets).scatter_(0, ranks, offsets / size).flip(0)
    first = ordered[:1] + (1 - ordered[-1:])
    weights = torch.cat([first, ordered[1:] - ordered[:-1]])
    steps_by_rank = torch.empty_like(ranks).scatter_(0, ranks, by_step.expand_as(ranks)).flip(0)
    keys = torch.cat([(corners * by_corner).sum(dim=0)[None], steps_by_rank[:-1]]).cumsum(dim=0)
    return weights, keys


def _numbered(
    weights: Float32[Tensor, "corners pixels"], keys: Int64[Tensor, "corners pixels"], steps: np.ndarray
) -> _Kernel:
    """Number the vertices, find each one's pixels and neighbours."""
    known, vertices = torch.unique(keys.T.flatten(), return_inverse=True)
    none = torch.full((1,), len(known), device=known.device)
    members = vertices.sort(stable=True)
    every = torch.arange(len(known) + 1, device=known.device)
    starts = torch.searchsorted(members.values, every)
    neighbors = []
    for step in steps.tolist():
        for signed in (-step, step):
            place = torch.searchsorted(known, known + signed).clamp(max=len(known) - 1)
            neighbors.append(torch.cat([place.where(known[place] == known + signed, none), none]))
    weights = weights.T.contiguous()
    return _Kernel(
        vertices=vertices.reshape(weights.shape),
        weights=weights,
        members=members.indices // len(keys),
        member_weights=weights.flatten()[members.indices],
        starts=starts,
        neighbors=torch.stack(neighbors).reshape(len(steps), 2, -1),
        sums=torch.zeros_like(weights[:, 0]),
    )
