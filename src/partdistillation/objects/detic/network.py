"""Detic (Zhou et al., ECCV 2022): objects of any class that has a name, with masks. The paper's stage 1.

Written from the papers of Detic and CenterNet2 and held to the authors' values by a parity test; it needs
nothing but PyTorch and transformers' Swin.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor, nn
from transformers import SwinBackbone

from partdistillation.data.canvas import padded_size
from partdistillation.errors import InputError
from partdistillation.functional.boxes import clip_boxes
from partdistillation.models.encoder import normalized_batch
from partdistillation.models.layers import hasten_linears
from partdistillation.objects.detic.cascade import (
    Candidates,
    Cascade,
    Regions,
    best_detections,
    candidates,
    unit_embeddings,
)
from partdistillation.objects.detic.config import DeticConfig
from partdistillation.objects.detic.masks import MaskHead
from partdistillation.objects.detic.proposals import ProposalHead
from partdistillation.objects.detic.pyramid import Pyramid, swin_config

CHUNK = 1024
"""Classes that are compared with an image's proposals at a time, which bounds the memory (some 3 kB each)."""


class Detections(NamedTuple):
    """The objects found in an image, best first, on the network's device."""

    boxes: Float[Tensor, "object 4"]
    """(x0, y0, x1, y1) in the image's own pixels, with an area."""
    scores: Float[Tensor, "object"]
    classes: Int[Tensor, "object"]
    """Rows of the embeddings."""
    masks: Float[Tensor, "object h w"]
    """Probabilities inside the box; `masks.paste` makes them masks of the image."""


class DeticNetwork(nn.Module):
    """Swin, feature pyramid, proposals, cascade and mask head."""

    def __init__(self, config: DeticConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = SwinBackbone(swin_config(config))
        self.pyramid = Pyramid(config)
        self.proposals = ProposalHead(config)
        self.cascade = Cascade(config)
        self.masks = MaskHead(config)
        hasten_linears(self.backbone)

    @classmethod
    def create(cls, config: DeticConfig, *, seed: int) -> "DeticNetwork":
        """A network with random weights, drawn from `seed`, in `eval()` mode."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return cls(config).eval()

    @property
    def device(self) -> torch.device:
        return self.pyramid.lateral["3"].weight.device  # type: ignore[return-value]

    def detect(
        self,
        images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
        embeddings: Float[Tensor, "class dim"] | Float[Tensor, "stage class dim"],
        *,
        min_score: float | None = None,
    ) -> list[Detections]:
        """The objects of each image whose class has a row in `embeddings`.

        Args:
            images: RGB, of any sizes. Those that the network sees at the same size run together; an image's
                objects don't depend on the others.
            embeddings: of class names, of any length; one for all stages of the cascade, or one for each.
            min_score: objects scored no higher are left out; the configuration's, if not given.
        """
        resized = [self._resize(image) for image in images]
        together: dict[tuple[int, int], list[int]] = {}
        for index, small in enumerate(resized):
            together.setdefault(padded_size(small.shape[0], small.shape[1]), []).append(index)
        by_image: dict[int, Detections] = {}
        for members in together.values():
            some = [resized[index] for index in members]
            detections = self.detect_resized(some, embeddings, min_score=min_score)
            by_image |= dict(zip(members, detections, strict=True))
        return [
            rescale(by_image[index], (small.shape[0], small.shape[1]), (image.shape[0], image.shape[1]))
            for index, (small, image) in enumerate(zip(resized, images, strict=True))
        ]

    @torch.no_grad()
    def detect_resized(
        self,
        images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
        embeddings: Float[Tensor, "class dim"] | Float[Tensor, "stage class dim"],
        *,
        min_score: float | None = None,
    ) -> list[Detections]:
        """As `detect`, of images that aren't resized, and of one size up to multiples of 32."""
        unit = self.classifier(embeddings)
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        levels = self.levels(self.pixels(images))
        regions = self.cascade(levels, self.proposals.decode(self.proposals(levels)), sizes)
        threshold = self.config.score_threshold if min_score is None else min_score
        chosen = [self._choose(region, unit, threshold) for region in regions]
        # a box may be of many classes; its mask is the same
        distinct = [torch.unique(pairs.rows, return_inverse=True) for pairs in chosen]
        masks = self.masks(
            levels, [region.boxes[rows] for region, (rows, _) in zip(regions, distinct, strict=True)]
        )
        return [
            Detections(region.boxes[pairs.rows], pairs.scores, pairs.classes, probabilities[places])
            for region, pairs, probabilities, (_, places) in zip(
                regions, chosen, masks, distinct, strict=True
            )
        ]

    def pixels(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float[Tensor, "image 3 height width"]:
        """A batch for `levels`: normalised, zeros to the right and below up to multiples of 32."""
        return normalized_batch(images, self.config.pixel_mean, self.config.pixel_std, self.device)

    def levels(
        self, pixels: Float[Tensor, "image 3 height width"]
    ) -> list[Float[Tensor, "image channel _ _"]]:
        """The feature pyramid, p3 to p7."""
        backbone: Any = self.backbone
        return self.pyramid(backbone(pixels).feature_maps)  # type: ignore[no-any-return]

    def classifier(
        self, embeddings: Float[Tensor, "class dim"] | Float[Tensor, "stage class dim"]
    ) -> Float[Tensor, "stage class dim"]:
        """What each stage of the cascade compares boxes with: the embeddings, of length 1.

        Raises:
            InputError: they are of another text model than Detic was trained with.
        """
        stages, dim = len(self.cascade), self.config.embedding_dim
        if embeddings.shape[-1] != dim or (embeddings.ndim == 3 and len(embeddings) != stages):
            raise InputError(
                f"expected class embeddings of {dim} numbers, of the text model that Detic was trained with "
                f"(for each of {stages} stages, if not for all); found the shape {tuple(embeddings.shape)}"
            )
        unit = unit_embeddings(embeddings.to(self.device).float())
        return unit.expand(stages, -1, -1)

    def _choose(
        self, regions: Regions, unit: Float[Tensor, "stage class dim"], threshold: float
    ) -> Candidates:
        pairs = candidates(regions, unit, min_score=threshold, chunk=CHUNK)
        nms, top = self.config.detection_nms, self.config.max_detections
        return best_detections(regions.boxes, pairs, iou_threshold=nms, top=top)

    def _resize(self, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
        height, width = self.config.resized_size(image.shape[0], image.shape[1])
        if (height, width) == image.shape[:2]:
            return image
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def rescale(detections: Detections, old: tuple[int, int], new: tuple[int, int]) -> Detections:
    """Detections of an image of the size `old` (height, width) as those of it resized to `new`.

    Boxes end at the image's edges; those without an area are left out.
    """
    factors = detections.boxes.new_tensor([new[1] / old[1], new[0] / old[0]]).repeat(2)
    boxes = clip_boxes(detections.boxes * factors, *new)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return Detections(boxes[kept], *(values[kept] for values in detections[1:]))
