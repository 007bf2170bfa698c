"""The files of a run, to be read while others write them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from partdistillation import config
from partdistillation.config import CONFIG_FILE, Inputs, Recipe
from partdistillation.errors import StoreError
from partdistillation.recipes import PAPER
from partdistillation.runs import manifest as manifests
from partdistillation.runs.manifest import JOURNAL, MANIFEST, Manifest
from partdistillation.runs.mirror import storage_at
from partdistillation.runs.storage import Storage, open_storage
from partdistillation.settings import as_url, at_home, is_url


class RunFiles:
    """What lies in a run's folder: of a stage, as it was when it was first asked for.

    Args:
        out: a path or a URL.
        storage: opened before.

    Raises:
        InputError: a URL that can't be reached.
    """

    def __init__(self, out: Path | str, storage: Storage | None = None) -> None:
        self.folder = None if is_url(out) else at_home(Path(out))
        """On a disk of this machine, or one that it mounts."""
        self.place = as_url(out) if self.folder is None else str(self.folder)
        mirrored = None if self.folder is None else storage_at(self.folder)
        self.storage = storage or mirrored or open_storage(self.place)
        self.names = cache(self.storage.names)
        """Of a folder's files."""
        self.manifest = cache(self._manifest)
        """Of a stage; None before it has begun. StoreError: it can't be read, or is damaged."""

    def again(self) -> "RunFiles":
        """The same, as it is now."""
        return RunFiles(self.place, self.storage)

    def read(self, key: str) -> bytes | None:
        """A file's content; None where there is none.

        Raises:
            StoreError: it can't be read.
        """
        return self.storage.read(key)

    def note(self, key: str) -> dict[str, Any]:
        """What a small JSON file says; nothing, where it isn't there or is damaged."""
        try:
            values = json.loads(self.read(key) or b"{}")
        except (StoreError, ValueError, RecursionError):
            return {}
        return values if isinstance(values, dict) else {}

    def settings(self) -> tuple[Inputs, Recipe]:
        """What the run remembers; defaults where it has written nothing yet.

        Raises:
            ConfigError, StoreError: it can't be read, or is damaged.
        """
        content = self.read(CONFIG_FILE)
        if content is None:
            return Inputs(), PAPER
        return config.from_bytes(content, f"{self.place}/{CONFIG_FILE}", Inputs(), PAPER)

    def _manifest(self, stage: str) -> Manifest | None:
        content = self.read(f"{stage}/{MANIFEST}")
        if content is None:
            return None
        return manifests.parsed(Path(self.place) / stage, content, self.read(f"{stage}/{JOURNAL}") or b"")
