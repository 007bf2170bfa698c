"""The writing side of a stage's folder: Parquet shards and a manifest, resumed by running again.

What survives a kill at any instant, and why: a shard's file is written whole (see `atomic`), and only then
does the journal say so. So whatever the manifest and its journal name is on disk; whatever they don't name
is redone, to the same bytes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

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
from partdistillation.runs.manifest import Entry, Json, Manifest
from partdistillation.runs.mirror import is_mirrored
from partdistillation.runs.records import R, Row, to_table
from partdistillation.runs.shards import Input, Shard
from partdistillation.runs.shared_store import SharedStageStore, open_shared_stage
from partdistillation.runs.sharing import require_unshared, sharing
from partdistillation.runs.stage_reader import contents_hash, problem_with
from partdistillation.runs.versions import gone_on

_log = terminal.logger(__name__)


class StageStore:
    """One process holds the folder, from `open_stage` to the end of its `with` block."""

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
    problem = problem_with(folder, committed) if committed.sha256 else None
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
