"""Everything that Detic computes of an image, to be held to the values of other code step by step."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from partdistillation.objects.detic.cascade import Stage
from partdistillation.objects.detic.network import Detections, DeticNetwork, paste, rescale
from partdistillation.objects.detic.proposals import HeatMap, Proposals
from partdistillation.objects.detic.pyramid import Levels


class Steps(NamedTuple):
    """In the order in which they are computed."""

    levels: Levels
    heat_maps: list[HeatMap]
    """Of each level."""
    proposals: Proposals
    stages: list[Stage]
    """Of the cascade; their boxes are the proposals', moved."""
    logits: list[Float[Tensor, "box class+1"]]
    """Of each stage, the background (0) last."""
    detections: Detections
    """In the pixels of the image that the network saw."""
    rescaled: Detections
    """In those of the image as it is wanted."""
    masks: Bool[np.ndarray, "object height width"]
    """Of the rescaled detections."""


@torch.no_grad()
def compute_steps(
    network: DeticNetwork,
    image: UInt8[np.ndarray, "_ _ 3"],
    embeddings: Float[Tensor, "class dim"] | Float[Tensor, "stage class dim"],
    *,
    size: tuple[int, int],
) -> Steps:
    """All of `DeticNetwork.detect_resized` and what `DeticNetwork.detect` makes of it.

    Args:
        network: see `official.load_official_state_dict`.
        image: RGB. It isn't resized.
        embeddings: of the classes, as `DeticNetwork.detect` takes them; a checkpoint's own are
            `official.official_embeddings`.
        size: (height, width) of the image as it is wanted, whose pixels final boxes and masks are in.
    """
    levels = network.levels(network.pixels([image]))
    heat_maps = network.proposals(levels)
    (proposals,) = network.proposals.decode(heat_maps)
    seen = (image.shape[0], image.shape[1])
    stages = list(network.cascade.run(levels, [proposals], [seen]))
    classes = network.classifier(embeddings)
    logits = [
        torch.nn.functional.pad(stage.vectors @ own.T, (0, 1))
        for stage, own in zip(stages, classes, strict=True)
    ]
    (detections,) = network.detect_resized([image], embeddings)
    rescaled = rescale(detections, seen, size)
    masks = np.zeros((len(rescaled.boxes), *size), dtype=bool)
    for row, mask in zip(masks, paste(rescaled.boxes, rescaled.masks, *size), strict=True):
        row[:] = mask
    return Steps(levels, heat_maps, proposals, stages, logits, detections, rescaled, masks)
