"""What of each stage is there."""

from pathlib import Path

import pytest

from partdistillation.errors import StoreError
from partdistillation.status.run_files import RunFiles
from partdistillation.status.stages import STAGES, is_done, rows_of, stages_of

from .conftest import MakeShards

OBJECTS = STAGES[0]


def test_stages_are_those_of_the_pipeline() -> None:
    from partdistillation.pipeline import STAGES as PIPELINE

    assert [(stage.name, stage.folders) for stage in STAGES] == [
        (stage.name, stage.folders) for stage in PIPELINE.stages[1:]
    ]


@pytest.mark.parametrize("engine", ["processes", "shared"])
def test_photographs_are_counted_as_they_are_committed(
    tmp_path: Path, make_shards: MakeShards, engine: str
) -> None:
    assert rows_of(RunFiles(tmp_path), "objects") is None
    make_shards(tmp_path / "objects", shards=3, done=2, engine=engine)
    rows = rows_of(RunFiles(tmp_path), "objects")
    assert rows is not None
    assert (rows.done, rows.total) == (8, 12)
    assert not is_done(RunFiles(tmp_path), OBJECTS)
    make_shards(tmp_path / "objects", shards=3, done=3, engine=engine)
    assert is_done(RunFiles(tmp_path), OBJECTS)


def test_the_first_of_two_groupings_takes_the_time(tmp_path: Path, make_shards: MakeShards) -> None:
    make_shards(tmp_path / "coarse_segments", shards=2, done=2)
    files = RunFiles(tmp_path)
    stage = stages_of(files)[1]
    assert (stage.name, stage.folders) == ("segments", ("coarse_segments", "segments"))
    assert not is_done(files, stage)
    make_shards(tmp_path / "segments", shards=2, done=2)
    assert is_done(RunFiles(tmp_path), stage)


def test_a_stage_is_not_done_while_a_second_grouping_is_added(
    tmp_path: Path, make_shards: MakeShards
) -> None:
    make_shards(tmp_path / "segments", shards=2, done=2)
    make_shards(tmp_path / "coarse_segments", shards=2, done=1)
    files = RunFiles(tmp_path)
    assert not is_done(files, stages_of(files)[1])


def test_a_committed_shard_whose_file_is_gone_is_missing(tmp_path: Path, make_shards: MakeShards) -> None:
    folder = make_shards(tmp_path / "objects", shards=2, done=2)
    (folder / "s-00001.parquet").unlink()
    rows = rows_of(RunFiles(tmp_path), "objects")
    assert rows is not None
    assert [shard.name for shard in rows.missing] == ["s-00001"]
    assert (rows.done, rows.total) == (4, 8)
    assert not is_done(RunFiles(tmp_path), OBJECTS)


def test_a_damaged_manifest_is_named(tmp_path: Path, make_shards: MakeShards) -> None:
    folder = make_shards(tmp_path / "objects", shards=1, done=1)
    (folder / "manifest.json").write_bytes(b"\0")
    with pytest.raises(StoreError, match=r"expected a manifest in .*objects/manifest\.json"):
        rows_of(RunFiles(tmp_path), "objects")
    assert not is_done(RunFiles(tmp_path), OBJECTS)
