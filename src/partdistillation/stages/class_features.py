"""Features sorted by object class, on disk: memory holds one class, or a piece of it, however many there are.

Rows come image by image; clustering wants class by class. What comes in waits in memory up to a limit, then
is appended to a file for each class.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

IN_MEMORY = 2**15
"""Features that wait in memory, over all classes."""


class ClassFeatures:
    """Collects features, or records with a feature in them; `sorted_by_class` makes one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}
        self._waiting: defaultdict[str, list[np.ndarray]] = defaultdict(list)
        self._count = 0

    def add(self, category: str, features: Shaped[np.ndarray, "..."]) -> None:
        """Some more features of a class."""
        if not len(features):
            return
        self._waiting[category].append(features)
        self._count += len(features)
        if self._count >= IN_MEMORY:
            self._write()

    def categories(self) -> tuple[str, ...]:
        """The classes that have features, by name."""
        self._write()
        return tuple(sorted(self._files))

    def pieces(self, category: str) -> Iterator[Shaped[np.ndarray, "..."]]:
        """A class's features in the order in which they came, a piece at a time."""
        self._write()
        file = self._files[category]
        size = file.stat().st_size
        with file.open("rb") as stream:
            while stream.tell() < size:
                yield np.load(stream)

    def read(self, category: str) -> Shaped[np.ndarray, "..."]:
        """All of a class's features."""
        return np.concatenate(list(self.pieces(category)))

    def _write(self) -> None:
        for category, features in self._waiting.items():
            path = self._files.setdefault(category, self._folder / f"{len(self._files)}.npy")
            with path.open("ab") as file:
                np.save(file, np.concatenate(features))
        self._waiting.clear()
        self._count = 0


@contextmanager
def sorted_by_class(scratch: Path) -> Iterator[ClassFeatures]:
    """In an empty folder, which is removed at the end; a killed run's is removed at the start."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield ClassFeatures(scratch)
    finally:
        shutil.rmtree(scratch)
