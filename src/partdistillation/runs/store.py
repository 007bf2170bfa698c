"""A stage's folder: Parquet shards and a manifest, verified when read, resumed by running again.

What survives a kill at any instant, and why: a shard's file is written whole (see `atomic`), and only then
does the journal say so. So whatever the manifest and its journal name is on disk; whatever they don't name
is redone, to the same bytes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import accumulate, zip_longest
from pathlib import Path, PurePath
from typing import Generic, overload

import pyarrow as pa
import pyarrow.parquet as pq

from partdistillation.config import Engine
from partdistillation.errors import StoreError
from partdistillation.runs import manifest as manifests
from partdistillation.runs import terminal
from partdistillation.runs.atomic import (
    explained,
    locked,
    make_folder,
    remove_temporary,
    replace_file,
    sync_folder,
)
from partdistillation.runs.claims import FOLDER as CLAIMS
from partdistillation.runs.digests import file_digest, model_files, recorded, require_whole
from partdistillation.runs.manifest import Entry, Json, Manifest
from partdistillation.runs.mirror import fetch, fetch_all, is_mirrored, refresh, refresh_folder
from partdistillation.runs.records import R, Row, from_table, to_table
from partdistillation.runs.shards import ImageRef, Input, Shard
from partdistillation.runs.shared_store import SharedStageStore, open_shared_stage
from partdistillation.runs.sharing import require_unshared, sharing
from partdistillation.runs.versions import gone_on
from partdistillation.settings import at_home

_log = terminal.logger(__name__)


class StageStore:
    """The writing side. One process holds the folder, from `open_stage` to the end of its `with` block."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self._manifest = manifest
        self._committed = {index: entry for index, entry in enumerate(manifest.shards) if entry.sha256}

    def pending(self) -> list[int]:
        """Positions of the shards that aren't committed yet."""
        return [index for index in range(len(self._manifest.shards)) if index not in self._committed]

    def tasks(self, pending: Sequence[int]) -> Iterator[int]:
        """Those of the pending shards that this process gets: all."""
        return iter(pending)

    def rest(self) -> None:
        """Wait for others: there are none."""

    def died_at(self, index: int) -> None:
        """Note that a worker process died at a shard: there are no others to tell."""

    def commit(self, index: int, data: bytes) -> None:
        """Store a shard, made by `encode_shard`. When this returns, it is there for good.

        Raises:
            StoreError: the disk is full, or the folder can't be written. Earlier shards are kept.
        """
        replace_file(self._folder / self._manifest.shards[index].file, data)
        self.record(index, hashlib.sha256(data).hexdigest(), len(data))

    def record(self, index: int, sha256: str, size: int) -> None:
        """Note that a shard, of this hash and of so many bytes, was stored in the folder.

        Raises:
            StoreError: the disk is full, or the folder can't be written.
        """
        entry = replace(self._manifest.shards[index], sha256=sha256, size=size)
        manifests.record(self._folder, entry)
        self._committed[index] = entry

    def finish(self) -> None:
        """Write the final manifest, which is the same whatever order the shards were committed in."""
        shards = tuple(self._committed.get(index, entry) for index, entry in enumerate(self._manifest.shards))
        manifests.save(self._folder, replace(self._manifest, shards=shards))


@contextmanager
def open_stage(
    folder: Path,
    *,
    row: type[Row],
    shards: Iterable[Shard[Input]],
    settings: Mapping[str, Json],
    upstream: Sequence[Path] = (),
    engine: Engine = "processes",
) -> Iterator[StageStore | SharedStageStore]:
    """Start a stage, or resume it: what is committed and undamaged stays, the rest is pending.

    With the engine "shared", or join the workers who are at it.

    Raises:
        SettingsChanged: the folder was started with other settings, inputs or upstream contents; where it is
            shared, also with other versions.
        StoreError: another process holds the folder, it can't be written, or holds shards without a manifest.
    """
    wanted = manifests.plan(row, shards, settings, _upstream_hashes(upstream))
    with ExitStack() as stack:
        if engine == "shared" or is_mirrored(folder):  # no lock of this machine is known to others
            stack.enter_context(sharing(make_folder(folder)))
            yield stack.enter_context(open_shared_stage(folder, wanted))
            return
        with explained(folder):
            if not folder.is_dir():
                make_folder(folder)
                sync_folder(folder.parent)
            stack.enter_context(locked(folder))
            require_unshared(folder)
            _require_unclaimed(folder)
            remove_temporary(folder)
            manifest = _resumed(folder, wanted)
            manifests.save(folder, manifest)
        yield StageStore(folder, manifest)


