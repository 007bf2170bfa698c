import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from partdistillation.errors import SettingsChanged, StoreError
from partdistillation.runs.engine import run_shards
from partdistillation.runs.manifest import JOURNAL, MANIFEST
from partdistillation.runs.records import Object, ObjectRow, ObjectSegments, Segment, SegmentRow
from partdistillation.runs.shards import ImageRef, Shard, make_shards
from partdistillation.runs.stage_reader import StageReader, read_rows, stage_hash, verify
from partdistillation.runs.store import encode_shard, open_stage

IDS = [f"image-{number}" for number in range(5)]
SETTINGS: dict[str, Any] = {"k": 4, "levels": (3, 4), "crf": {"enabled": True, "gt_prob": 0.7}}


def object_row(image: ImageRef) -> ObjectRow:
    return ObjectRow(
        image.image_id,
        f"{image.image_id}.jpg",
        64,
        48,
        "ok",
        "",
        (Object(0, "car", 0.5, 9, (0.0, 0.0, 3.0, 3.0), b"rle"),),
    )


def make_work() -> Callable[[Shard[ImageRef]], Iterator[ObjectRow]]:
    return lambda shard: (object_row(image) for image in shard.inputs)


def run(
    out: Path,
    settings: dict[str, Any] = SETTINGS,
    ids: Sequence[str] = IDS,
    upstream: Sequence[Path] = (),
    size: int = 2,
) -> Path:
    shards = make_shards([ImageRef(image_id) for image_id in ids], size=size)
    return run_shards(
        out,
        row=ObjectRow,
        shards=shards,
        settings=settings,
        upstream=upstream,
        make_work=make_work,
        label="objects",
    )


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    return run(tmp_path / "objects")


def test_rows_are_read_in_order(stage: Path) -> None:
    assert list(read_rows(stage, ObjectRow)) == [object_row(ImageRef(image_id)) for image_id in IDS]
    assert len(StageReader(stage, ObjectRow)) == 5
    assert verify(stage) == []


def test_a_finished_folder_holds_shards_manifest_and_lock(stage: Path) -> None:
    assert sorted(path.name for path in stage.iterdir()) == [
        ".lock",
        "images-00000.parquet",
        "images-00001.parquet",
        "images-00002.parquet",
        "manifest.json",
    ]
    manifest = json.loads((stage / MANIFEST).read_text())
    assert manifest["settings"] == {"k": 4, "levels": [3, 4], "crf": {"enabled": True, "gt_prob": 0.7}}
    assert [shard["rows"] for shard in manifest["shards"]] == [2, 2, 1]


def test_running_again_touches_nothing(stage: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in stage.iterdir()}
    assert run(stage) == stage
    assert {path: path.stat().st_mtime_ns for path in stage.iterdir()} == before


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"k": 5}, "k: was 4, is now 5"),
        ({"levels": (4,)}, "levels: was [3, 4], is now [4]"),
        ({"crf": {"enabled": True, "gt_prob": 0.8}}, "crf.gt_prob: was 0.7, is now 0.8"),
        ({"seed": 1}, "seed: was not set, is now 1"),
    ],
)
def test_a_changed_setting_is_named(stage: Path, changed: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsChanged) as error:
        run(stage, SETTINGS | changed)
    assert str(error.value).splitlines() == [
        f"{stage} was started with other settings or inputs:",
        f"  {line}",
        f"Go back to the old ones, choose another --out, or delete {stage} to do this stage again.",
    ]
    assert verify(stage) == []


@pytest.mark.parametrize(
    ("ids", "line"),
    [
        (IDS[:4], "inputs: shard images-00002 had 1, is gone"),
        ([*IDS, "new"], "inputs: shard images-00002 had 1, has 2 now"),
        ([*IDS, "new", "newer"], "inputs: shard images-00003 wasn't there, has 1 now"),
        ([*IDS[:4], "new"], "inputs: shard images-00002 has as many as before, but not the same ones"),
        ([*IDS, *map(str, range(30))], "inputs: 11 more shards differ"),
    ],
)
def test_changed_inputs_are_named(stage: Path, ids: list[str], line: str) -> None:
    with pytest.raises(SettingsChanged) as error:
        run(stage, ids=ids)
    assert f"  {line}" in str(error.value).splitlines()


