"""Objects by name from SAM 3 (Segment Anything with Concepts), as transformers has it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTokenizer, Sam3Config, Sam3Model
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from partdistillation.config import Device
from partdistillation.errors import CheckpointError
from partdistillation.models.devices import choose_device
from partdistillation.models.pretrained import quiet_transformers, read_config
from partdistillation.models.sources import resolve
from partdistillation.objects import to_object
from partdistillation.objects.loading import load_network, load_tokenizer, tokenize
from partdistillation.objects.preprocessing import Exact, Preprocessing
from partdistillation.runs.records import Object

_HALF = (0.5, 0.5, 0.5)


class Prompt(NamedTuple):
    """A class name as the network reads it."""

    name: str
    embeddings: Any
    """The text encoder's output in transformers' class, which `Sam3Model` takes as it is."""
    attended: Tensor
    """1 for the name's tokens, 0 for padding; (1, token)."""


class Found(NamedTuple):
    """An object that one name found."""

    mask: Bool[np.ndarray, "height width"]
    score: float


@dataclass(frozen=True, eq=False)
class Sam3Objects:
    """The ObjectSegmenter that asks SAM 3 for one name at a time.

    An image is encoded once for all names, and a name once for all images of a call. Names don't compete:
    where two fit the same pixels, both have their object. Images go through one by one: each fills a GPU.
    """

    network: Sam3Model
    tokenizer: CLIPTokenizer
    prepare: Preprocessing
    min_score: float
    _tokens: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    """Of the names that were asked for: one that is cut is logged once."""

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, min_score: float, device: Device = "auto"
    ) -> "Sam3Objects":
        """Load the model, its tokenizer and its image settings: a directory, or "facebook/sam3".

        Raises:
            CheckpointError: it can't be loaded, isn't a SAM 3, or lacks its tokenizer.
        """
        path = resolve(str(source)).path
        config = _parse_config(path, read_config(path))
        network = load_network(Sam3Model, path, choose_device(device), config=config)
        tokenizer = load_tokenizer(path, _text_config(config).vocab_size)
        return cls(network, tokenizer, _load_preprocessing(path, config), min_score)

    @property
    def vocabulary(self) -> None:
        """Any name."""
        return None

    @torch.no_grad()
    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], class_names: Sequence[str]
    ) -> list[list[Object]]:
        prompts = [self._encode_name(name) for name in class_names]
        return [list(self._objects(image, prompts)) for image in images]

    def _objects(
        self, image: UInt8[np.ndarray, "height width 3"], prompts: Sequence[Prompt]
    ) -> Iterator[Object]:
        if not prompts:
            return
        height, width, _ = image.shape
        pixels = self.prepare([image], device=self.network.device).pixels
        features: Sam3VisionEncoderOutput = self.network.get_vision_features(pixel_values=pixels)
        for prompt in prompts:
            output = self.network(
                vision_embeds=features, text_embeds=prompt.embeddings, attention_mask=prompt.attended
            )
            scores = (output.pred_logits[0].sigmoid() * output.presence_logits[0].sigmoid()).cpu()
            for match in find_masks(scores, output.pred_masks[0], height, width, min_score=self.min_score):
                yield to_object(match.mask, prompt.name, match.score)

    def _encode_name(self, name: str) -> Prompt:
        """Padded to the text encoder's length, as in training; a name that is longer is cut there."""
        if name not in self._tokens:
            length = _text_config(self.network.config).max_position_embeddings
            self._tokens[name] = tokenize(self.tokenizer, [name], length=length).to(self.network.device)
        tokens = self._tokens[name]
        embeddings = self.network.get_text_features(**tokens)
        return Prompt(name, embeddings, tokens["attention_mask"])


def find_masks(
    scores: Float[Tensor, "query"],
    logits: Float[Tensor, "query _h _w"],
    height: int,
    width: int,
    *,
    min_score: float,
) -> Iterator[Found]:
    """The masks of the queries that score `min_score` or more, at the image's size, one at a time.

    The grid of logits covers the whole image, whatever its aspect ratio. A mask is where the probability,
    enlarged bilinearly, is above one half; empty masks are left out.
    """
    for query in (scores >= min_score).nonzero()[:, 0].tolist():
        probability = torch.nn.functional.interpolate(
            logits[query].sigmoid()[None, None], size=(height, width), mode="bilinear", align_corners=False
        )
        mask = (probability[0, 0] > 0.5).cpu().numpy()
        if mask.any():
            yield Found(mask, float(scores[query]))


def _parse_config(source: str | Path, values: dict[str, Any]) -> Sam3Config:
    kind = values.get("model_type")
    if kind == "sam3_video":  # as published: the detector of images beside a tracker, which isn't read
        values = values.get("detector_config") or {}
    elif kind != "sam3":
        raise CheckpointError(
            f"{source}: expected a SAM 3 model (sam3 or sam3_video), config.json says {kind!r}"
        )
    try:
        with quiet_transformers():
            config = Sam3Config.from_dict(values)
    except Exception as error:  # strict configurations raise their own classes
        raise CheckpointError(f"{source}/config.json can't be used: {error}") from error
    if not isinstance(config.text_config, CLIPTextConfig):
        kind = getattr(config.text_config, "model_type", None)
        raise CheckpointError(f"{source}: expected a CLIP text encoder, config.json says {kind!r}")
    return config


def _text_config(config: Sam3Config) -> CLIPTextConfig:
    assert isinstance(config.text_config, CLIPTextConfig)  # as `_parse_config` made sure
    return config.text_config


def _load_preprocessing(source: str | Path, config: Sam3Config) -> Preprocessing:
    size = config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    expected = Exact(height, width)
    prepare = Preprocessing.from_pretrained(source, Preprocessing(expected, _HALF, _HALF))
    if prepare.size != expected or prepare.canvas is not None:
        raise CheckpointError(
            f"{source}: expected images of {width} x {height} as config.json says, found {prepare.size} and "
            f"canvas {prepare.canvas} in the image settings; make both the same"
        )
    return prepare
