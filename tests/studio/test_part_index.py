"""The index of a run's parts: whole or absent, made once, made again where it has to be."""

import errno
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from partdistillation.errors import InputError, StoreError
from partdistillation.runs.stage_reader import stage_hash
from partdistillation.studio import part_index
from partdistillation.studio.part_index import open_index

from .featured_runs import WriteStage, random_run, rows_of, write_run


@pytest.fixture
def run(write_stage: WriteStage, tmp_path: Path) -> Path:
    return random_run(write_stage, tmp_path / "out")


def contents(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "studio/parts").iterdir()}


def test_rows_are_sorted_by_class(run: Path) -> None:
    index = open_index(run)
    assert list(index.rows) == ["car", "é ß", "車"]
    assert [row for rows in index.rows.values() for row in rows] == list(range(len(index.parts)))
    for rows in index.rows.values():
        places = index.parts[rows.start : rows.stop][["image", "object_id", "place"]].tolist()
        assert places == sorted(places)
    assert index.features.dtype == np.float16
    assert not index.features.flags.writeable
    assert sorted(path.name for path in (run / "studio").iterdir()) == [".parts.lock", "parts"]


def test_it_is_made_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_index(run)
    before = contents(run)
    monkeypatch.delattr(part_index, "_make")
    open_index(run)
    assert contents(run) == before


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        ("flipped", "features.npy"),
        ("flipped", "parts.npy"),
        ("flipped", "index.json"),
        ("cut", "features.npy"),
        ("cut", "masks.bin"),
        ("cut", "sha256.json"),
        ("gone", "images.parquet"),
        ("gone", "sha256.json"),
    ],
)
def test_what_is_damaged_is_made_again(damage: str, name: str, run: Path) -> None:
    open_index(run)
    before, path = contents(run), run / "studio/parts" / name
    data = bytearray(path.read_bytes())
    match damage:
        case "flipped":
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case "gone":
            path.unlink()
    open_index(run)
    assert contents(run) == before


def test_other_parts_get_another_index(run: Path, write_stage: WriteStage, tmp_path: Path) -> None:
    count = len(open_index(run).parts)
    other = random_run(write_stage, tmp_path / "other", seed=1)
    for name in ("features", "parts"):
        shutil.rmtree(run / name)
        shutil.copytree(other / name, run / name)
    assert len(open_index(run).parts) != count
    assert contents(run) == (open_index(other), contents(other))[1]


def no_space(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_nothing_half_made_stays(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full; then it isn't."""
    with monkeypatch.context() as full:
        full.setattr("partdistillation.runs.atomic.os.fsync", no_space)
        with pytest.raises(StoreError, match="No space left"):
            open_index(run)
    assert [path.name for path in (run / "studio").iterdir()] == [".parts.lock"]
    (run / "studio/.parts.scratch").mkdir()  # of a process that was killed
    (run / "studio/.parts.tmp").mkdir()
    open_index(run)
    assert sorted(path.name for path in (run / "studio").iterdir()) == [".parts.lock", "parts"]


def test_the_rows_are_left_alone(run: Path) -> None:
    before = [stage_hash(run / name) for name in ("features", "parts")]
    open_index(run)
    assert [stage_hash(run / name) for name in ("features", "parts")] == before


def _open(run: Path) -> int:
    return len(open_index(run).parts)


def test_two_at_once_make_the_same(run: Path) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        counts = pool.map(_open, [run] * 8, chunksize=1)
    assert set(counts) == {_open(run)}


@pytest.mark.parametrize("name", ["features", "parts"])
def test_a_run_without_features(name: str, run: Path) -> None:
    shutil.rmtree(run / name)
    with pytest.raises(InputError, match=f"found no {name}/"):
        open_index(run)
    assert not (run / "studio").exists()


def test_features_of_other_parts(run: Path, write_stage: WriteStage, tmp_path: Path) -> None:
    other = random_run(write_stage, tmp_path / "other", seed=1)
    shutil.rmtree(run / "features")
    shutil.copytree(other / "features", run / "features")
    with pytest.raises(InputError, match="found those of others"):
        open_index(run)
    assert not (run / "studio/parts").exists()


def test_objects_whose_class_has_no_part_classes_are_left_out(
    write_stage: WriteStage, tmp_path: Path
) -> None:
    features = np.eye(2, dtype=np.float16)
    photograph = rows_of("a", [("rare", [], features), ("car", [0, 1], features)])
    index = open_index(write_run(write_stage, tmp_path / "some", [photograph]))
    assert index.rows == {"car": range(2)}
    nothing = write_run(write_stage, tmp_path / "none", [rows_of("a", [("rare", [], features)])])
    with pytest.raises(InputError, match="nothing to compare"):
        open_index(nothing)


def test_features_that_cannot_be_compared(write_stage: WriteStage, tmp_path: Path) -> None:
    good = np.ones((1, 4), np.float16)
    for number, (bad, message) in enumerate(
        [(good[:, :3], "of 4 numbers, found 3"), (good * np.float16(np.nan), "that are finite")]
    ):
        photographs = [rows_of("a", [("car", [0], good)]), rows_of("b", [("dog", [0], bad)])]
        with pytest.raises(InputError, match=rf"'b': expected features {message}"):
            open_index(write_run(write_stage, tmp_path / f"{number}", photographs))
