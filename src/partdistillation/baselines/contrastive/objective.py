"""What the contrastive baseline minimises: the Objective of `training.loop.train`."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from partdistillation.baselines.contrastive.network import ContrastiveNet
from partdistillation.baselines.contrastive.samples import CONTROL_SIDE, ObjectPair
from partdistillation.config import ContrastiveConfig
from partdistillation.functional.part_consistency import (
    contrast_of_parts,
    part_means,
    symmetric_divergence,
    within_part_variance,
)
from partdistillation.functional.thin_plate_splines import (
    inside,
    pixel_centres,
    regular_points,
    resample,
    spline_weights,
)
from partdistillation.models.encoder import Encoder
from partdistillation.runs.profiling import span

FROZEN_LEVELS = (3, 4)
"""Of the frozen network: those that stage 2 groups pixels by."""
TEMPERATURE = 0.1


class Consistency:
    """The four losses of a batch of objects of one class."""

    def __init__(
        self, network: ContrastiveNet, frozen: Encoder, config: ContrastiveConfig, device: torch.device
    ) -> None:
        self.network, self.frozen, self.config, self.device = network, frozen, config, device
        pixels = pixel_centres(config.image_size, config.image_size)
        self._spline = spline_weights(regular_points(CONTROL_SIDE), pixels).to(device)

    def __call__(
        self, examples: Sequence[ObjectPair], _: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Their weighted sum, and each before its weight."""
        images, recoloured, masks, targets = (
            torch.from_numpy(np.stack(field)).to(self.device) for field in zip(*examples, strict=True)
        )
        mask = masks[:, None].float()
        grid = torch.einsum("hwp,ipc->ihwc", self._spline, targets)
        with span("forward"):
            logits = self.network(self.network.normalized(images))
            deformed = self.network(resample(self.network.normalized(recoloured), grid))
            features = self._features(images)
        with span("loss"):
            parts = functional.interpolate(logits, mask.shape[-2:], mode="bilinear").softmax(dim=1) * mask
            coarse = functional.interpolate(parts, features.shape[-2:], mode="area")
            losses = {
                "visual": within_part_variance(images.movedim(-1, 1).float() / 255, parts),
                "equivariance": equivariance(logits, deformed, mask, grid),
                "semantic": within_part_variance(features, coarse),
                "contrast": contrast_of_parts(part_means(features, coarse), TEMPERATURE),
            }
        config = self.config
        total = (
            config.visual_weight * losses["visual"]
            + config.equivariance_weight * losses["equivariance"]
            + config.semantic_weight * losses["semantic"]
            + config.contrastive_weight * losses["contrast"]
        )
        return total, {name: value.detach() for name, value in losses.items()}

    def _features(self, images: UInt8[Tensor, "image size size 3"]) -> Float[Tensor, "image channel h w"]:
        """Of the frozen network: of unit length at each pixel of its finest map."""
        maps = self.frozen.levels(images)
        size = maps[0].shape[-2:]
        together = torch.cat([functional.interpolate(level, size, mode="bilinear") for level in maps], dim=1)
        return functional.normalize(together, dim=1)


def equivariance(
    logits: Float[Tensor, "image part h w"],
    deformed: Float[Tensor, "image part h w"],
    mask: Float[Tensor, "image 1 height width"],
    grid: Float[Tensor, "image height width 2"],
) -> Float[Tensor, ""]:
    """How far the parts of deformed images are from the images' parts, deformed.

    `grid` says where in the image each pixel of the deformed one comes from. Only pixels of the object count
    that come from inside the image.
    """
    weights = resample(mask, grid) * inside(grid)
    observed = functional.interpolate(deformed, grid.shape[1:3], mode="bilinear")
    return symmetric_divergence(resample(logits, grid), observed, weights)
