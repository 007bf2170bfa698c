"""The reading side of a stage's folder: rows, what is wrong with it, and the hash of what it holds."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path, PurePath
from typing import Generic, overload

import pyarrow as pa
import pyarrow.parquet as pq

from partdistillation.errors import StoreError
from partdistillation.runs import manifest as manifests
from partdistillation.runs.digests import file_digest, model_files, recorded, require_whole
from partdistillation.runs.manifest import Entry, Manifest
from partdistillation.runs.mirror import fetch, fetch_all, is_mirrored, refresh, refresh_folder
from partdistillation.runs.records import R, Row, from_table
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.settings import at_home


class StageReader(Generic[R]):
    """The reading side of a finished stage; every shard is checked against its SHA-256.

    Raises:
        StoreError: the stage isn't there or isn't finished, or holds other rows.
    """

    def __init__(self, folder: Path, row: type[R]) -> None:
        self._folder = folder = at_home(folder)
        self._row = row
        manifest = _finished(folder)
        if manifest.row != row.__name__:
            raise StoreError(f"expected a stage with {row.__name__} in {folder}, found {manifest.row}")
        self._entries = {entry.name: entry for entry in manifest.shards}

    def __len__(self) -> int:
        """Number of rows."""
        return sum(entry.rows for entry in self._entries.values())

    def __iter__(self) -> Iterator[R]:
        """All rows in order, with one shard in memory at a time."""
        for name in self._entries:
            yield from self.read(name)

    @property
    def shards(self) -> Sequence[Shard[ImageRef]]:
        """The shards of a stage that goes through the same images, read from disk when asked for."""
        return _StageShards(self._folder, tuple(self._entries.values()))

    def read(self, name: str) -> list[R]:
        """The rows of one shard.

        Raises:
            StoreError: there is no such shard, or it is missing or damaged.
        """
        return _rows(self.table(name), self._row, self._folder / self._entries[name].file)

    @property
    def shard_names(self) -> Sequence[str]:
        """In the order of the rows."""
        return tuple(self._entries)

    @cached_property
    def starts(self) -> Mapping[str, int]:
        """Of each shard, how many rows come before its own."""
        counts = (entry.rows for entry in self._entries.values())
        return dict(zip(self._entries, accumulate(counts, initial=0), strict=False))

    def row(self, table: pa.Table, name: str, index: int) -> R:
        """One row of a shard, of which `table` has read the columns.

        Raises:
            StoreError: it was written by another version of the software.
        """
        return _rows(table.slice(index, 1), self._row, self._folder / self._entries[name].file)[0]

    def table(self, name: str) -> pa.Table:
        """The columns of one shard.

        Raises:
            StoreError: there is no such shard, or it is missing or damaged.
        """
        if name not in self._entries:
            raise StoreError(f"expected a shard of {self._folder}, found {name!r}, which it doesn't have")
        return _checked(self._folder / self._entries[name].file, self._entries[name])


def read_shard(folder: Path, entry: Entry, row: type[R]) -> list[R]:
    """The rows of a committed shard of a stage, finished or not.

    Raises:
        StoreError: it is missing or damaged, or holds other rows.
    """
    path = folder / entry.file
    return _rows(_checked(path, entry), row, path)


def _checked(path: Path, entry: Entry) -> pa.Table:
    return _table(shard_file(path, entry))


def shard_file(path: Path, entry: Entry) -> bytes:
    """A shard's file as it was committed.

    Raises:
        StoreError: it is missing or damaged.
    """
    data = _content(path, entry)
    if data is None or not _is_of(data, entry):
        raise StoreError(
            f"{path} is {'missing' if data is None else 'damaged (its SHA-256 is not the manifest`s)'}. "
            "Run the stage that wrote it again: it redoes this shard alone."
        )
    return data


def _content(path: Path, entry: Entry) -> bytes | None:
    """A shard's file, None where there is none; in a mirror brought here again if it isn't as committed."""
    data = path.read_bytes() if fetch(path).exists() else None
    if is_mirrored(path) and not _is_of(data, entry):  # of an earlier run there, say
        data = path.read_bytes() if fetch(path, again=True).exists() else None
    return data


def _is_of(data: bytes | None, entry: Entry) -> bool:
    return data is not None and hashlib.sha256(data).hexdigest() == entry.sha256


def _rows(table: pa.Table, row: type[R], path: Path) -> list[R]:
    try:
        rows = from_table(table, row)
    except ValueError as error:
        raise StoreError(f"{path} was written by another version of the software: {error}") from error
    for item in rows:
        _refuse_outside(item, path)
    return rows


def _table(data: bytes) -> pa.Table:
    """Without Arrow's threads, which may still hold the bytes when the process ends, and abort it then."""
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def _refuse_outside(row: Row, path: Path) -> None:
    """Somebody else's rows must not lead out of the folder of images: what they name is opened."""
    name = PurePath(row.file_name)
    if name.anchor or ".." in name.parts:
        raise StoreError(
            f"{path}: expected file names inside the images' folder, found {row.file_name!r:.120} (image "
            f"{row.image_id!r:.80}): don't use this folder, or run the stage that wrote it again"
        )


