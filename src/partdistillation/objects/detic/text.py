"""CLIP's embeddings of class names: the open vocabulary of Detic's classifier. Each is computed once."""

import hashlib
import json
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from partdistillation.atomic import locked, remove_temporary, replace_file
from partdistillation.errors import CheckpointError
from partdistillation.models.pretrained import check_report, quiet_transformers
from partdistillation.models.sources import resolve

CLIP = "openai/clip-vit-base-patch32"
"""The text model that Detic was trained with."""
PROMPT = "a {}"
"""What Detic makes of a class name."""
BATCH = 256

_EXPECTED = "a CLIP text model (safetensors) with its tokenizer, by hub name or directory"
_MODEL_TYPES = ("clip", "clip_text_model")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TextEmbedder:
    """Embeds class names as Detic's classifier takes them: CLIP's projected text features, of unit length."""

    model: CLIPTextModelWithProjection
    tokenizer: PreTrainedTokenizerBase
    cache: "EmbeddingCache"

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
        texts = [PROMPT.format(name) for name in names]
        if not texts:
            return torch.empty(0, self.dim, device=self.model.device)
        return torch.from_numpy(self.cache.complete(texts, self._compute)).to(self.model.device)

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


@dataclass(frozen=True)
class EmbeddingCache:
    """Embeddings of texts in a folder: 256 safetensors files, of which a text's hash picks one.

    So a text more rewrites one small file. Processes that look up at the same time wait for one another, and
    what one computes the next finds. A folder that can't be used costs time only: that is logged.
    """

    folder: Path
    _seen: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    """What this process has asked for; each image asks for all names again."""

    def complete(
        self,
        texts: Sequence[str],
        compute: Callable[[Sequence[str]], Float32[np.ndarray, "texts dim"]],
    ) -> Float32[np.ndarray, "texts dim"]:
        """A row for each text, of which there is one at least; `compute` makes those that aren't kept."""
        if unseen := [text for text in dict.fromkeys(texts) if text not in self._seen]:
            with ExitStack() as stack:
                held = self._hold(stack)
                self._seen.update(self._read(unseen))
                if missing := [text for text in unseen if text not in self._seen]:
                    new = dict(zip(missing, compute(missing), strict=True))
                    self._seen.update(new)
                    if held:
                        self._add(new)
        return np.stack([self._seen[text] for text in texts])

    def _hold(self, stack: ExitStack) -> bool:
        """Lock the folder, if it can be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(self.folder, wait=True))
            remove_temporary(self.folder)
        except OSError as error:
            _log.warning("%s: embeddings of class names aren't kept: %s", self.folder, error.strerror)
            return False
        return True

    def _read(self, texts: Sequence[str]) -> dict[str, Float32[np.ndarray, " dim"]]:
        wanted = frozenset(texts)
        kept = (self._load(path) for path in {self._path(text) for text in wanted})
        return {text: row for rows in kept for text, row in rows.items() if text in wanted}

    def _add(self, rows: Mapping[str, Float32[np.ndarray, " dim"]]) -> None:
        by_path = defaultdict[Path, dict[str, Any]](dict)
        for text, row in rows.items():
            by_path[self._path(text)][text] = row
        try:
            for path, new in by_path.items():
                replace_file(path, save(self._load(path) | new))
        except OSError as error:
            _log.warning("%s: not all embeddings are kept: %s", self.folder, error.strerror)

    def _path(self, text: str) -> Path:
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:2]}.safetensors"

    def _load(self, path: Path) -> dict[str, Any]:
        """What a file holds; nothing, if it isn't there or is damaged: it is then written anew."""
        try:
            return dict(load(path.read_bytes()))
        except FileNotFoundError:
            return {}
        except (OSError, SafetensorError) as error:
            _log.warning("%s: embeddings are computed again: %s", path, error)
            return {}


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
