"""Embeddings of texts, kept on disk for all processes of a user."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError
from safetensors.numpy import load, save

from partdistillation.errors import StoreError
from partdistillation.runs import terminal
from partdistillation.runs.atomic import locked, make_folder, remove_temporary, replace_file
from partdistillation.runs.tensor_keys import key_of, name_of

_log = terminal.logger(__name__)


@dataclass(frozen=True)
class EmbeddingCache:
    """Embeddings of texts in a folder: 256 safetensors files, of which a text's hash picks one.

    So a text more rewrites one small file. Processes that look up at the same time wait for one another, and
    what one computes the next finds. A folder that can't be used costs time only: that is logged.
    """

    folder: Path
    _seen: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    """What this process has asked for."""

    def complete(
        self, texts: Sequence[str], compute: Callable[[Sequence[str]], Float32[np.ndarray, "texts dim"]]
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
            stack.enter_context(locked(make_folder(self.folder), wait=True))
            remove_temporary(self.folder)
        except StoreError as error:
            _log.warning("%s: embeddings of class names aren't kept: %s", self.folder, error.__cause__)
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
                kept = self._load(path) | new
                replace_file(path, save({key_of(text): row for text, row in kept.items()}))
        except StoreError as error:
            _log.warning("%s: not all embeddings are kept: %s", self.folder, error.__cause__)

    def _path(self, text: str) -> Path:
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:2]}.safetensors"

    def _load(self, path: Path) -> dict[str, Any]:
        """What a file holds; nothing, if it isn't there or is damaged: it is then written anew."""
        try:
            return {name_of(key): row for key, row in load(path.read_bytes()).items()}
        except FileNotFoundError:
            return {}
        except (OSError, SafetensorError) as error:
            _log.warning("%s: embeddings are computed again: %s", path, error)
            return {}