def _require_unclaimed(folder: Path) -> None:
    claims = folder / CLAIMS
    if claims.is_dir() and any(claims.iterdir()):
        raise StoreError(
            f"{folder} is, or was, the work of several workers: expected no claims of theirs, found some in "
            f"{claims}. Go on with --engine shared; or, if all of them have ended, delete that folder"
        )


def _resumed(folder: Path, wanted: Manifest) -> Manifest:
    """The wanted manifest, with what is committed in the folder and undamaged."""
    files = sorted(path.name for path in folder.glob("*.parquet"))
    if not files:  # such as after a model that couldn't be loaded: other settings have nothing to mix with
        return wanted
    if not (folder / manifests.MANIFEST).exists():
        raise StoreError(
            f"expected an empty folder or a stage's in {folder}, found {files[0]} and no manifest. "
            "Choose another --out, or delete the folder."
        )
    before = manifests.load(folder)
    manifests.check_unchanged(folder, before, wanted)
    committed = {entry.name: entry for entry in before.shards}
    shards = tuple(_undamaged(folder, committed[e.name], e) for e in wanted.shards)
    done = all(entry.sha256 for entry in shards)
    made_with = before.versions if done else gone_on(folder, before.versions)
    return replace(wanted, shards=shards, versions=made_with)


def _undamaged(folder: Path, committed: Entry, pending: Entry) -> Entry:
    problem = _problem(folder, committed) if committed.sha256 else None
    if problem:
        _log.warning("%s; this shard is done again", problem)
        return pending
    return committed


def encode_shard(shard: Shard[Input], rows: Iterable[R], row: type[R]) -> bytes:
    """The Parquet file of a shard: the same bytes for the same rows (and the same pyarrow).

    Raises:
        StoreError: the rows aren't one for every input in their order, or not of type `row`.
    """
    rows = list(rows)
    _check_rows(shard, rows, row)
    try:
        table = to_table(rows, row)
    except (ValueError, TypeError, OverflowError) as error:
        raise StoreError(f"shard {shard.name}: expected rows of {row.__name__}, found {error}") from error
    buffer = pa.BufferOutputStream()
    pq.write_table(
        table,
        buffer,
        row_group_size=len(rows),
        version="2.6",
        compression="zstd",
        compression_level=3,
        data_page_version="1.0",
        write_statistics=False,
    )
    return bytes(buffer.getvalue())


def _check_rows(shard: Shard[Input], rows: Sequence[Row], row: type[Row]) -> None:
    wanted = [item.image_id for item in shard.inputs]
    written = [item.image_id for item in rows]
    if written != wanted:
        first = next(pair for pair in zip_longest(wanted, written) if pair[0] != pair[1])
        raise StoreError(
            f"shard {shard.name}: expected one row for each of its {len(wanted)} inputs, in their order, "
            f"found {len(written)} rows, and {first[1]!r} where {first[0]!r} belongs. "
            "An input that can't be used is a row too, with status rejected."
        )
    for item in rows:
        if type(item) is not row:
            raise StoreError(f"shard {shard.name}: expected {row.__name__}, found {type(item).__name__}")
        if item.status == "rejected" and (not item.reason or bool(getattr(item, "objects", ()))):
            raise StoreError(
                f"shard {shard.name}, image {item.image_id}: expected a reason and no objects where the "
                f"status is rejected; found {item}"
            )


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
    data = _content(path, entry)
    if data is None or not _is_of(data, entry):
        raise StoreError(
            f"{path} is {'missing' if data is None else 'damaged (its SHA-256 is not the manifest`s)'}. "
            "Run the stage that wrote it again: it redoes this shard alone."
        )
    return _table(data)


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
    problems = (_problem(stage_dir, entry) for entry in manifests.load(stage_dir).shards)
    return [problem for problem in problems if problem]


def _problem(folder: Path, entry: Entry) -> str | None:
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


def require_same_upstream(folder: Path, upstream: Sequence[Path]) -> None:
    """Refuse at once what `open_stage` would refuse later, after work on what was given.

    Raises:
        SettingsChanged: the folder has rows that were made from other contents.
    """
    if (folder / manifests.MANIFEST).is_file() and any(folder.glob("*.parquet")):
        before = manifests.load(folder)
        now = replace(before, upstream={**before.upstream, **_upstream_hashes(upstream)})
        manifests.check_unchanged(folder, before, now)


def _upstream_hashes(upstream: Sequence[Path]) -> dict[str, str]:
    """By the folders' names; of several with one name (two encoders, say) the later ones are numbered."""
    hashes: dict[str, str] = {}
    for number, path in enumerate(upstream, start=1):
        name = f"{path.name} ({number})" if path.name in hashes else path.name
        hashes[name] = contents_hash(path)
    return hashes


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
