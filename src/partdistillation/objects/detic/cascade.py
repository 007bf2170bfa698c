"""Detic's cascade: three stages that refine boxes and compare each with the embeddings of class names.

The classes aren't part of it: a stage gives a vector a box, whose cosine with a class's embedding is the
logit. So thousands of classes are scored in chunks, when all stages have run.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from partdistillation.functional.boxes import apply_deltas, clip_boxes, nms
from partdistillation.functional.roi_align import pool_levels
from partdistillation.objects.detic.config import POOLED_STRIDES, DeticConfig
from partdistillation.objects.detic.proposals import Proposals
from partdistillation.objects.detic.pyramid import Levels

_UNIT = 1e-3
"""Embeddings whose length is this near to 1 (float16's rounding) are taken as they are."""


class Stage(NamedTuple):
    """What a stage predicts for its boxes, those of all images one after the other."""

    vectors: Float[Tensor, "box dim"]
    """Of length `temperature`."""
    deltas: Float[Tensor, "box 4"]
    boxes: Float[Tensor, "box 4"]
    """Refined; not clipped to the image."""


class Regions(NamedTuple):
    """An image's boxes after the last stage."""

    boxes: Float[Tensor, "box 4"]
    """Inside the image."""
    vectors: Float[Tensor, "stage box dim"]
    proposal_scores: Float[Tensor, "box"]


class Candidates(NamedTuple):
    """Pairs of a box and a class; an image has very many."""

    rows: Int[Tensor, "pair"]
    """Which of the image's boxes."""
    classes: Int[Tensor, "pair"]
    scores: Float[Tensor, "pair"]


class CascadeStage(nn.Module):
    """A box head: fully connected layers, then a vector and box deltas."""

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        widths = [config.pyramid_channels * config.box_resolution**2, *config.fc_dims]
        self.layers = nn.ModuleDict(
            {str(index): nn.Linear(*pair) for index, pair in enumerate(pairwise(widths), start=1)}
        )
        self.embed = nn.Linear(widths[-1], config.embedding_dim)
        self.deltas = nn.Sequential(nn.Linear(widths[-1], widths[-1]), nn.ReLU(), nn.Linear(widths[-1], 4))
        self.temperature = config.temperature

    def forward(self, pooled: Float[Tensor, "box channel size size"]) -> tuple[Tensor, Tensor]:
        """Vectors and deltas."""
        hidden = pooled.flatten(1)
        for layer in self.layers.values():
            hidden = layer(hidden).relu()
        return self.temperature * nn.functional.normalize(self.embed(hidden), dim=1), self.deltas(hidden)


class Cascade(nn.ModuleList):
    """The stages; each reads its features where the one before has moved the boxes."""

    def __init__(self, config: DeticConfig) -> None:
        super().__init__(CascadeStage(config) for _ in config.delta_weights)
        self.config = config

    def run(
        self, levels: Levels, proposals: Sequence[Proposals], sizes: Sequence[tuple[int, int]]
    ) -> Iterator[Stage]:
        """What each stage predicts. `sizes` are (height, width) of the images without padding."""
        counts = [len(image.boxes) for image in proposals]
        boxes = torch.cat([image.boxes for image in proposals])
        images = torch.arange(len(counts), device=boxes.device)
        images = images.repeat_interleave(torch.tensor(counts, device=boxes.device))
        pooled_levels = levels[: len(POOLED_STRIDES)]
        for stage, weights in zip(self, self.config.delta_weights, strict=True):
            pooled = pool_levels(
                pooled_levels, boxes, images, size=self.config.box_resolution, strides=POOLED_STRIDES
            )
            vectors, deltas = stage(pooled)
            refined = apply_deltas(boxes, deltas, weights)
            yield Stage(vectors, deltas, refined)
            boxes = torch.cat(
                [
                    clip_boxes(own, *size)
                    for own, size in zip(torch.split(refined, counts), sizes, strict=True)
                ]
            )

    def forward(
        self, levels: Levels, proposals: Sequence[Proposals], sizes: Sequence[tuple[int, int]]
    ) -> list[Regions]:
        """The regions of each image."""
        stages = list(self.run(levels, proposals, sizes))
        counts = [len(image.boxes) for image in proposals]
        boxes = torch.split(stages[-1].boxes, counts)
        vectors = torch.split(torch.stack([stage.vectors for stage in stages]), counts, dim=1)
        return [
            Regions(clip_boxes(own, *size), of_stages, proposal.scores)
            for own, size, of_stages, proposal in zip(boxes, sizes, vectors, proposals, strict=True)
        ]


def unit_embeddings(embeddings: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
    """Embeddings scaled to length 1.

    Those that have it, up to float16's rounding, stay: a checkpoint's own classifier is used as it is stored.
    """
    lengths = embeddings.norm(dim=-1, keepdim=True)
    lengths = torch.where((lengths - 1).abs() < _UNIT, torch.ones_like(lengths), lengths)
    return embeddings / lengths.clamp(min=1e-12)


def candidates(
    regions: Regions, embeddings: Float[Tensor, "stage class dim"], *, min_score: float, chunk: int
) -> Candidates:
    """All pairs of a box and a class scored over `min_score`, best first.

    The score is the geometric mean of the proposal's score and the mean of the stages' class probabilities.
    `embeddings` have length 1; `chunk` of them are compared at a time, which bounds the memory.
    """
    pairs = [
        _chunk_candidates(regions, part, index * chunk, min_score)
        for index, part in enumerate(torch.split(embeddings, chunk, dim=1))
    ]
    rows, classes, scores = (torch.cat(values) for values in zip(*pairs, strict=True))
    # by place first, so that the order of equal scores doesn't depend on the chunks
    place = (rows * embeddings.shape[1] + classes).argsort()
    order = place[scores[place].argsort(descending=True, stable=True)]
    return Candidates(rows[order], classes[order], scores[order])


def _chunk_candidates(
    regions: Regions, embeddings: Float[Tensor, "stage class dim"], first: int, min_score: float
) -> Candidates:
    total = torch.zeros((), device=embeddings.device)
    for vectors, of_stage in zip(regions.vectors, embeddings, strict=True):
        total = total + (vectors @ of_stage.T).sigmoid_()
    scores = (total / len(embeddings) * regions.proposal_scores[:, None]).sqrt()
    rows, classes = (scores > min_score).nonzero(as_tuple=True)
    return Candidates(rows, classes + first, scores[rows, classes])


def best_detections(
    boxes: Float[Tensor, "box 4"], pairs: Candidates, *, iou_threshold: float, top: int
) -> Candidates:
    """The best `top` pairs after non-maximum suppression in each class, best first.

    Suppression goes from the best pair down, so that pairs far down the list can't change what is before
    them: they are looked at only where too few remain.
    """
    looked_at = min(8 * top, len(pairs.scores))
    while True:
        some = Candidates(*(values[:looked_at] for values in pairs))
        kept = nms(boxes[some.rows], some.scores, iou_threshold, some.classes)[:top]
        if len(kept) == top or looked_at == len(pairs.scores):
            return Candidates(*(values[kept] for values in some))
        looked_at = min(4 * looked_at, len(pairs.scores))
