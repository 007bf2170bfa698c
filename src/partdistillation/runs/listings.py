"""Photographs in a bucket, read from there: what it holds is listed once, in the run's folder.

A listing stands for the folder that would be there after copying: `photos/car/1.jpg` is the row `car/1.jpg`
of `photos.arrow`, where there is no folder `photos`. Members of archives have rows as files do, with their
place in the archive. So nothing is listed, or indexed, again by other workers and later stages; they map the
file into memory, and look names up in it. A photograph that isn't the one that was listed isn't read.
"""

import errno
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from partdistillation.errors import InputError, StoreError
from partdistillation.runs.object_storage import known_bucket

SUFFIX = ".arrow"
URL = b"url"
"""In the schema's metadata: where the files are."""
SCHEMA = pa.schema(
    {
        "name": pa.large_string(),
        "archive": pa.large_string(),
        "offset": pa.int64(),
        "size": pa.int64(),
        "modified": pa.int64(),
        "etag": pa.large_string(),
        "problem": pa.large_string(),
        "category": pa.large_string(),
    }
)
"""The fields of an `Entry`, sorted by name."""
CONNECTIONS = 16
"""Requests that are made at a time."""
_MOST_KEPT = 512 << 20
"""Bytes of photographs that are fetched ahead; of larger shards the rest is read as it is asked for."""
_ROWS_AT_A_TIME = 10_000
_GAP, _LONGEST = 1 << 20, 32 << 20
"""Bytes between two members that are read along with them, and of what is read by one request."""


class Entry(NamedTuple):
    """A file in a bucket, or a member of an archive there."""

    name: str
    """Relative, with forward slashes."""
    archive: str
    """The archive that it is in; empty for a file."""
    offset: int
    """In its archive, in bytes."""
    size: int
    """In bytes."""
    modified: int
    """When the file, or the archive, was changed, in nanoseconds since 1970."""
    etag: str
    """What tells states of the file, or of the archive, apart."""
    problem: str = ""
    """Why it isn't read."""
    category: str = ""
    """What it says about a class, for the `.cls` of a WebDataset."""


class Place(NamedTuple):
    """Where a photograph is that is in a bucket."""

    url: str
    entry: Entry

    @property
    def size(self) -> int:
        """In bytes."""
        return self.entry.size

    @property
    def modified(self) -> int:
        """When it, or its archive, was changed, in nanoseconds since 1970."""
        return self.entry.modified

    @property
    def problem(self) -> str:
        """Why it isn't read."""
        return self.entry.problem

    def read(self) -> bytes:
        """Its contents.

        Raises:
            OSError: it is none that is read.
            StoreError: it can't be reached, or isn't the one that was listed.
        """
        if self.problem:
            raise OSError(errno.EINVAL, self.problem)
        kept = _fetched.get((self.url, self.entry.name))
        return _read(self.url, [self.entry])[self.entry.name] if kept is None else kept