def test_settings_may_change_until_something_is_committed(tmp_path: Path) -> None:
    shards = make_shards([ImageRef(image_id) for image_id in IDS], size=2)
    with open_stage(tmp_path, row=ObjectRow, shards=shards, settings=SETTINGS):
        pass  # a model can't be loaded, say
    run(tmp_path, SETTINGS | {"k": 5}, ids=IDS[1:])
    with pytest.raises(SettingsChanged, match="k: was 5, is now 4"):
        run(tmp_path, ids=IDS[1:])
    assert verify(tmp_path) == []


def test_a_changed_upstream_stage_is_named(stage: Path, tmp_path: Path) -> None:
    out = run(tmp_path / "segments", upstream=[stage])
    other = run(tmp_path / "other" / "objects", ids=[*IDS, "new"])
    with pytest.raises(SettingsChanged, match=r"upstream objects: its contents aren't those"):
        run(out, upstream=[other])


def test_upstream_can_be_a_model_or_a_file(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    annotations = tmp_path / "objects.json"
    annotations.write_text("{}")
    out = run(tmp_path / "out", upstream=[model, annotations])
    (model / "README.md").write_text("a model card doesn't matter")
    run(out, upstream=[model, annotations])
    (model / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(SettingsChanged, match=r"upstream model"):
        run(out, upstream=[model, annotations])


def test_a_folder_that_is_no_upstream_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"expected a stage's folder, a model's or a file"):
        run(tmp_path / "out", upstream=[tmp_path])


def test_folders_of_one_name_count_each(tmp_path: Path) -> None:
    files = [tmp_path / folder / "model.json" for folder in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_text(file.parent.name)
    out = run(tmp_path / "out", upstream=files)
    run(out, upstream=files)
    files[1].write_text("other")
    with pytest.raises(SettingsChanged, match=r"upstream model\.json \(2\)"):
        run(out, upstream=files)


def test_two_processes_cant_write_to_one_folder(stage: Path) -> None:
    shards = make_shards([ImageRef(image_id) for image_id in IDS], size=2)
    with (
        open_stage(stage, row=ObjectRow, shards=shards, settings=SETTINGS),
        pytest.raises(StoreError, match=r"is in use: expected to be the only process"),
    ):
        run(stage)
    run(stage)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("harm", "word"),
    [(damage, "SHA-256 isn't the manifest's"), (truncate, "expected 3"), (Path.unlink, "is missing")],
)
def test_a_harmed_shard_is_reported_and_redone(
    stage: Path, harm: Callable[[Path], None], word: str, caplog: pytest.LogCaptureFixture
) -> None:
    shard = stage / "images-00001.parquet"
    before = {path.name: path.read_bytes() for path in stage.iterdir()}
    harm(shard)
    (problem,) = verify(stage)
    assert str(shard) in problem
    with pytest.raises(
        StoreError, match=r"images-00001.parquet is (missing|damaged).* redoes this shard alone"
    ):
        list(read_rows(stage, ObjectRow))
    with caplog.at_level(logging.WARNING):
        run(stage)
    assert word in caplog.text
    assert "this shard is done again" in caplog.text
    assert {path.name: path.read_bytes() for path in stage.iterdir()} == before


def test_what_killed_runs_leave_is_removed(stage: Path) -> None:
    (stage / ".images-00000.parquet.tmp").write_bytes(b"half")
    run(stage)
    assert not (stage / ".images-00000.parquet.tmp").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 2, "shards": []}', '{"format": 2, "shards": [{}]}']
)
def test_a_damaged_manifest_is_said_so(stage: Path, text: str) -> None:
    (stage / MANIFEST).write_text(text)
    for use in (run, verify, stage_hash):
        with pytest.raises(StoreError, match=r"expected a manifest in .*Delete .* run the stage again"):
            use(stage)


