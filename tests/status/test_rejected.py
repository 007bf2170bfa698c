"""Photographs that can't be used, counted by why."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from partdistillation.runs.records import ObjectRow
from partdistillation.status.rejected import rejected
from partdistillation.status.run_files import RunFiles

from .conftest import MakeShards


def test_they_are_counted_by_why(tmp_path: Path, write_stage: Callable[..., Any]) -> None:
    rows = [ObjectRow(str(i), f"{i}.jpg", 0, 0, "rejected", f"expected 3, found {i}", ()) for i in range(3)]
    rows.append(ObjectRow("9", "9.jpg", 0, 0, "rejected", "another", ()))
    write_stage(tmp_path / "objects", rows)
    counted = rejected(RunFiles(tmp_path))
    assert (counted.photographs, counted.usable) == (4, 0)
    assert counted.reasons == [("such as: expected 3, found 0", 3), ("another", 1)]
    assert rejected(RunFiles(tmp_path / "none")) == (0, 0, [], 0, 0)


def test_of_many_shards_some_are_looked_into(tmp_path: Path, make_shards: MakeShards) -> None:
    make_shards(tmp_path / "objects", shards=6, done=4, bad=1)
    counted = rejected(RunFiles(tmp_path), most_shards=2)
    assert (counted.photographs, counted.usable, counted.looked_at, counted.done) == (2, 6, 8, 16)
    assert counted.usable_share == 0.75
