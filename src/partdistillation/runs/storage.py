"""Files that many machines see: in a folder (of this machine's disk, or of a network file system that all
mount), or in a bucket.

No lock of one system is known to another, so nothing here needs any: a file appears whole, and of those that
create it one alone succeeds, on every file system that has hard links and in every store that has conditional
writes.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from partdistillation.errors import StoreError
from partdistillation.runs.atomic import create_file, make_folder, remove_file, replace_file
from partdistillation.runs.mirror import storage_at
from partdistillation.runs.object_storage import open_bucket
from partdistillation.settings import as_url, is_url


@runtime_checkable
class Storage(Protocol):
    """Where files lie. Keys are relative paths with /.

    Raises:
        StoreError: in every method, where the storage can't be reached, read or written.
    """

    def read(self, key: str) -> bytes | None:
        """A file's content; None where there is none."""

    def read_range(self, key: str, start: int, size: int) -> bytes:
        """A piece of a file that is there: `size` bytes from `start`, fewer where it ends before."""

    def write(self, key: str, data: bytes) -> None:
        """Put a file there, whole, over what was there."""

    def create(self, key: str, data: bytes) -> bool:
        """Put a file there, whole, if there is none; whether it is this one. Of many at once one succeeds."""

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""

    def names(self, folder: str) -> list[str]:
        """Names of a folder's files and folders, in order, without hidden ones; none where it isn't there."""

    def delete(self, key: str) -> None:
        """Remove a file, if it is there."""

    def at(self, folder: str) -> "Storage":
        """What lies in a folder, which needn't be there."""


def open_storage(place: Path | str) -> Storage:
    """The storage at a path or a URL (`s3://bucket/folder`), which is asked once whether it answers.

    Raises:
        InputError: the URL is of a kind that isn't known, or what it names can't be reached: no such bucket,
            no credentials; or the package for it isn't installed.
    """
    return open_bucket(as_url(place)) if is_url(place) else FolderStorage(Path(place))


def storage_of(folder: Path) -> Storage:
    """What the workers of a run share of a folder: the folder itself, or what it mirrors of a bucket."""
    return storage_at(folder) or FolderStorage(make_folder(folder))


class FolderStorage:
    """A folder.

    Raises:
        StoreError: in every method, where the folder can't be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> bytes | None:
        """A file's content; None where there is none."""
        path = self._folder / key
        try:
            return _content(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(path, error) from error

    def read_range(self, key: str, start: int, size: int) -> bytes:
        """A piece of a file that is there: `size` bytes from `start`, fewer where it ends before."""
        try:
            with (self._folder / key).open("rb") as file:
                file.seek(start)
                return file.read(size)
        except OSError as error:
            raise _unreadable(self._folder / key, error) from error

    def write(self, key: str, data: bytes) -> None:
        """Put a file there, whole, over what was there."""
        replace_file(self._made(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """Put a file there, whole, if there is none; whether it is this one. Of many at once one succeeds."""
        return create_file(self._made(key), data)

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""
        return (self._folder / key).is_file()

    def names(self, folder: str) -> list[str]:
        """Names of a folder's files and folders, in order, without hidden ones; none where it isn't there."""
        try:
            return sorted(_names(self._folder / folder))
        except OSError as error:
            raise _unreadable(self._folder / folder, error) from error

    def delete(self, key: str) -> None:
        """Remove a file, if it is there."""
        remove_file(self._folder / key)

    def at(self, folder: str) -> "FolderStorage":
        """What lies in a folder, which needn't be there."""
        return FolderStorage(self._folder / folder)

    def _made(self, key: str) -> Path:
        path = self._folder / key
        if not path.parent.is_dir():
            make_folder(path.parent)
        return path


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return path.read_bytes()  # another host has replaced it meanwhile, as it does with its claims


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"can't read {path}: {error.strerror or error}. What is done so far is kept: see to the disk, then "
        "run the same command again"
    )


def _names(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        return
