"""Files that are whole or absent, whatever instant the process is killed at.

Every system call on which that rests goes through this module's `os`, so that a test can make any of
them fail, or be the last one before the power goes.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from partdistillation.errors import StoreError

_TEMPORARY = ".tmp"


def replace_file(path: Path, data: bytes) -> None:
    """Write a file, or leave what was there: a temporary file beside it, fsync, rename, fsync of the folder.

    Raises:
        OSError: the disk is full, or the folder can't be written. The file is as before.
    """
    temporary = path.with_name(f".{path.name}{_TEMPORARY}")
    try:
        _write(temporary, data, os.O_CREAT | os.O_TRUNC)
        os.replace(temporary, path)  # noqa: PTH105 (through this module's `os`)
    except OSError:
        # Gives a full disk its space back. What a killed run leaves is removed at the next start.
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    sync_folder(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Append to a journal and fsync. A kill can leave a part of the line: readers skip what has no newline.

    Raises:
        OSError: the disk is full, or the file can't be written.
    """
    _write(path, line + b"\n", os.O_CREAT | os.O_APPEND)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there, and fsync the folder."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's names (new, renamed, removed) survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporary(folder: Path) -> None:
    """Remove what killed runs left half-written. Only for the holder of the folder's lock."""
    for path in folder.glob(f".*{_TEMPORARY}"):
        os.unlink(path)  # noqa: PTH108


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder for this process alone. The system lets go of it when the process ends, however it ends.

    Raises:
        StoreError: another process holds it (with `wait` there is no such error, only its end is waited for).
    """
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise StoreError(
                f"{folder} is in use: expected to be the only process that writes to it, found another one. "
                "Wait for it to end, or choose another --out."
            ) from None
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes, flags: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | flags, 0o644)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
