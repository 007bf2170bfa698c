"""Open-vocabulary detectors: boxes for class names."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from transformers import (
    GroundingDinoForObjectDetection,
    MMGroundingDinoForObjectDetection,
    Owlv2ForObjectDetection,
)

from partdistillation.data.canvas import IMAGENET_MEAN, IMAGENET_STD
from partdistillation.errors import InputError
from partdistillation.models.sources import resolve
from partdistillation.objects.grounded_sam.detections import Detections
from partdistillation.objects.loading import load_network, load_tokenizer, model_type, tokenize
from partdistillation.objects.preprocessing import Longest, Preprocessing, Shortest

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
MOST_ELONGATED = 10
"""Longer strips are widened for Grounding DINO, which needs as many places in its maps as it has queries."""
NAMES_AT_ONCE = 1000
"""Names that OWLv2 compares with an image at once: 3600 places times all of ImageNet-21K takes gigabytes."""


@runtime_checkable
class TextDetector(Protocol):
    """Finds boxes of named classes."""

    def __call__(self, image: UInt8[np.ndarray, "height width 3"], class_names: Sequence[str]) -> Detections:
        """Every box that the model has for the image, however low its score; may reach out of the image."""
        ...


def load_detector(source: str | Path, device: torch.device) -> TextDetector:
    """The detector in a directory, or a published one by its name.

    Raises:
        CheckpointError: it can't be loaded, or is a model of another kind.
    """
    source = resolve(str(source)).path
    kinds = ("grounding-dino", "mm-grounding-dino", "owlv2")
    match model_type(source, kinds, "Grounding DINO, MM-Grounding DINO or OWLv2"):
        case "owlv2":
            return Owlv2.from_pretrained(source, device)
        case "grounding-dino":
            return GroundingDino.from_pretrained(source, device, GroundingDinoForObjectDetection)
        case _:
            return GroundingDino.from_pretrained(source, device, MMGroundingDinoForObjectDetection)


class Delimiters(NamedTuple):
    """Token ids around names: `[CLS] cat . bird house . [SEP]`."""

    start: int
    period: int
    end: int


class Prompt(NamedTuple):
    """A text of several names for Grounding DINO: "cat. bird house."."""

    tokens: list[int]
    labels: list[int]
    """The names in it, as positions in the list of all names."""
    spans: list[slice]
    """The tokens of each name."""


@dataclass(frozen=True, eq=False)
class GroundingDino:
    """Grounding DINO or MM-Grounding DINO: names are phrases of a text, which boxes are matched with."""

    network: Any
    tokenizer: Any
    preprocessing: Preprocessing

    @classmethod
    def from_pretrained(cls, source: str | Path, device: torch.device, model_class: Any) -> "GroundingDino":
        default = Preprocessing(Shortest(800, 1333), IMAGENET_MEAN, IMAGENET_STD)
        network = load_network(model_class, source, device)
        tokenizer = load_tokenizer(source, network.config.text_config.vocab_size)
        return cls(network, tokenizer, Preprocessing.from_pretrained(source, default))

    @torch.inference_mode()
    def __call__(self, image: UInt8[np.ndarray, "height width 3"], class_names: Sequence[str]) -> Detections:
        """Each query's box with its best name, for each text that the names fill.

        The score of a name is the largest probability of its tokens, as the released demonstration has it.

        Raises:
            InputError: a name without words, or longer than a text can be.
        """
        prompts = self._prompts(class_names)
        image = _widened(image)
        prepared = self.preprocessing([image], device=self.network.device)
        detections = [self._detect(prepared.pixels, prepared.inside, prompt) for prompt in prompts]
        boxes, labels, scores = (torch.cat(values) for values in zip(*detections, strict=True))
        height, width = image.shape[:2]
        return Detections(_corners(boxes) * boxes.new_tensor([width, height, width, height]), labels, scores)

    def _detect(self, pixels: Tensor, inside: Tensor, prompt: Prompt) -> Detections:
        """The boxes as the network gives them."""
        tokens = torch.tensor([prompt.tokens], device=pixels.device)
        output = self.network(pixel_values=pixels, pixel_mask=inside.long(), input_ids=tokens)
        probabilities = output.logits[0].sigmoid()
        scores = torch.stack([probabilities[:, span].amax(dim=1) for span in prompt.spans], dim=1)
        best, place = scores.max(dim=1)
        return Detections(output.pred_boxes[0].cpu(), torch.tensor(prompt.labels)[place.cpu()], best.cpu())

    def _prompts(self, class_names: Sequence[str]) -> list[Prompt]:
        tokenizer = self.tokenizer
        # a period or question mark inside a name would end it
        texts = [name.lower().replace(".", " ").replace("?", " ") for name in class_names]
        names = tokenizer(texts, add_special_tokens=False)["input_ids"]
        period = tokenizer.convert_tokens_to_ids(".")
        delimiters = Delimiters(tokenizer.cls_token_id, period, tokenizer.sep_token_id)
        config = self.network.config
        length = min(config.max_text_len, config.text_config.max_position_embeddings)
        return write_prompts(class_names, names, delimiters, length=length)


def write_prompts(
    class_names: Sequence[str], tokens: Sequence[Sequence[int]], delimiters: Delimiters, *, length: int
) -> list[Prompt]:
    """As few texts of at most `length` tokens as hold all names in their order; a name stays whole.

    Args:
        class_names: the names, for messages.
        tokens: the token ids of each.
        delimiters: what stands between them.
        length: of a text, with its delimiters.

    Raises:
        InputError: a name has no tokens, or doesn't fit on its own.
    """
    prompts: list[Prompt] = []
    longest = length - len(delimiters)
    for label, (name, words) in enumerate(zip(class_names, tokens, strict=True)):
        if not 0 < len(words) <= longest:
            raise InputError(
                f"class name {name!r}: expected 1 to {longest} tokens for the detector to read, found "
                f"{len(words)}; rename the class"
            )
        if not prompts or len(prompts[-1].tokens) + len(words) + 1 > length:
            prompts.append(Prompt([delimiters.start, delimiters.end], [], []))
        prompt = prompts[-1]
        first = len(prompt.tokens) - 1
        prompt.tokens[-1:] = [*words, delimiters.period, delimiters.end]
        prompt.labels.append(label)
        prompt.spans.append(slice(first, first + len(words)))
    return prompts


class Owlv2:
    """OWLv2: each name is a text of its own, compared with every place of the image."""

    def __init__(self, network: Any, tokenizer: Any, preprocessing: Preprocessing) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._preprocessing = preprocessing
        self._embeddings: dict[str, Float[Tensor, " feature"]] = {}

    @classmethod
    def from_pretrained(cls, source: str | Path, device: torch.device) -> "Owlv2":
        network = load_network(Owlv2ForObjectDetection, source, device)
        side = network.config.vision_config.image_size
        default = Preprocessing(Longest(side), CLIP_MEAN, CLIP_STD, canvas=(side, side))
        published = Preprocessing.from_pretrained(source, default)
        # its settings name the square only, not that the image lies in its corner
        preprocessing = replace(published, size=default.size, canvas=default.canvas)
        tokenizer = load_tokenizer(source, network.config.text_config.vocab_size)
        return cls(network, tokenizer, preprocessing)

    @torch.inference_mode()
    def __call__(self, image: UInt8[np.ndarray, "height width 3"], class_names: Sequence[str]) -> Detections:
        """The box of each place in the image with its best name."""
        prepared = self._preprocessing([image], device=self._network.device)
        places, _ = self._network.image_embedder(self._blackened(prepared.pixels, prepared.inside))
        features = places.flatten(1, 2)
        scores = features.new_full(features.shape[1:2], -torch.inf)
        labels = scores.new_zeros(scores.shape, dtype=torch.long)
        for first in range(0, len(class_names), NAMES_AT_ONCE):
            names = self._embedded(class_names[first : first + NAMES_AT_ONCE])
            logits, label = self._network.class_predictor(features, names[None])[0][0].max(dim=1)
            labels = torch.where(logits > scores, label + first, labels)
            scores = torch.maximum(scores, logits)
        boxes = _corners(self._network.box_predictor(features, places)[0]).cpu()
        (inner_height, inner_width), side = prepared.sizes[0], prepared.pixels.shape[-1]
        scale = side * image.shape[1] / inner_width, side * image.shape[0] / inner_height
        return Detections(boxes * boxes.new_tensor(scale * 2), labels.cpu(), scores.sigmoid().cpu())

    def _blackened(self, pixels: Tensor, inside: Tensor) -> Tensor:
        """With black around the image, as the model is used to, instead of the mean colour."""
        mean = pixels.new_tensor(self._preprocessing.mean)[:, None, None]
        std = pixels.new_tensor(self._preprocessing.std)[:, None, None]
        return torch.where(inside[:, None], pixels, -mean / std)

    def _embedded(self, class_names: Sequence[str]) -> Float[Tensor, "name feature"]:
        """Unit vectors, kept for the next image."""
        new = [name for name in class_names if name not in self._embeddings]
        if new:
            self._embeddings.update(zip(new, self._embed(new), strict=True))
        return torch.stack([self._embeddings[name] for name in class_names])

    def _embed(self, class_names: Sequence[str]) -> Float[Tensor, "name feature"]:
        texts = [f"a photo of a {name.lower()}" for name in class_names]
        length = self._network.config.text_config.max_position_embeddings
        tokens = tokenize(self._tokenizer, texts, length=length).to(self._network.device)
        features = self._network.owlv2.get_text_features(
            tokens["input_ids"], tokens["attention_mask"]
        ).pooler_output
        unit: Tensor = features / features.norm(dim=-1, keepdim=True)
        return unit


def _corners(boxes: Float[Tensor, "box 4"]) -> Float[Tensor, "box 4"]:
    """From center, width and height to xyxy."""
    center, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([center - half, center + half], dim=1)


def _widened(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
    """An image at most `MOST_ELONGATED` times as long as wide, by black right of it or below."""
    least = -(-max(image.shape[:2]) // MOST_ELONGATED)
    below, right = (max(0, least - side) for side in image.shape[:2])
    return np.pad(image, ((0, below), (0, right), (0, 0)))
