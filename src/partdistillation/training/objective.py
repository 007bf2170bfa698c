"""What stages 0, 3, 5 and the supervised baselines minimise: set prediction of masks and classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partdistillation.config import TrainingConfig
from partdistillation.data.examples import Example
from partdistillation.functional.criterion import criterion
from partdistillation.functional.losses import LossWeights
from partdistillation.functional.matching import Match, Targets, assign, draw_points, matching_costs
from partdistillation.models.encoder import normalize_images
from partdistillation.models.heads import PartHead
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.runs.profiling import span


class SetPrediction:
    """The Objective of `training.loop.train` for a `PartMask2Former`."""

    def __init__(self, model: PartMask2Former, config: TrainingConfig, device: torch.device) -> None:
        self.model, self.config, self.device = model, config, device
        self.weights = LossWeights(
            config.class_weight, config.mask_weight, config.dice_weight, config.no_object_weight
        )

    def __call__(
        self, examples: Sequence[Example], generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of a batch, summed over its decoder layers, and the last layer's terms."""
        images = torch.from_numpy(np.stack([example.image for example in examples])).to(self.device)
        targets = [_targets(example, self.device) for example in examples]
        info = self.model.info
        parts = isinstance(self.model.class_predictor, PartHead)
        with span("forward"):
            output = self.model(normalize_images(images, info.pixel_mean, info.pixel_std))
            logits = self.model.class_logits(
                output, [example.object_classes for example in examples] if parts else None
            )
        points = draw_points(
            targets,
            self.config.points,
            layers=len(output.queries),
            generator=generator,
            importance_sampling=self.config.importance_sampling,
        )
        with span("loss"):
            losses = criterion(
                output.mask_embeddings,
                output.mask_features,
                logits,
                targets,
                points,
                self.weights,
                num_masks=mean_target_count(targets, self.device),
                matcher=_profiled_match,
            )
        return losses.total, {name: values[-1].detach() for name, values in losses.terms.items()}


def mean_target_count(targets: Sequence[Targets], device: torch.device) -> float:
    """Number of targets of the batch, averaged over the processes of a distributed run; at least 1."""
    count = torch.tensor(float(sum(len(t.labels) for t in targets)), device=device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return max(count.item(), 1.0)


def _profiled_match(mask_embeddings: Tensor, *arguments: Any) -> list[Match]:
    """`matching.match`, its two halves timed."""
    with span("matcher"):
        costs = matching_costs(mask_embeddings, *arguments)
        with span("Hungarian"):
            return [assign(image, mask_embeddings.device) for image in costs]


def _targets(example: Example, device: torch.device) -> Targets:
    masks, labels, groups = (
        torch.from_numpy(values).to(device) for values in (example.masks, example.labels, example.groups)
    )
    return Targets(masks, labels, groups)
