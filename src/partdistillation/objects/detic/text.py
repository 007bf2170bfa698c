"""CLIP's embeddings of class names: the open vocabulary of Detic's classifier. Each is computed once."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from partdistillation.errors import CheckpointError
from partdistillation.models.pretrained import check_report, quiet_transformers
from partdistillation.models.sources import resolve
from partdistillation.objects.detic.embedding_cache import EmbeddingCache

CLIP = "openai/clip-vit-base-patch32"
"""The text model that Detic was trained with."""
PROMPT = "a {}"
"""What Detic makes of a class name."""
BATCH = 256

_EXPECTED = "a CLIP text model (safetensors) with its tokenizer, by hub name or directory"
_MODEL_TYPES = ("clip", "clip_text_model")


@dataclass(frozen=True, eq=False)
class TextEmbedder:
    """Embeds class names as Detic's classifier takes them: CLIP's projected text features, of unit length."""

    model: CLIPTextModelWithProjection
    tokenizer: PreTrainedTokenizerBase
    cache: EmbeddingCache
    _last: dict[tuple[str, ...], Tensor] = field(default_factory=dict, init=False, repr=False)
    """The names of the last call: photographs by the thousand are asked for the same 21,000."""

    @classmethod
    def from_pretrained(
        cls, source: str | Path = CLIP, *, device: torch.device, cache: Path | None = None
    ) -> "TextEmbedder":
        """Load the text half of a CLIP model: a directory with safetensors weights, or a hub name.

        Embeddings are kept in `cache`, by default `partdistillation/clip` in `$XDG_CACHE_HOME` or `~/.cache`,
        in a folder for each model, named by a hash of its weights, configuration and tokenizer.

        Raises:
            CheckpointError: it isn't there, can't be read, or isn't a CLIP model.
        """
        model, tokenizer = _load(source, device)
        folder = (cache or _cache_home() / "clip") / _fingerprint(model, tokenizer)
        return cls(model, tokenizer, EmbeddingCache(folder))

    @property
    def dim(self) -> int:
        return self.model.text_projection.out_features

    def __call__(self, names: Sequence[str]) -> Float32[Tensor, "names dim"]:
        """A row for each name, on the model's device: kept ones are read, the others computed and kept."""
        if not names:
            return torch.empty(0, self.dim, device=self.model.device)
        key = tuple(names)
        if key not in self._last:
            rows = self.cache.complete([PROMPT.format(name) for name in names], self._compute)
            self._last.clear()
            self._last[key] = torch.from_numpy(rows).to(self.model.device)
        return self._last[key]

    def _compute(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        # Texts of one length together: little is padded.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        result = np.empty((len(texts), self.dim), np.float32)
        for start in range(0, len(order), BATCH):
            indices = order[start : start + BATCH]
            result[indices] = self._forward([texts[index] for index in indices]).cpu().numpy()
        return result

    @torch.no_grad()
    def _forward(self, texts: list[str]) -> Float[Tensor, "texts dim"]:
        tokens = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=self.model.config.max_position_embeddings,
            return_tensors="pt",
        ).to(self.model.device)
        return normalize(self.model(**tokens).text_embeds.float(), dim=1)


def _load(
    source: str | Path, device: torch.device
) -> tuple[CLIPTextModelWithProjection, PreTrainedTokenizerBase]:
    place = resolve(str(source)).path
    try:
        with quiet_transformers():
            model_type = PretrainedConfig.get_config_dict(place)[0].get("model_type")
            loaded: Any = CLIPTextModelWithProjection.from_pretrained(
                place,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
            tokenizer = CLIPTokenizer.from_pretrained(place)
    except Exception as error:  # transformers, safetensors, tokenizers and the hub client each have their own
        raise CheckpointError(f"{source}: expected {_EXPECTED}; {error}") from error
    model, report = loaded
    if model_type not in _MODEL_TYPES:
        raise CheckpointError(f"{source}: expected {_EXPECTED}, config.json says {model_type!r}")
    check_report(source, report | {"unexpected_keys": ()})  # a whole CLIP also has its image half
    if len(tokenizer) != model.config.vocab_size:  # without its files a tokenizer is empty
        raise CheckpointError(
            f"{source}: expected {_EXPECTED}, of {model.config.vocab_size} tokens; found {len(tokenizer)}. "
            "Are the tokenizer's files there?"
        )
    return model.to(device).eval(), tokenizer


def _fingerprint(model: CLIPTextModelWithProjection, tokenizer: PreTrainedTokenizerBase) -> str:
    """A hash of all that decides an embedding."""
    settings = model.config.to_dict()
    for name in ("transformers_version", "_name_or_path"):
        settings.pop(name, None)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def _cache_home() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path("~/.cache").expanduser()) / "partdistillation"
