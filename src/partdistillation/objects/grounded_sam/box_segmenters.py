"""SAM and SAM 2: the masks of what boxes frame, or clicks mean."""

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
class ImageView:
    """What a network keeps of an image, to be asked about again and again."""

    features: Any
    prepared: Prepared
    height: int
    width: int

    @property
    def scale(self) -> tuple[float, float]:
        """From pixels of the image to those that the network sees, for x and y."""
        inner_height, inner_width = self.prepared.sizes[0]
        return inner_width / self.width, inner_height / self.height


@dataclass(frozen=True, eq=False)
class BoxSegmenter:
    """SAM or SAM 2, asked for one mask a box, or for that of clicks.

    A box leaves little in doubt, so that the mask is the one that the models give for clear prompts
    (`multimask_output=False`), not the best of three candidates for vague ones, such as a single click.
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
        view = self.view(image)
        for some in torch.split(boxes * boxes.new_tensor(view.scale * 2), BOXES_AT_ONCE):
            for logits in self._decode(view.features, some):
                yield self._mask(logits, view)

    def view(self, image: UInt8[np.ndarray, "height width 3"]) -> ImageView:
        """Look at an image, which takes most of the time."""
        prepared = self.preprocessing([image], device=self.network.device)
        return ImageView(self.network.get_image_embeddings(prepared.pixels), prepared, *image.shape[:2])

    @torch.inference_mode()
    def at_clicks(
        self,
        view: ImageView,
        points: Float[Tensor, "point 2"],
        inside: Bool[Tensor, " point"],
        box: Float[Tensor, "4"] | None = None,
    ) -> Bool[np.ndarray, "height width"]:
        """The mask that clicks mean, best first of what the network offers where they leave it in doubt.

        Args:
            view: of the image.
            points: x and y in pixels, at least one.
            inside: whether each is on what is meant.
            box: around it, if that is known (xyxy in pixels).
        """
        device = self.network.device
        scale = points.new_tensor(view.scale)
        vague = box is None and len(points) == 1
        output = self.network(
            image_embeddings=view.features,
            input_points=(points * scale)[None, None].to(device),
            input_labels=inside.long()[None, None].to(device),
            input_boxes=None if box is None else (box * scale.repeat(2))[None, None].to(device),
            multimask_output=vague,
        )
        best = int(output.iou_scores[0, 0].argmax()) if vague else 0
        return self._mask(output.pred_masks[0, 0, best], view)

    @torch.inference_mode()
    def _decode(self, features: Any, boxes: Float[Tensor, "box 4"]) -> Float[Tensor, "box _ _"]:
        """Small maps of logits."""
        output = self.network(
            image_embeddings=features, input_boxes=boxes[None].to(self.network.device), multimask_output=False
        )
        masks: Tensor = output.pred_masks[0, :, 0]
        return masks

    def _mask(self, logits: Float[Tensor, "_ _"], view: ImageView) -> Bool[np.ndarray, "_ _"]:
        enlarged = self._enlarge(logits, view.prepared, view.height, view.width) > 0
        mask: Bool[np.ndarray, "_ _"] = enlarged.cpu().numpy()
        return mask

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
