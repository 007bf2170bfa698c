"""Inputs at URLs: what a run's folder gets in their place, once, before work starts.

A folder becomes a listing of all its files (`listings.py`), archives indexed; a file, such as annotations, a
copy; another run's objects, which are rows, copies too. No photograph is copied.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from partdistillation.config import REMEMBERED, Inputs, stand_in
from partdistillation.errors import InputError
from partdistillation.runs import listings
from partdistillation.runs.atomic import make_folder, new_folder, replace_file
from partdistillation.runs.claims import by_one
from partdistillation.runs.listings import CONNECTIONS, SCHEMA, Entry
from partdistillation.runs.manifest import MANIFEST
from partdistillation.runs.mirror import fetch
from partdistillation.runs.object_storage import ObjectStorage, StoredFile, known_bucket, open_bucket
from partdistillation.runs.tar_index import COMPRESSED_ARCHIVE, SUFFIX, index, suffix_of
from partdistillation.runs.terminal import say
from partdistillation.settings import as_url, is_url

_BLOCK = 256 << 10
"""Bytes of an archive that are read by a request, while its members' names are looked for."""

_ROWS_AT_A_TIME = 100_000


def bring_inputs(inputs: Inputs) -> None:
    """`bring` for all inputs of a run; with the engine "shared" one worker's work, for which others wait.

    Raises:
        As `bring`.
    """
    given = (getattr(inputs, name) for name in REMEMBERED)
    remote = [path for path in given if path is not None and is_url(path)]
    for path in remote:
        _reach(as_url(path))  # every worker does, before it waits
    if all(_is_there(path, inputs.out) for path in remote):
        return
    with by_one(inputs, "listing", done=lambda: all(_is_there(path, inputs.out) for path in remote)):
        for path in remote:
            bring(path, inputs.out)


def bring(place: Path, out: Path) -> Path:
    """The place itself; for a URL, what stands for it in the folder `out`, which is made if it isn't there.

    Raises:
        InputError: there is nothing at the URL, or it can't be reached: no such bucket, no credentials; or
            the package for it isn't installed. An archive there is damaged or compressed.
        StoreError: the store fails, or `out` can't be written.
    """
    if not is_url(place):
        return place
    url, here = as_url(place), stand_in(place, out)
    _reach(url)
    if _is_there(place, out):
        return here
    parent, _, name = url.rpartition("/")
    if not parent.endswith("/") and known_bucket(parent).exists(name):
        if suffix_of(name):
            raise InputError(f"{url}: expected a folder, found an archive; give the folder that holds it")
        _copy(parent, name, here)
        return here
    files = sorted(known_bucket(url).files())
    if not files:
        raise InputError(f"{url}: expected files, found none; check the URL")
    if rows := _rows_of_run([file.key for file in files]):
        with new_folder(here) as folder:
            for key in rows:
                _copy(url, key, folder / key)
        return here
    write_listing(listings.file_of(here), url, _entries(url, files))
    say(f"{url}: {len(files):,} files, listed once for this run", stderr=True)
    return here


def _copy(url: str, key: str, path: Path) -> None:
    data = known_bucket(url).read(key)
    if data is None:
        raise InputError(f"{url}/{key}: expected a file, which was listed, found none; run the command again")
    make_folder(path.parent)
    replace_file(path, data)


@cache
def _reach(url: str) -> None:
    """Make sure, once, that there is a bucket that answers."""
    open_bucket(url)


def _is_there(place: Path, out: Path) -> bool:
    here = stand_in(place, out)
    return fetch(here).exists() or fetch(listings.file_of(here)).exists()


def _rows_of_run(keys: Sequence[str]) -> list[str]:
    """The files of the objects in a run, or in a stage; none where it is neither."""
    for prefix in ("objects/", ""):
        rows = [key for key in keys if key.startswith(prefix) and key.endswith(".parquet")]
        if rows and f"{prefix}{MANIFEST}" in keys:
            return [*rows, f"{prefix}{MANIFEST}"]
    return []


def _entries(url: str, files: Sequence[StoredFile]) -> Iterator[Entry]:
    """A row a file; for an archive, unless it lies beside the folder of its name, rows of its members."""
    folders = {str(folder) for file in files for folder in PurePosixPath(file.key).parents}
    packed = {
        file.key: file
        for file in files
        if (suffix := suffix_of(file.key)) and file.key.removesuffix(suffix) not in folders
    }
    for file in files:
        if file.key not in packed:
            yield Entry(file.key, "", 0, file.size, file.modified, file.etag)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        yield from chain.from_iterable(pool.map(partial(_members, url), packed.values()))


def _members(url: str, archive: StoredFile) -> list[Entry]:
    folder = archive.key.removesuffix(SUFFIX)
    if folder == archive.key:
        raise InputError(f"{url}/{archive.key}: {COMPRESSED_ARCHIVE}")
    try:
        with io.BufferedReader(_StoredArchive(known_bucket(url), archive), _BLOCK) as file:
            members = index(file)
    except InputError as error:
        raise InputError(f"{url}/{archive.key}: {error}") from error
    return [
        Entry(
            f"{folder}/{name}",
            archive.key,
            member.offset,
            member.size,
            archive.modified,
            archive.etag,
            member.problem,
            member.category,
        )
        for name, member in members.items()
    ]


class _StoredArchive(io.RawIOBase):
    """An archive in a bucket as a file, of which only what is read is fetched."""

    def __init__(self, storage: ObjectStorage, file: StoredFile) -> None:
        self._storage, self._file, self._place = storage, file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._file.size}
        self._place = starts[whence] + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        size = max(0, min(len(buffer), self._file.size - self._place))
        data = self._storage.read_unchanged(self._file.key, self._file.etag, self._place, size)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def write_listing(path: Path, url: str, entries: Iterable[Entry]) -> None:
    """Write the file that `listings.Listing` reads.

    Raises:
        StoreError: it can't be written.
    """
    schema = SCHEMA.with_metadata({listings.URL: url})
    rows = iter(entries)
    batches = []
    while batch := list(islice(rows, _ROWS_AT_A_TIME)):
        batches.append(pa.record_batch(list(map(list, zip(*batch, strict=True))), schema=schema))
    table = pa.Table.from_batches(batches, schema).sort_by("name").combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(table)
    make_folder(path.parent)
    replace_file(path, bytes(sink.getvalue()))
