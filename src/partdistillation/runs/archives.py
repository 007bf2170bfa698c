"""Photographs inside of tar archives, read where they are: nothing is unpacked.

An archive stands for the folder that it would be unpacked to: `photos/car/1.jpg` is the member `1.jpg` of
`photos/car.tar`, where there is no folder `photos/car`. So rows, ids and annotations are those of the folder.
Who opens a photograph asks here when there is no file. An archive is indexed once a process, and a member is
read by its place in the file; links and names that lead outside aren't followed. A compressed archive has no
such places.
"""

import errno
import os
import tarfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from partdistillation.errors import InputError

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.lz4")
_KEPT = 512
"""Indexes of so many archives are kept: about 200 bytes a member."""


class Member(NamedTuple):
    """A file in an archive."""

    offset: int
    """Of its contents in the archive, in bytes."""
    size: int
    """In bytes."""
    problem: str = ""
    """Why it isn't read."""


class Place(NamedTuple):
    """Where a photograph is that has no file of its own."""

    archive: Path
    member: Member

    def read(self) -> bytes:
        """Its contents.

        Raises:
            OSError: the archive can't be read, or the member is none that is.
        """
        if self.member.problem:
            raise OSError(errno.EINVAL, self.member.problem)
        with self.archive.open("rb") as file:
            file.seek(self.member.offset)
            return file.read(self.member.size)


def members(archive: Path) -> Mapping[str, Member]:
    """What is in an archive, folders aside, by name; of a name that comes twice the last, as after unpacking.

    Raises:
        InputError: it is no tar archive, damaged, compressed, or can't be read.
    """
    try:
        status = archive.stat()
        return _members(archive, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise InputError(
            f"{archive}: expected a readable archive, found {error.strerror}; check it"
        ) from error


@lru_cache(maxsize=_KEPT)
def _members(archive: Path, modified: int, size: int) -> Mapping[str, Member]:  # noqa: ARG001
    """Kept while the archive is the same; `modified` and `size` tell its states apart."""
    try:
        with tarfile.open(archive, "r:") as opened:
            index = {_name(entry): _member(entry) for entry in opened if not entry.isdir()}
            _require_end(archive, opened.offset)
            return index
    except OSError:
        raise
    except Exception as error:  # damaged headers raise whatever struct, int and codecs raise
        raise InputError(f"{archive}: {_complaint(archive, error)}") from error


def _require_end(archive: Path, offset: int) -> None:
    """`tarfile` takes a damaged header for the end of the archive; the end is zeros, or that of the file."""
    with archive.open("rb") as file:
        file.seek(offset)
        if any(file.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError(f"no header at byte {offset}")


def _name(entry: tarfile.TarInfo) -> str:
    return entry.name if _leads_outside(entry.name) else PurePosixPath(entry.name).as_posix()


def _member(entry: tarfile.TarInfo) -> Member:
    problem = ""
    if _leads_outside(entry.name):
        problem = "expected a name inside of the archive, found one that leads outside; pack it again"
    elif entry.islnk() or entry.issym():
        problem = (
            "expected a file in the archive, found a link; pack it with `tar --dereference "
            "--hard-dereference`"
        )
    elif entry.issparse() or not entry.isreg():
        problem = "expected a file in the archive, found a sparse one or a device; pack it again"
    return Member(entry.offset_data, entry.size, problem)


def _leads_outside(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/") or "\0" in name


def _complaint(archive: Path, error: Exception) -> str:
    with archive.open("rb") as file:
        start = file.read(6)
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")):
        return COMPRESSED_ARCHIVE
    return f"expected a whole tar archive, found a damaged one ({error}); replace it, or move it away"


COMPRESSED_ARCHIVE = (
    "expected a tar archive that isn't compressed, as its members are read where they are; decompress it "
    "(`gunzip`, `unxz`, ...: photographs grow little), unpack it into a folder of its name, or move it away"
)


def place_of(path: Path) -> Place | None:
    """Where a photograph is that has no file: in an archive instead of one of its folders; None if nowhere.

    Raises:
        InputError: the archive is damaged or can't be read.
    """
    for folder in path.parents:
        if not folder.name or os.path.isdir(folder):  # noqa: PTH112 (Path raises where a name is too long)
            return None
        archive = folder.with_name(folder.name + SUFFIX)
        if os.path.isfile(archive):  # noqa: PTH113
            member = members(archive).get(path.relative_to(folder).as_posix())
            return None if member is None else Place(archive, member)
    return None


def read_bytes(path: Path) -> bytes:
    """The contents of a photograph, wherever it is.

    Raises:
        InputError: as `place_of`.
        OSError: it can't be read.
    """
    place = None if path.is_file() else place_of(path)
    return path.read_bytes() if place is None else place.read()