class _StageShards(Sequence[Shard[ImageRef]]):
    def __init__(self, folder: Path, entries: tuple[Entry, ...]) -> None:
        self._folder = folder
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Shard[ImageRef]]:
        fetch_all([self._folder / entry.file for entry in self._entries])
        return map(self.__getitem__, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Shard[ImageRef]: ...
    @overload
    def __getitem__(self, index: slice) -> "_StageShards": ...
    def __getitem__(self, index: int | slice) -> "Shard[ImageRef] | _StageShards":
        if isinstance(index, slice):
            return _StageShards(self._folder, self._entries[index])
        entry = self._entries[index]
        path = self._folder / entry.file
        if is_mirrored(path):
            _content(path, entry)
        try:
            ids = pq.read_table(path, columns=["image_id"]).column(0).to_pylist()
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} can't be read: {error}. Run the stage that wrote it again.") from error
        return Shard(entry.name, tuple(map(ImageRef, ids)))


def read_rows(stage_dir: Path, row: type[R]) -> Iterator[R]:
    """All rows of a finished stage, in the order of its inputs, one shard in memory at a time.

    Every shard is checked against its SHA-256. `read_rows(Path("out/parts"), PartRow)`; the rows' classes are
    in `runs.records`.

    Raises:
        StoreError: the stage isn't there or finished, holds other rows, or a shard is missing or damaged.
    """
    return iter(StageReader(stage_dir, row))


def stage_hash(stage_dir: Path) -> str:
    """SHA-256 of a finished stage's contents: the same for the same rows, whatever the folder is called.

    Raises:
        StoreError: the stage isn't there or isn't finished.
    """
    manifest = _finished(stage_dir)
    return manifests.canonical_hash([manifest.row, [[entry.name, entry.sha256] for entry in manifest.shards]])


def verify(stage_dir: Path) -> list[str]:
    """What is wrong with a stage's folder: shards that are missing, damaged or not done.

    Raises:
        StoreError: there is no manifest, or it is damaged.
    """
    problems = (problem_with(stage_dir, entry) for entry in manifests.load(stage_dir).shards)
    return [problem for problem in problems if problem]


def problem_with(folder: Path, entry: Entry) -> str | None:
    """Why a shard isn't as it was committed; None where it is."""
    path = fetch(folder / entry.file)
    if not entry.sha256:
        return f"{path} isn't done yet"
    if not path.is_file():
        return f"{path} is missing"
    if path.stat().st_size != entry.size:
        return f"{path} is damaged: expected {entry.size} bytes, found {path.stat().st_size}"
    if file_digest(path) != entry.sha256:
        return f"{path} is damaged: its SHA-256 isn't the manifest's"
    return None


def _finished(folder: Path) -> Manifest:
    manifest = manifests.load(folder)
    done = sum(bool(entry.sha256) for entry in manifest.shards)
    if done < len(manifest.shards):
        raise StoreError(
            f"expected a finished stage in {folder}, found {done} of {len(manifest.shards)} shards: "
            "run that stage again to finish it"
        )
    return manifest


def contents_hash(path: Path) -> str:
    """SHA-256 of a finished stage's rows, a model's JSON and safetensors files (not its card), or a file.

    Raises:
        StoreError: it is none of these, or a stage that isn't finished.
        CheckpointError: a model's files are damaged, by the SHA-256 beside them.
    """
    if path.is_file():
        return file_digest(path)
    if (refresh(path / manifests.MANIFEST)).is_file():
        return stage_hash(path)
    refresh_folder(path)
    files = {file.name: file_digest(file) for file in model_files(path)}
    if not any(name.endswith(".safetensors") for name in files):
        raise StoreError(f"expected a stage's folder, a model's or a file at {path}, found none of them")
    if any(files.get(name) != digest for name, digest in (recorded(path) or {}).items()):
        require_whole(path)
    return manifests.canonical_hash([[name, digest] for name, digest in files.items()])
