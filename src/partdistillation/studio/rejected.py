"""Which photographs a run can't use, and why; counted as they come."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from partdistillation.errors import StoreError
from partdistillation.report.reasons import Causes, first_reason
from partdistillation.runs import manifest
from partdistillation.runs.run_folder import OBJECTS

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
    reasons: list[tuple[str, int]]


def usable(out: Path) -> int:
    """How many photographs are known to have objects."""
    return sum(counted.usable for counted in _shards(out))


def rejected(out: Path) -> Rejected:
    """Of a run, as far as stage 1 is."""
    causes = Causes()
    for counted in _shards(out):
        for file_name, reason in counted.rejected:
            said, essence = first_reason(reason)
            causes.add(said, file_name, essence=essence)
    return Rejected(causes.counts.total(), causes.top(_MOST_REASONS))


def _shards(out: Path) -> Iterator[_Counted]:
    folder = out / OBJECTS
    try:
        shards = manifest.load(folder).shards
    except StoreError:
        return
    for shard in shards:
        if shard.sha256:
            yield _counted(folder / shard.file, shard.sha256)


@lru_cache(maxsize=4096)
def _counted(path: Path, sha256: str) -> _Counted:  # noqa: ARG001 (tells the states of a file apart)
    try:
        rows = pq.ParquetFile(path).read(columns=_COLUMNS, use_threads=False).to_pylist()
    except (OSError, ValueError):  # damaged; whoever reads its rows says so
        return _Counted(0, ())
    bad = tuple((row["file_name"], row["reason"]) for row in rows if row["status"] != "ok")
    return _Counted(len(rows) - len(bad), bad)
