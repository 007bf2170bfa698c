"""What stages 0, 3, 5 and the supervised baselines minimise: set prediction of masks and classes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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
from partdistillation.models.part_mask2former import DecoderOutput, PartMask2Former
from partdistillation.runs.profiling import span
from partdistillation.training.parallel import gather_batch, rank, world


class SetPrediction:
    """The Objective of `training.loop.train` for a `PartMask2Former`; it can be taken in parts."""

    def __init__(self, model: PartMask2Former, config: TrainingConfig, device: torch.device) -> None:
        self.model, self.config, self.device = model, config, device
        self.weights = LossWeights(
            config.class_weight, config.mask_weight, config.dice_weight, config.no_object_weight
        )

    def __call__(
        self, examples: Sequence[Example], generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of a batch, summed over its decoder layers, and the last layer's terms."""
        (part,) = self.in_parts(examples, generator, 1)
        return part

    def in_parts(
        self, examples: Sequence[Example], generator: torch.Generator, parts: int
    ) -> Iterator[tuple[Tensor, Mapping[str, Tensor]]]:
        """The same in `parts` of about equal size, each in its turn, which sum up to it.

        All of a batch, over parts and processes, is divided by the same numbers of targets and queries, and
        compared at the same points, whoever has which images.
        """
        batch, state = self._batch(examples), generator.get_state()
        for part in np.array_split(np.arange(len(examples)), parts):
            generator.set_state(state)
            own = [rank() + world() * place for place in part.tolist()]
            yield self._part([examples[place] for place in part.tolist()], own, batch, generator)

    def _part(
        self, examples: Sequence[Example], own: Sequence[int], batch: "_Batch", generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """`own`: the examples' places in the batch."""
        targets = [_targets(example, self.device) for example in examples]
        with span("forward"):
            output, logits = self._predict(examples)
        points = draw_points(
            batch.counts,
            self.config.points,
            own=own,
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
                num_masks=batch.num_masks,
                query_weight=batch.query_weight,
                matcher=_profiled_match,
            )
        return losses.total, {name: values[-1].detach() for name, values in losses.terms.items()}

    def _predict(self, examples: Sequence[Example]) -> tuple[DecoderOutput, list[Tensor]]:
        """What the network makes of images, and its class logits, in float32 whatever it computed in."""
        images = torch.from_numpy(np.stack([example.image for example in examples])).to(self.device)
        info = self.model.info
        classes = [example.object_classes for example in examples] if self._has_parts else None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            output = self.model(normalize_images(images, info.pixel_mean, info.pixel_std))
            logits = self.model.class_logits(output, classes)
        return DecoderOutput(*(values.float() for values in output)), [values.float() for values in logits]

    @property
    def _has_parts(self) -> bool:
        return isinstance(self.model.class_predictor, PartHead)

    def _batch(self, examples: Sequence[Example]) -> "_Batch":
        """Of this process's examples and those of the others."""
        rows = [[len(example.labels), self._query_weight(example)] for example in examples]
        whole = gather_batch(torch.tensor(rows, dtype=torch.float32, device=self.device)).tolist()
        counts = [int(count) for count, _ in whole]
        return _Batch(
            counts,
            max(sum(counts), 1) / world(),
            (sum(weight for _, weight in whole) or 1.0) / world(),
        )

    def _query_weight(self, example: Example) -> float:
        """The weight of an image's queries in the classification loss, as many as can be being matched."""
        if self._has_parts and not example.object_classes:
            return 0.0
        queries = self.model.model.config.num_queries
        matched = min(len(example.labels), queries)
        return matched + (queries - matched) * self.config.no_object_weight


class _Batch(NamedTuple):
    """What the losses of a batch's parts are divided by, so that their sum is the batch's."""

    counts: Sequence[int]
    """Targets of each image of the whole batch, in its order."""
    num_masks: float
    """Their sum, at least 1, a process."""
    query_weight: float
    """The sum of the queries' weights, a process."""


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
