"""Files that are whole or absent, whatever instant the process is killed at.

Every system call on which that rests goes through this module's `os`, so that a test can make any of
them fail, or be the last one before the power goes.
"""

import errno
import hashlib
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

from filelock import lock_descriptor

from partdistillation.errors import StoreError
from partdistillation.runs.mirror import forget, mirrored

_TEMPORARY = ".tmp"
_WITHOUT_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)
"""What disks say that have no hard links."""
_LONGEST_NAME = 240
_WINDOWS = sys.platform == "win32"
"""There an open file can't be renamed, a folder not be synced, and a file is text unless opened as bytes."""
_AS_BYTES = getattr(os, "O_BINARY", 0)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say of a file or folder that can't be written what a user can do about it.

    Raises:
        StoreError: in place of an OSError of what happens within.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(f"can't write to {path}: {error.strerror or error}{_remedy(path, error)}") from error


def _remedy(path: Path, error: OSError) -> str:
    """What to do about it, as the end of a message."""
    obstacle = next((place for place in (path, *path.parents) if place.is_file()), None)
    if obstacle and isinstance(error, FileExistsError | NotADirectoryError):
        return f", as {obstacle} is a file: choose another --out, or move it away."
    return (
        ". What is done so far is kept: make room, set the permissions or choose another --out, then run the "
        "same command again."
    )


def make_folder(folder: Path) -> Path:
    """Make a folder, and those around it, where they aren't there; return it.

    Raises:
        StoreError: it can't be made; a file is in its place, say.
    """
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def replace_file(path: Path, data: bytes) -> None:
    """Write a file, or leave what was there: a temporary file beside it, fsync, rename, fsync of the folder.

    Of processes that write it at the same time one waits for the other.

    Raises:
        StoreError: the disk is full, or the folder can't be written. The file is as before.
    """
    with replacing_file(path) as write:
        write(data)


@contextmanager
def replacing_file(path: Path) -> Iterator[Callable[[bytes], None]]:
    """As `replace_file`, a piece at a time: within, what is yielded writes; the file takes its place after.

    If anything is raised within, the file is as before.

    Raises:
        StoreError: as `replace_file`.
    """
    # Of each host another one: the lock on it, which keeps processes apart, need not reach other hosts.
    temporary = _temporary(path.with_name(f"{socket.gethostname()}.{path.name}"))
    with ExitStack() as opened:
        with explained(path):
            descriptor = opened.enter_context(_alone(temporary))
        try:
            yield partial(_write_to, path, descriptor)
            with explained(path):
                os.fsync(descriptor)
                if _WINDOWS:
                    opened.close()
                with mirrored(temporary, path):
                    _rename(descriptor, temporary, path)
        except BaseException:
            # Gives a full disk its space back. What a killed run leaves is removed at the next start.
            if _WINDOWS:
                opened.close()
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
            raise
        with explained(path):
            sync_folder(path.parent)


def create_file(path: Path, data: bytes) -> bool:
    """Write a file, whole, if there is none; whether it is this one. Of many processes at once one succeeds.

    No lock is needed, so these may be on several machines that share a disk. A whole file gets its name by a
    hard link, which must be a new one: whatever is written under the name itself could be torn by a kill.

    Raises:
        StoreError: the disk is full or has no hard links, or the folder can't be written.
    """
    temporary = path.with_name(f".{uuid4().hex}{_TEMPORARY}")
    with explained(path):
        try:
            _write_new(temporary, data)
            if not _linked(temporary, path):
                return False
        except OSError as error:
            if error.errno in _WITHOUT_LINKS:
                raise StoreError(
                    f"{path.parent}: expected a disk with hard links, which several workers need to share a "
                    f"folder, found one without ({error.strerror}): choose another --out, or leave out "
                    "--engine shared"
                ) from error
            raise
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108
        sync_folder(path.parent)
    return True


