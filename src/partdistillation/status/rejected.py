"""Which photographs a run can't use, and why; counted as they come."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from partdistillation.errors import StoreError
from partdistillation.report.reasons import Causes, first_reason
from partdistillation.runs.manifest import Entry
from partdistillation.runs.mirror import fetch
from partdistillation.runs.run_folder import OBJECTS
from partdistillation.status.run_files import RunFiles
from partdistillation.status.stages import rows_of

_COLUMNS = ["file_name", "status", "reason"]
_MOST_REASONS = 8


class _Counted(NamedTuple):
    """Of a shard."""

    usable: int
    rejected: tuple[tuple[str, str], ...]
    """Files, and why."""


class Rejected(NamedTuple):
    """Photographs that can't be used, by why."""

    photographs: int
    usable: int
    reasons: list[tuple[str, int]]
    looked_at: int
    """Photographs in all, of those that stage 1 has done: where there are many shards, in some of them."""
    done: int

    @property
    def usable_share(self) -> float:
        """Of those that were looked at."""
        return self.usable / self.looked_at if self.looked_at else 0.0


def rejected(files: RunFiles, *, most_shards: int | None = None) -> Rejected:
    """Of a run, as far as stage 1 is; of `most_shards`, from the first to the last."""
    try:
        rows = rows_of(files, OBJECTS)
    except StoreError:
        rows = None
    shards: Sequence[Entry] = () if rows is None else rows.committed
    done = sum(shard.rows for shard in shards)
    if most_shards is not None and len(shards) > most_shards:
        shards = [shards[place * len(shards) // most_shards] for place in range(most_shards)]
    causes, usable = Causes(), 0
    for shard in shards:
        counted = _counted(files, shard.file, f"{shard.fingerprint} {shard.sha256}")
        usable += counted.usable
        for file_name, reason in counted.rejected:
            said, essence = first_reason(reason)
            causes.add(said, file_name, essence=essence)
    count = causes.counts.total()
    return Rejected(count, usable, causes.top(_MOST_REASONS), usable + count, done)


def _counted(files: RunFiles, file: str, state: str) -> _Counted:
    return _read(_Shard(files, file, f"{files.place} {file} {state}"))


class _Shard(NamedTuple):
    """A shard's file; equal to another if it is the same file in the same state."""

    files: RunFiles
    file: str
    state: str

    def __hash__(self) -> int:
        return hash(self.state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shard) and self.state == other.state


@lru_cache(maxsize=4096)
def _read(shard: _Shard) -> _Counted:
    key = f"{OBJECTS}/{shard.file}"
    try:
        if shard.files.folder is not None:  # of a file on a disk these columns alone
            parquet = pq.ParquetFile(fetch(shard.files.folder / key))
        else:
            parquet = pq.ParquetFile(pa.BufferReader(shard.files.read(key) or b""))
        rows = parquet.read(columns=_COLUMNS, use_threads=False).to_pylist()
    except (OSError, ValueError, StoreError):  # damaged; whoever reads its rows says so
        return _Counted(0, ())
    bad = tuple((row["file_name"], row["reason"]) for row in rows if row["status"] != "ok")
    return _Counted(len(rows) - len(bad), bad)
