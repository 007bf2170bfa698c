"""A finished stage as it is read: its rows, its shards, and what is refused."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from partdistillation.errors import StoreError
from partdistillation.runs.engine import run_shards
from partdistillation.runs.manifest import MANIFEST
from partdistillation.runs.records import Object, ObjectRow, SegmentRow
from partdistillation.runs.shards import ImageRef, Shard, make_shards
from partdistillation.runs.stage_reader import StageReader, read_rows, stage_hash

IDS = [f"image-{number}" for number in range(5)]


def object_row(image: ImageRef) -> ObjectRow:
    instance = Object(0, "car", 0.5, 9, (0.0, 0.0, 3.0, 3.0), b"rle")
    return ObjectRow(image.image_id, f"{image.image_id}.jpg", 64, 48, "ok", "", (instance,))


def make_work() -> Callable[[Shard[ImageRef]], Iterator[ObjectRow]]:
    return lambda shard: map(object_row, shard.inputs)


def run(out: Path, ids: Sequence[str] = IDS, settings: Mapping[str, int] | None = None) -> Path:
    shards = make_shards([ImageRef(image_id) for image_id in ids], size=2)
    return run_shards(
        out, row=ObjectRow, shards=shards, settings=settings or {}, make_work=make_work, label="objects"
    )


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    return run(tmp_path / "objects")


def test_a_row_is_read_of_a_table(stage: Path) -> None:
    reader = StageReader(stage, ObjectRow)
    assert list(reader.shard_names) == ["images-00000", "images-00001", "images-00002"]
    assert reader.row(reader.table("images-00001"), "images-00001", 1) == object_row(ImageRef(IDS[3]))
    with pytest.raises(StoreError, match=r"expected a shard of .*, found 'other', which it doesn't have"):
        reader.read("other")


def test_another_tool_can_read_a_shard(stage: Path) -> None:
    table = pq.read_table(stage / "images-00000.parquet")
    assert table["image_id"].to_pylist() == IDS[:2]


def test_shards_for_the_next_stage_have_the_same_names_and_ids(stage: Path) -> None:
    shards = StageReader(stage, ObjectRow).shards
    assert list(shards) == make_shards([ImageRef(image_id) for image_id in IDS], size=2)
    assert [shard.name for shard in shards[1:]] == ["images-00001", "images-00002"]


def test_a_stage_hash_is_of_the_rows_alone(stage: Path, tmp_path: Path) -> None:
    assert stage_hash(run(tmp_path / "elsewhere", settings={"k": 9})) == stage_hash(stage)
    assert stage_hash(run(tmp_path / "fewer", ids=IDS[:3])) != stage_hash(stage)


def test_a_manifest_of_another_version_is_refused(stage: Path) -> None:
    manifest = json.loads((stage / MANIFEST).read_text())
    (stage / MANIFEST).write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(StoreError, match=r"expected format version 2 in .* found 99"):
        list(read_rows(stage, ObjectRow))


def test_a_stage_with_other_rows_is_refused(stage: Path) -> None:
    with pytest.raises(StoreError, match=r"expected a stage with SegmentRow in .* found ObjectRow"):
        read_rows(stage, SegmentRow)


def test_a_folder_without_a_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"expected a stage's folder, found no"):
        read_rows(tmp_path, ObjectRow)


@pytest.mark.parametrize("name", ["/etc/a.jpg", "../a.jpg", "cat/../../a.jpg"])
def test_rows_that_lead_out_of_the_images_folder_are_refused(tmp_path: Path, name: str) -> None:
    """A run folder from somebody else decides which files are opened, and shown, as photographs."""

    def make() -> Callable[[Shard[ImageRef]], Iterator[ObjectRow]]:
        return lambda shard: (replace(object_row(image), file_name=name) for image in shard.inputs)

    shards = make_shards([ImageRef("a")])
    folder = run_shards(
        tmp_path / "objects", row=ObjectRow, shards=shards, settings={}, make_work=make, label="objects"
    )
    with pytest.raises(StoreError, match="expected file names inside the images' folder, found"):
        list(read_rows(folder, ObjectRow))