def _linked(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except OSError as error:  # network disks have several words for a name that is there
        if not isinstance(error, FileNotFoundError) and not path.exists():
            raise
        with suppress(
            FileNotFoundError
        ):  # whoever found everything there has removed it: see `remove_unlinked`
            # Where an answer is lost they ask again, and are told of the link that they have just made.
            return os.stat(temporary).st_nlink > 1  # noqa: PTH116
        return False
    return True


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _AS_BYTES, 0o644)
    try:
        _write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that is there with all of its files, or not at all: within, what is yielded is to be filled.

    Raises:
        StoreError: the folder is there and not empty, or can't be written.
    """
    folder = folder.absolute()
    require_new(folder)
    temporary = _temporary(folder)
    make_folder(folder.parent)
    with explained(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
    try:
        yield temporary
        move_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_new(folder: Path) -> None:
    """Refuse to write a folder where something is.

    Raises:
        StoreError: it is the current folder, a file, or a folder that isn't empty.
    """
    if folder == Path.cwd():
        raise StoreError(f"expected a new folder, found the current one, {folder}: choose another --out")
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"expected a new or empty folder, found a file: {folder}; choose another --out")
    if folder.exists() and any(folder.iterdir()):
        raise StoreError(f"expected a new or empty folder, found files in {folder}: choose another --out")


def move_folder(folder: Path, place: Path) -> None:
    """Give a folder, which is whole, another name on the same disk, where nothing or an empty folder is.

    Raises:
        StoreError: a folder with files is there, or it can't be written.
    """
    with explained(place):
        with mirrored(folder, place):
            os.replace(folder, place)  # noqa: PTH105
        sync_folder(place.parent)


def append_line(path: Path, line: bytes) -> None:
    """Append to a journal and fsync. A kill can leave a part of the line: readers skip what has no newline.

    Raises:
        StoreError: the disk is full, or the file can't be written.
    """
    with explained(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _AS_BYTES, 0o644)
        try:
            _write(descriptor, line + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def appending(path: Path) -> Iterator[int]:
    """A descriptor of a file, new or not, for what another process has to say.

    Raises:
        StoreError: the file can't be written.
    """
    with explained(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _AS_BYTES, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there, and fsync the folder.

    Raises:
        StoreError: the folder can't be written.
    """
    forget(path)
    with explained(path):
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108
        sync_folder(path.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it; links are removed, what they lead to stays.

    Raises:
        StoreError: some of it can't be removed.
    """
    forget(folder)
    with explained(folder), suppress(FileNotFoundError):
        shutil.rmtree(folder)


def sync_folder(folder: Path) -> None:
    """Make the folder's names (new, renamed, removed) survive a power loss; on Windows, whose disks do so."""
    if not _WINDOWS:
        _sync(folder, os.O_RDONLY)


def sync_file(path: Path) -> None:
    """Make a file's content, that somebody else wrote, survive a power loss."""
    _sync(path, os.O_RDWR if _WINDOWS else os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporary(folder: Path, *, below: bool = False) -> None:
    """Remove what killed runs left half-written; with `below`, in folders of the folder too. Only for the
    holder of the folder's lock, or where nobody needs any more what is written there.
    """
    pattern = f".*{_TEMPORARY}"
    for path in [*(folder.rglob(pattern) if below else folder.glob(pattern))]:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108


def remove_unlinked(folder: Path) -> None:
    """Remove what killed processes left of files that they created. Only where nothing is left to create: a
    process that is at it all the same finds that it isn't the first.

    Raises:
        StoreError: some of it can't be removed.
    """
    with explained(folder):
        for path in folder.glob(f".{'[0-9a-f]' * 32}{_TEMPORARY}"):
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108


@contextmanager
def locked(folder: Path, *, name: str = ".lock", wait: bool = False) -> Iterator[None]:
    """Hold a folder for this process alone. The system lets go of it when the process ends, however it ends.

    `name` is the file that is held: with another name, what the name stands for is held.

    Raises:
        StoreError: another process holds it (with `wait` there is no such error, only its end is waited for),
            or the folder can't be written, or is on a disk without locks.
    """
    with explained(folder):
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with explained(folder):
            free = lock_descriptor(descriptor, blocking=wait)
        if not free:
            raise StoreError(
                f"{folder} is in use: expected to be the only process that writes to it, found another one. "
                "Wait for it to end, or choose another --out."
            )
        yield
    finally:
        os.close(descriptor)


def hidden_beside(path: Path, ending: str) -> Path:
    """A hidden name beside a file or folder, for what is to take its place; no longer than a disk allows."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}{ending}")


def _temporary(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return hidden_beside(path, _TEMPORARY)


@contextmanager
def _alone(path: Path) -> Iterator[int]:
    """Open an empty file to write to, as the only process that does."""
    while True:
        with ExitStack() as opened:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | _AS_BYTES, 0o644)
            opened.callback(os.close, descriptor)
            with suppress(OSError):  # some network disks have no locks
                lock_descriptor(descriptor)
            if _is_at(descriptor, path):
                os.ftruncate(descriptor, 0)
                yield descriptor
                return


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of that name: the process before has renamed its own."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116
    except FileNotFoundError:
        return False


def _rename(descriptor: int, temporary: Path, path: Path) -> None:
    try:
        os.replace(temporary, path)  # noqa: PTH105 (through this module's `os`)
    except FileNotFoundError:
        # Of a lost answer a network disk asks again, and is told that the old name isn't there any more.
        if not _is_at(descriptor, path):
            raise


def _write_to(path: Path, descriptor: int, data: bytes) -> None:
    with explained(path):
        _write(descriptor, data)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
