"""Files that many machines see: on a disk of this machine, or on a network file system that all mount.

No lock of one system is known to another, so nothing here needs any: a file appears whole, and of those that
create it one alone succeeds, on every file system that has hard links.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from partdistillation.runs.atomic import create_file, make_folder, remove_file, replace_file


class FolderStorage:
    """A folder. Keys are relative paths with /.

    Raises:
        StoreError: in every method, where the folder can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> bytes | None:
        """A file's content; None where there is none."""
        try:
            return (self._folder / key).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, key: str, data: bytes) -> None:
        """Put a file there, whole, over what was there."""
        replace_file(self._made(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """Put a file there, whole, if there is none; whether it is this one. Of many at once one succeeds."""
        return create_file(self._made(key), data)

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""
        return (self._folder / key).exists()

    def names(self, folder: str) -> list[str]:
        """The names of a folder's files, in order; none where there is no folder."""
        return sorted(_names(self._folder / folder))

    def delete(self, key: str) -> None:
        """Remove a file, if it is there."""
        remove_file(self._folder / key)

    def _made(self, key: str) -> Path:
        path = self._folder / key
        if not path.parent.is_dir():
            make_folder(path.parent)
        return path


def _names(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        return