def test_changed_columns_are_said_so(stage: Path) -> None:
    manifest = json.loads((stage / MANIFEST).read_text())
    (stage / MANIFEST).write_text(json.dumps(manifest | {"columns": "others"}))
    with pytest.raises(SettingsChanged, match=r"the columns of ObjectRow have changed"):
        run(stage)


def test_somebody_elses_parquet_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "images-00000.parquet").write_bytes(b"precious")
    with pytest.raises(StoreError, match=r"found images-00000.parquet and no manifest"):
        run(tmp_path)
    assert (tmp_path / "images-00000.parquet").read_bytes() == b"precious"


def test_an_out_that_is_a_file_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(StoreError, match=r"can't write to .*out: File exists"):
        run(tmp_path / "out")


def test_an_unfinished_stage_isnt_read(tmp_path: Path) -> None:
    shards = make_shards([ImageRef(image_id) for image_id in IDS], size=2)
    with open_stage(tmp_path, row=ObjectRow, shards=shards, settings=SETTINGS) as store:
        store.commit(1, encode_shard(shards[1], map(object_row, shards[1].inputs), ObjectRow))
        assert store.pending() == [0, 2]
    assert (tmp_path / JOURNAL).exists()
    for read in (stage_hash, lambda folder: read_rows(folder, ObjectRow)):
        with pytest.raises(StoreError, match=r"expected a finished stage in .* found 1 of 3 shards"):
            read(tmp_path)
    assert len(verify(tmp_path)) == 2


def test_a_torn_journal_line_costs_that_shard_alone(tmp_path: Path, stage: Path) -> None:
    shards = make_shards([ImageRef(image_id) for image_id in IDS], size=2)
    out = tmp_path / "out"
    with open_stage(out, row=ObjectRow, shards=shards, settings=SETTINGS) as store:
        for index in (0, 1):
            store.commit(index, encode_shard(shards[index], map(object_row, shards[index].inputs), ObjectRow))
    truncate_half(out / JOURNAL)
    with open_stage(out, row=ObjectRow, shards=shards, settings=SETTINGS) as store:
        assert store.pending() == [1, 2]
    run(out)
    assert (out / MANIFEST).read_bytes() == (stage / MANIFEST).read_bytes()


def truncate_half(journal: Path) -> None:
    first, second = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(first + second[:20])


IMAGES = (ImageRef("a"), ImageRef("b"))
ROWS = [object_row(image) for image in IMAGES]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS[:1], "found 1 rows, and None where 'b' belongs"),
        ([*ROWS, ROWS[0]], "found 3 rows, and 'a' where None belongs"),
        (ROWS[::-1], "found 2 rows, and 'b' where 'a' belongs"),
        ([ROWS[0], replace(ROWS[1], status="rejected")], "image b: expected a reason and no objects"),
        (
            [ROWS[0], replace(ROWS[1], status="rejected", reason="small")],
            "image b: expected a reason and no objects",
        ),
    ],
)
def test_rows_that_arent_one_an_input_are_refused(rows: list[ObjectRow], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        encode_shard(Shard("s", IMAGES), rows, ObjectRow)


def test_a_row_of_another_stage_is_refused() -> None:
    row = SegmentRow("a", "a.jpg", 1, 1, "ok", "", (ObjectSegments(0, (Segment(1, b""),)),))
    with pytest.raises(StoreError, match=r"expected ObjectRow, found SegmentRow"):
        encode_shard(Shard("s", IMAGES[:1]), [row], ObjectRow)


def test_a_value_that_doesnt_fit_its_column_is_refused() -> None:
    row = replace(ROWS[0], width=2**70)
    with pytest.raises(StoreError, match=r"shard s: expected rows of ObjectRow"):
        encode_shard(Shard("s", IMAGES[:1]), [row], ObjectRow)


def test_a_moved_data_set_keeps_its_fingerprint(tmp_path: Path) -> None:
    from partdistillation.data.images import ImageInput
    from partdistillation.runs.manifest import plan

    plans = [
        plan(ObjectRow, [Shard("s", (ImageInput("a", "a.jpg", folder / "a.jpg"),))], {}, {})
        for folder in (Path("here"), Path("there"))
    ]
    assert plans[0] == plans[1]
