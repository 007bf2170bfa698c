"""SAM and SAM 2: the masks of what boxes frame."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import Sam2Model, SamModel

from partdistillation.data.canvas import IMAGENET_MEAN, IMAGENET_STD
from partdistillation.models.sources import resolve
from partdistillation.objects.loading import load_network, model_type
from partdistillation.objects.preprocessing import Exact, Longest, Prepared, Preprocessing

BOXES_AT_ONCE = 16
"""Boxes that go through the mask decoder together: each takes some 30 MB there."""


@dataclass(frozen=True, eq=False)
class BoxSegmenter:
    """SAM or SAM 2, asked for one mask a box.

    A box leaves little in doubt, so that the mask is the one that the models give for clear prompts
    (`multimask_output=False`), not the best of three candidates for vague ones.
    """

    network: Any
    preprocessing: Preprocessing

    @classmethod
    def from_pretrained(cls, source: str | Path, device: torch.device) -> "BoxSegmenter":
        """The segmenter in a directory, or a published one by its name.

        Raises:
            CheckpointError: it can't be loaded, or is a model of another kind.
        """
        source = resolve(str(source)).path
        # the published SAM 2 models call themselves video models, which hold the model for images
        if model_type(source, ("sam", "sam2", "sam2_video"), "SAM or SAM 2") == "sam":
            network = load_network(SamModel, source, device)
            side = network.config.vision_config.image_size
            default = Preprocessing(Longest(side), IMAGENET_MEAN, IMAGENET_STD, canvas=(side, side))
        else:
            network = load_network(Sam2Model, source, device)
            side = network.config.prompt_encoder_config.image_size
            default = Preprocessing(Exact(side, side), IMAGENET_MEAN, IMAGENET_STD)
        preprocessing = Preprocessing.from_pretrained(source, default)
        # the network takes this size only; some published SAM 2 models say SAM's
        return cls(network, replace(preprocessing, size=default.size, canvas=default.canvas))

    def __call__(
        self, image: UInt8[np.ndarray, "height width 3"], boxes: Float[Tensor, "box 4"]
    ) -> Iterator[Bool[np.ndarray, "height width"]]:
        """The mask of each box (xyxy in pixels), in order and one at a time; it may reach out of its box."""
        if not len(boxes):
            return
        prepared = self.preprocessing([image], device=self.network.device)
        (height, width), (inner_height, inner_width) = image.shape[:2], prepared.sizes[0]
        scale = boxes.new_tensor([inner_width / width, inner_height / height] * 2)
        features = self.network.get_image_embeddings(prepared.pixels)
        for some in torch.split(boxes * scale, BOXES_AT_ONCE):
            for logits in self._decode(features, some):
                yield (self._enlarge(logits, prepared, height, width) > 0).cpu().numpy()

    @torch.inference_mode()
    def _decode(self, features: Any, boxes: Float[Tensor, "box 4"]) -> Float[Tensor, "box _ _"]:
        """Small maps of logits."""
        output = self.network(
            image_embeddings=features, input_boxes=boxes[None].to(self.network.device), multimask_output=False
        )
        masks: Tensor = output.pred_masks[0, :, 0]
        return masks

    def _enlarge(
        self, logits: Float[Tensor, "_ _"], prepared: Prepared, height: int, width: int
    ) -> Float[Tensor, "{height} {width}"]:
        """A map of logits at the image's size, resized as each model's authors do it."""
        if self.preprocessing.canvas is not None:
            bottom, right = prepared.sizes[0]
            logits = _resize(logits, self.preprocessing.canvas)[:bottom, :right]
        return _resize(logits, (height, width))


def _resize(logits: Float[Tensor, "_ _"], size: tuple[int, int]) -> Float[Tensor, "_ _"]:
    return interpolate(logits[None, None], size, mode="bilinear", align_corners=False)[0, 0]
