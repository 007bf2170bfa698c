"""The files that stage 1 has read: others in their place are noticed, copies of the same aren't others."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from partdistillation.errors import InputError, StoreError
from partdistillation.runs import seen
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.store import encode_shard, open_stage

ROW = ObjectRow("a", "a.png", 1, 1, "rejected", "no objects", ())
DAY = 86_400


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"pixels")
    os.utime(folder / "a.png", (DAY, DAY))
    return folder


@pytest.fixture
def stage(photographs: Path, tmp_path: Path) -> Path:
    folder, shard = tmp_path / "objects", Shard("all", (ImageRef("a"),))
    with open_stage(folder, row=ObjectRow, shards=[shard], settings={}) as store:
        look = seen.look(photographs / "a.png")
        assert look is not None
        seen.record(folder, "all", {"photographs": {"a.png": look}, "masks": {}})
        store.commit(0, encode_shard(shard, [ROW], ObjectRow))
        store.finish()
    return folder


def changes(stage: Path, photographs: Path, *, deep: bool = False) -> list[str]:
    return list(seen.changes(stage, seen.places(photographs, None), deep=deep, absent=deep))


def test_the_same_file_is_the_same(stage: Path, photographs: Path) -> None:
    assert changes(stage, photographs) == changes(stage, photographs, deep=True) == []


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert seen.look(tmp_path / "pipe.jpg") is None


def test_a_copy_at_another_time_is_the_same(stage: Path, photographs: Path, tmp_path: Path) -> None:
    shutil.copytree(photographs, tmp_path / "moved", copy_function=shutil.copyfile)
    assert changes(stage, tmp_path / "moved") == []


@pytest.mark.parametrize(
    ("content", "change"), [(b"other pixels", "12 bytes instead of 6"), (b"PIXELS", "other")]
)
def test_another_photograph_is_named(content: bytes, change: str, stage: Path, photographs: Path) -> None:
    (photographs / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.png: {change}.*\n.*Put the old ones back"):
        seen.require_unchanged(stage, seen.places(photographs, None))


def test_one_of_the_same_size_and_time_is_found_by_its_contents(stage: Path, photographs: Path) -> None:
    (photographs / "a.png").write_bytes(b"PIXELS")
    os.utime(photographs / "a.png", (DAY, DAY))
    assert changes(stage, photographs) == []
    assert changes(stage, photographs, deep=True) == [
        f"{photographs / 'a.png'}: other contents of the same size"
    ]


def test_a_photograph_that_is_gone_is_missed_where_it_is_read(stage: Path, photographs: Path) -> None:
    (photographs / "a.png").unlink()
    assert changes(stage, photographs) == []
    assert "No such file" in changes(stage, photographs, deep=True)[0]


def test_what_older_software_made_has_no_record(stage: Path, photographs: Path) -> None:
    (stage / "all.files.json").unlink()
    (photographs / "a.png").write_bytes(b"other pixels")
    assert changes(stage, photographs, deep=True) == []


def test_a_lost_record_is_missed_beside_others(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    shards = [Shard(name, (ImageRef(name),)) for name in "ab"]
    with open_stage(folder, row=ObjectRow, shards=shards, settings={}) as store:
        for number, shard in enumerate(shards):
            seen.record(folder, shard.name, {"photographs": {}, "masks": {}})
            store.commit(number, encode_shard(shard, [replace(ROW, image_id=shard.name)], ObjectRow))
        store.finish()
    assert seen.is_recorded(folder)
    assert changes(folder, photographs, deep=True) == []
    (folder / "b.files.json").unlink()
    assert changes(folder, photographs) == []
    assert "b.files.json is missing" in changes(folder, photographs, deep=True)[0]
    (folder / "a.files.json").unlink()
    assert not seen.is_recorded(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"photographs": 1}', '{"photographs": {"a": [1]}}'])
def test_a_damaged_record_is_said_so(text: str, stage: Path, photographs: Path) -> None:
    (stage / "all.files.json").write_text(text)
    with pytest.raises(StoreError, match=r"all\.files\.json: expected what stage 1 has read"):
        changes(stage, photographs)