class Listing:
    """The files below a URL.

    Raises:
        StoreError: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            self.url = table.schema.metadata[URL].decode()
            self._columns = [table.column(name).combine_chunks() for name in SCHEMA.names]
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{path}: expected the listing of a bucket, found a damaged file ({error}); delete it, and "
                "run the same command again"
            ) from error
        self._names = self._columns[0]

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Entry]:
        for start in range(0, len(self), _ROWS_AT_A_TIME):
            columns = (column.slice(start, _ROWS_AT_A_TIME).to_pylist() for column in self._columns)
            yield from map(Entry._make, zip(*columns, strict=True))

    def find(self, name: str) -> Place | None:
        """Where a file is; None if nowhere."""
        place = self._first_from(name)
        if place == len(self) or self._names[place].as_py() != name:
            return None
        return Place(self.url, self._entry(place))

    def within(self, folder: str) -> Iterator[str]:
        """The names of all files in a folder, at any depth; of all there are for an empty name."""
        prefix = f"{folder}/" if folder else ""
        following = (self._names[place].as_py() for place in range(self._first_from(prefix), len(self)))
        return takewhile(lambda name: name.startswith(prefix), following)

    def folders_with(self, file: str) -> list[str]:
        """The folders, at any depth but the first, that hold a file of this relative name."""
        ending = f"/{file}"
        names = self._names.filter(pc.ends_with(self._names, ending)).to_pylist()
        return [name.removesuffix(ending) for name in names]

    def _first_from(self, name: str) -> int:
        wanted = name.encode()
        return bisect_left(range(len(self)), wanted, key=lambda place: self._names[place].as_py().encode())

    def _entry(self, place: int) -> Entry:
        return Entry(*(column[place].as_py() for column in self._columns))


def file_of(folder: Path) -> Path:
    """The listing that stands for a folder, if there is one."""
    return folder.with_name(folder.name + SUFFIX)


def of(folder: Path) -> Listing | None:
    """The listing that stands for a folder; None where there is none.

    Raises:
        StoreError: it is damaged.
    """
    path = file_of(folder)
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return _opened(path, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _opened(path: Path, modified: int) -> Listing:  # noqa: ARG001
    """Kept while the file is the same; `modified` tells its states apart."""
    return Listing(path)


def files_in(folder: Path) -> list[Path] | None:
    """The files in a folder, at any depth, that a listing holds; None where no listing does."""
    listed = _listed(folder)
    if listed is None:
        return None
    root, listing, inside = listed
    return [root / name for name in listing.within(inside)]


def is_folder(folder: Path) -> bool:
    """Whether a listing stands for a folder, or holds files of it."""
    listed = _listed(folder)
    return listed is not None and any(listed[1].within(listed[2]))


def _listed(folder: Path) -> tuple[Path, Listing, str] | None:
    """The folder that a listing stands for, the listing, and the way from there."""
    for root in (folder, *folder.parents):
        if not root.name or os.path.isdir(root):  # noqa: PTH112 (Path raises where a name is too long)
            return None
        if (listing := of(root)) is not None:
            return root, listing, "/".join(folder.relative_to(root).parts)
    return None


_fetched: dict[tuple[str, str], bytes] = {}
"""What was fetched ahead, by URL and name."""


@contextmanager
def fetched(paths: Iterable[Path]) -> Iterator[None]:
    """Read files side by side, neighbours in an archive at once; within, they are in memory.

    Those that no listing holds are left for whoever needs them.

    Raises:
        StoreError: some can't be reached, or aren't those that were listed.
    """
    try:
        _fetch(paths)
        yield
    finally:
        _fetched.clear()


def _fetch(paths: Iterable[Path]) -> None:
    room, wanted = _MOST_KEPT, dict[str, list[Entry]]()
    for path in paths:
        listed = _listed(path)
        place = listed and listed[1].find(listed[2])
        if place and not place.problem and place.size <= room:
            room -= place.size
            wanted.setdefault(place.url, []).append(place.entry)
    if not wanted:
        return
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for url, entries in wanted.items():
            for contents in pool.map(partial(_read, url), _neighbours(entries)):
                _fetched.update({(url, name): data for name, data in contents.items()})


def _neighbours(entries: Sequence[Entry]) -> list[list[Entry]]:
    """What one request reads: a file, or members of an archive that lie close together."""
    groups: list[list[Entry]] = []
    for entry in sorted(entries, key=lambda entry: (entry.archive, entry.offset)):
        first, last = (groups[-1][0], groups[-1][-1]) if groups else (entry, entry)
        end = entry.offset + entry.size
        together = (
            groups
            and entry.archive == first.archive != ""
            and entry.offset - (last.offset + last.size) <= _GAP
            and end - first.offset <= _LONGEST
        )
        if together:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return groups


def _read(url: str, entries: Sequence[Entry]) -> dict[str, bytes]:
    """The contents of neighbours, by name."""
    first, last = entries[0], entries[-1]
    key, start = first.archive or first.name, first.offset
    try:
        storage = known_bucket(url)
    except InputError as error:  # obstore is missing, say: no fault of a photograph's
        raise StoreError(str(error)) from error
    data = storage.read_unchanged(key, first.etag, start, last.offset + last.size - start)
    return {entry.name: data[entry.offset - start :][: entry.size] for entry in entries}
