"""CenterNet2's first stage: where objects of any class may be, from a heat map of their centres."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from partdistillation.functional.boxes import nms
from partdistillation.objects.detic.config import STRIDES, DeticConfig
from partdistillation.objects.detic.pyramid import Levels

_SMALLEST = 0.01
"""Least width and height of a proposal, in pixels."""


class Proposals(NamedTuple):
    """Boxes of an image that may hold objects, best first; they may reach beyond the image."""

    boxes: Float[Tensor, "box 4"]
    scores: Float[Tensor, "box"]


class HeatMap(NamedTuple):
    """What the head predicts on a level."""

    logits: Float[Tensor, "image 1 h w"]
    """Of a cell being the centre of an object of this level's size."""
    distances: Float[Tensor, "image 4 h w"]
    """From the cell to the box's left, top, right and bottom, in strides."""


class ProposalHead(nn.Module):
    """Convolutions shared by all levels."""

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        self.config = config
        width = config.pyramid_channels
        groups = 25 if width % 32 else 32  # as in the authors' code
        layers: list[nn.Module] = []
        for _ in range(config.proposal_convs):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(groups, width), nn.ReLU()]
        self.tower = nn.Sequential(*layers)
        self.heat = nn.Conv2d(width, 1, 3, padding=1)
        self.distances = nn.Conv2d(width, 4, 3, padding=1)
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(1)) for _ in STRIDES)

    def forward(self, levels: Levels) -> list[HeatMap]:
        """A heat map a level."""
        towers = [self.tower(level) for level in levels]
        return [
            HeatMap(self.heat(tower), (self.distances(tower) * scale).relu())
            for tower, scale in zip(towers, self.scales, strict=True)
        ]

    def decode(self, maps: list[HeatMap]) -> list[Proposals]:
        """The proposals of each image."""
        return [
            self._decode_one([HeatMap(*(values[image] for values in level)) for level in maps])
            for image in range(len(maps[0].logits))
        ]

    def _decode_one(self, maps: list[HeatMap]) -> Proposals:
        levels = [
            decode_level(
                *level, stride, threshold=self.config.heat_threshold, top=self.config.proposals_per_level
            )
            for level, stride in zip(maps, STRIDES, strict=True)
        ]
        boxes, scores = (torch.cat(values) for values in zip(*levels, strict=True))
        kept = nms(boxes, scores, self.config.proposal_nms)
        if len(kept) > self.config.proposals:  # those that are as good as the last one stay, too
            kept = kept[scores[kept] >= scores[kept[self.config.proposals - 1]]]
        return Proposals(boxes[kept], scores[kept])


def decode_level(
    logits: Float[Tensor, "1 h w"],
    distances: Float[Tensor, "4 h w"],
    stride: int,
    *,
    threshold: float,
    top: int,
) -> Proposals:
    """The `top` best boxes of a level, in any order, of cells whose probability is over `threshold`.

    A cell's score is the square root of its probability, as the cascade's class probabilities are
    multiplied by it before they are rooted. Boxes that aren't finite are left out.
    """
    probabilities = logits.flatten().sigmoid()
    cells = (probabilities > threshold).nonzero()[:, 0]
    if len(cells) > top:
        cells = cells[probabilities[cells].topk(top).indices]
    width = logits.shape[2]
    centres = torch.stack([cells % width, cells // width], dim=1) * stride + stride // 2
    left_top, right_bottom = torch.split(distances.flatten(1)[:, cells].T * stride, 2, dim=1)
    low = centres - left_top
    boxes = torch.cat([low, torch.maximum(centres + right_bottom, low + _SMALLEST)], dim=1)
    finite = boxes.isfinite().all(1)
    return Proposals(boxes[finite], probabilities[cells[finite]].sqrt())
