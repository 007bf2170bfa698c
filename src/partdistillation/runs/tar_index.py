"""What is in a tar archive, and where: for whoever reads members in their place.

Links and names that lead outside aren't followed. A compressed archive has no such places.
"""

import tarfile
from collections.abc import Mapping
from io import BufferedIOBase
from pathlib import PurePosixPath
from typing import NamedTuple

from partdistillation.errors import InputError

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.lz4")
COMPRESSED_ARCHIVE = (
    "expected a tar archive that isn't compressed, as its members are read where they are; decompress it "
    "(`gunzip`, `unxz`, ...: photographs grow little), unpack it into a folder of its name, or move it away"
)
_LONGEST_CLASS = 200
"""Bytes of a class name in a WebDataset."""


class Member(NamedTuple):
    """A file in an archive."""

    offset: int
    """Of its contents in the archive, in bytes."""
    size: int
    """In bytes."""
    problem: str = ""
    """Why it isn't read."""
    category: str = ""
    """What it says, where it is the `.cls` of a WebDataset: the class of what has its name."""


def index(file: BufferedIOBase) -> Mapping[str, Member]:
    """What is in an archive, folders aside, by name; of a name that comes twice the last, as after unpacking.

    Raises:
        InputError: it is no tar archive, damaged or compressed; the message doesn't name it.
        OSError: it can't be read.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as opened:
            members = {_name(entry): _member(opened, entry) for entry in opened if not entry.isdir()}
            _require_end(file, opened.offset)
            return members
    except (OSError, InputError):
        raise
    except Exception as error:  # damaged headers raise whatever struct, int and codecs raise
        raise InputError(_complaint(file, error)) from error


def suffix_of(name: str) -> str:
    """The suffix that makes a file an archive, compressed or not; empty where it is none, or hidden."""
    known = next(filter(name.endswith, (SUFFIX, *COMPRESSED)), "")
    return "" if name.rpartition("/")[2].startswith(".") else known


def _require_end(file: BufferedIOBase, offset: int) -> None:
    """`tarfile` takes a damaged header for the end of the archive; the end is zeros, or that of the file."""
    file.seek(offset)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"no header at byte {offset}")


def _name(entry: tarfile.TarInfo) -> str:
    return entry.name if _leads_outside(entry.name) else PurePosixPath(entry.name).as_posix()


def _member(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Member:
    problem = category = ""
    if _leads_outside(entry.name):
        problem = "expected a name inside of the archive, found one that leads outside; pack it again"
    elif entry.islnk() or entry.issym():
        problem = (
            "expected a file in the archive, found a link; pack it with `tar --dereference "
            "--hard-dereference`"
        )
    elif entry.issparse() or not entry.isreg():
        problem = "expected a file in the archive, found a sparse one or a device; pack it again"
    elif entry.name.endswith(".cls") and (file := archive.extractfile(entry)):
        category = file.read(_LONGEST_CLASS).decode("utf-8", "replace").strip()
    return Member(entry.offset_data, entry.size, problem, category)


def _leads_outside(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/") or "\0" in name


def _complaint(file: BufferedIOBase, error: Exception) -> str:
    file.seek(0)
    start = file.read(6)
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")):
        return COMPRESSED_ARCHIVE
    return f"expected a whole tar archive, found a damaged one ({error}); replace it, or move it away"
