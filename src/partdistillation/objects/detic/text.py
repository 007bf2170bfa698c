"""CLIP's embeddings of class names: the open vocabulary of Detic's classifier. Each is computed once."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPTextModelWithProjection, PreTrainedTokenizerBase

from partdistillation.models.sources import resolve
from partdistillation.objects.detic.embedding_cache import EmbeddingCache
from partdistillation.objects.loading import load_network, load_tokenizer, model_type, tokenize

CLIP = "openai/clip-vit-base-patch32"
"""The text model that Detic was trained with."""
PROMPT = "a {}"
"""What Detic makes of a class name."""
BATCH = 256

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
        path = resolve(str(source)).path
        model_type(path, _MODEL_TYPES, "a CLIP text model")
        model = load_network(CLIPTextModelWithProjection, path, device)
        tokenizer = load_tokenizer(path, model.config.vocab_size)
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        folder = (cache or home / "partdistillation" / "clip") / _fingerprint(model, tokenizer)
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
        length = self.model.config.max_position_embeddings
        tokens = tokenize(self.tokenizer, texts, length=length, padding="longest").to(self.model.device)
        return normalize(self.model(**tokens).text_embeds.float(), dim=1)


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
