"""Photographs inside of tar archives, read where they are: nothing is unpacked.

An archive stands for the folder that it would be unpacked to: `photos/car/1.jpg` is the member `1.jpg` of
`photos/car.tar`, where there is no folder `photos/car`. So rows, ids and annotations are those of the folder.
Who opens a photograph asks here when there is no file. An archive is indexed once a process, and a member is
read by its place in the file (`tar_index.py`). In the same way a listing stands for a folder that is in a
bucket (`listings.py`).
"""

import errno
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from partdistillation.errors import InputError
from partdistillation.runs import listings
from partdistillation.runs.tar_index import SUFFIX, Member, index

_KEPT = 512
"""Indexes of so many archives are kept: about 200 bytes a member."""


class Place(NamedTuple):
    """Where a photograph is that has no file of its own."""

    archive: Path
    member: Member

    @property
    def size(self) -> int:
        """In bytes."""
        return self.member.size

    @property
    def modified(self) -> int:
        """When its archive was changed, in nanoseconds since 1970."""
        return self.archive.stat().st_mtime_ns

    @property
    def problem(self) -> str:
        """Why it isn't read."""
        return self.member.problem

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
    """What is in an archive (`tar_index.index`).

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
    with archive.open("rb") as file:
        try:
            return index(file)
        except InputError as error:
            raise InputError(f"{archive}: {error}") from error


def place_of(path: Path) -> Place | listings.Place | None:
    """Where a photograph is that has no file: in an archive, or a bucket, instead of one of its folders.

    None if nowhere.

    Raises:
        InputError: the archive is damaged or can't be read.
        StoreError: the listing can't be read.
    """
    for folder in path.parents:
        if not folder.name or os.path.isdir(folder):  # noqa: PTH112 (Path raises where a name is too long)
            return None
        name = path.relative_to(folder).as_posix()
        archive = folder.with_name(folder.name + SUFFIX)
        if os.path.isfile(archive):  # noqa: PTH113
            member = members(archive).get(name)
            return None if member is None else Place(archive, member)
        if (listing := listings.of(folder)) is not None:
            return listing.find(name)
    return None


def read_bytes(path: Path) -> bytes:
    """The contents of a photograph, wherever it is.

    Raises:
        InputError, StoreError: as `place_of`.
        OSError: it can't be read.
    """
    place = None if path.is_file() else place_of(path)
    return path.read_bytes() if place is None else place.read()
