"""An export that is shared out: the same files whoever writes them, whoever dies; whole or not there."""

import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partdistillation.config import Driver, Format, RayCluster
from partdistillation.errors import ConfigError, InputError, SettingsChanged, StoreError
from partdistillation.export import divided, formats
from partdistillation.export.divided import division_of_labels, division_of_stages
from partdistillation.export.labels import Catalog, Labels
from partdistillation.export.photographs import Photographs
from partdistillation.export.rows import StageLabels, file_names, survey
from partdistillation.functional.masks import encode
from partdistillation.runs import claims, shared_store
from partdistillation.runs.engine import run_shards
from partdistillation.runs.part_table import PartTable
from partdistillation.runs.ray_cluster import connect
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow, Row
from partdistillation.runs.shards import ImageRef, Shard

from ..runs.forked import begin, ended, until

FORMATS: tuple[Format, ...] = ("coco", "yolo", "label-studio", "cvat", "fiftyone", "datasets", "masks")
CATALOG: Catalog = {"car": ["part 0", "part 1"], "cat": ()}
IMAGES, SHARD, SIDE = 14, 3, 12


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims.Claims, "patience", 1.0)
    monkeypatch.setattr(claims.Claims, "heartbeat", 0.05)
    monkeypatch.setattr(claims, "SECONDS_BETWEEN_LOOKS", 0.02)
    monkeypatch.setattr(shared_store, "SECONDS_BETWEEN_LOOKS", 0.02)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five shards of objects and parts; every sixth image couldn't be read."""
    folder = tmp_path_factory.mktemp("run")
    pairs = [_rows(number) for number in range(IMAGES)]
    _write(folder / "objects", [row for row, _ in pairs], ObjectRow)
    _write(folder / "parts", [row for _, row in pairs], PartRow)
    for row, _ in pairs:
        path = folder / "photos" / row.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row.file_name.encode())
    return folder


def _rows(number: int) -> tuple[ObjectRow, PartRow]:
    rng = np.random.default_rng(number)
    category = "cat" if number == 7 else "car"
    name = f"{category}/{number % 4}{'' if number % 4 else number}.{number}.jpg"
    if number % 6 == 5:
        return tuple(
            kind(f"{number}", name, 0, 0, "rejected", "damaged", ()) for kind in (ObjectRow, PartRow)
        )  # type: ignore[return-value]
    masks = rng.random((4, SIDE, SIDE)) < 0.5
    objects = tuple(
        Object(
            place,
            category,
            0.25 + place / 2,
            int(masks[place].sum()),
            (0, 0, SIDE, SIDE),
            encode(masks[place]),
        )
        for place in range(number % 3)
    )
    found = tuple(
        Part(place, 0.5, 0.5 + place / 4, int(masks[2 + place].sum()), encode(masks[2 + place]))
        for place in range(0 if category == "cat" else 2)
    )
    header = (f"{number}", name, SIDE, SIDE, "ok", "")
    parts = tuple(ObjectParts(instance.object_id, category, found) for instance in objects)
    return ObjectRow(*header, objects), PartRow(*header, parts)  # type: ignore[arg-type]


def _write(folder: Path, rows: Sequence[Row], kind: type[Row]) -> None:
    shards = [
        Shard(f"s-{start:02d}", tuple(ImageRef(row.image_id) for row in rows[start : start + SHARD]))
        for start in range(0, len(rows), SHARD)
    ]
    by_id = {row.image_id: row for row in rows}
    work = lambda: lambda shard: [by_id[item.image_id] for item in shard.inputs]  # noqa: E731
    run_shards(folder, row=kind, shards=shards, settings={}, make_work=work, label="rows")


def labels_of(run: Path) -> StageLabels:
    objects = run / "objects"
    return StageLabels(objects, run / "parts", CATALOG, PartTable(), 0.0, {}, survey(objects).images)


def export(
    run: Path, out: Path, name: Format, *, workers: int = 1, engine: Driver = "processes", wait: float = 0.0
) -> str:
    labels = labels_of(run)
    writer = formats.writer_of(name, CATALOG, [*file_names(run / "objects")], "0123")
    if wait:
        writer = _Slow(writer, wait)
    photographs = Photographs(run / "photos", "copied")
    division = division_of_labels(labels, writer, photographs, {"format": name})
    return divided.write(out, division, workers, engine)


class _Slow:
    """A writer that takes its time, so that it can be killed meanwhile."""

    def __init__(self, writer: Any, wait: float) -> None:
        self._writer, self._wait, self.join = writer, wait, writer.join

    def piece(self, image: Any) -> Any:
        time.sleep(self._wait)
        return self._writer.piece(image)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def at_once(run: Path, folder: Path, name: Format) -> dict[str, bytes]:
    """What is written without shards, with the photographs."""
    (folder / "once").mkdir(parents=True)
    labels = Labels(list(labels_of(run)), CATALOG, "0123")
    formats.write(labels, folder / "once", name)
    for file_name in file_names(run / "objects"):
        Photographs(run / "photos", "copied").put(file_name, folder / "once")
    return contents(folder / "once")


@pytest.mark.parametrize("name", FORMATS)
def test_shards_give_what_is_written_at_once(name: Format, run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out", name)
    assert contents(tmp_path / "out") == at_once(run, tmp_path, name)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "once"}


def test_processes_give_the_same(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "out", "masks", workers=2)
    assert contents(tmp_path / "out") == at_once(run, tmp_path, "masks")


@pytest.mark.long
def test_actors_give_the_same(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    ray = connect(RayCluster(gpus=False), 2)
    try:
        export(run, tmp_path / "out", "masks", workers=2, engine=RayCluster(gpus=False))
    finally:
        ray.shutdown()
    assert contents(tmp_path / "out") == at_once(run, tmp_path, "masks")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "once"}


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_commands_share_an_export(run: Path, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "out"
    commands = [begin(export, run, out, "coco", engine="shared", wait=0.01) for _ in range(workers)]
    assert list(ended(commands)) == [0] * workers
    assert contents(out) == at_once(run, tmp_path, "coco")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "once"}


@pytest.mark.parametrize("name", ["coco", "masks"])
def test_a_killed_command_is_made_up_for(name: Format, run: Path, tmp_path: Path) -> None:
    out, partial = tmp_path / "out", tmp_path / ".out.partial"
    killed, other = (begin(export, run, out, name, engine="shared", wait=0.05) for _ in range(2))
    until(lambda: any(partial.glob("*.parquet")))
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    assert list(ended([killed, other])) == [-signal.SIGKILL, 0]
    assert contents(out) == at_once(run, tmp_path, name)
    assert not partial.exists()


def test_a_stopped_command_that_wakes_after_the_end_changes_nothing(run: Path, tmp_path: Path) -> None:
    out, partial = tmp_path / "out", tmp_path / ".out.partial"
    stopped = begin(export, run, out, "masks", engine="shared", wait=0.05)
    until(lambda: any(partial.glob("claims/s-*")))
    assert stopped.pid is not None
    os.kill(stopped.pid, signal.SIGSTOP)
    export(run, out, "masks", engine="shared")
    os.kill(stopped.pid, signal.SIGCONT)
    assert list(ended([stopped])) == [0]
    assert contents(out) == at_once(run, tmp_path, "masks")
    assert not partial.exists()


def test_what_another_machine_left_half_written_isnt_exported(run: Path, tmp_path: Path) -> None:
    class Dying(Photographs):
        def put(self, file_name: str, export: Path) -> None:
            super().put(file_name, export)
            path = export / "images" / file_name
            path.with_name(f".elsewhere.{path.name}.tmp").write_bytes(b"pix")
            if file_name.endswith("4.jpg"):
                raise StoreError("the power is gone")

    photographs = Dying(run / "photos", "copied")
    division = division_of_labels(
        labels_of(run), formats.writer_of("coco", CATALOG, (), "0123"), photographs, {"format": "coco"}
    )
    with pytest.raises(StoreError, match="power"):
        divided.write(tmp_path / "out", division)
    export(run, tmp_path / "out", "coco")
    assert contents(tmp_path / "out") == at_once(run, tmp_path, "coco")


def test_what_is_done_isnt_done_again(run: Path, tmp_path: Path) -> None:
    out, partial = tmp_path / "out", tmp_path / ".out.partial"
    killed = begin(export, run, out, "label-studio", wait=0.05)
    until(lambda: len(list(partial.glob("*.parquet"))) > 1)
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    assert not out.exists()
    done = {path: path.stat().st_mtime_ns for path in partial.glob("*.parquet")}
    with pytest.raises(SettingsChanged, match=r'format: was "label-studio", is now "cvat"'):
        export(run, out, "cvat")
    assert done == {path: path.stat().st_mtime_ns for path in partial.glob("*.parquet")}
    export(run, out, "label-studio")
    assert contents(out) == at_once(run, tmp_path, "label-studio")
    assert not partial.exists()


def test_an_export_that_was_killed_at_the_last_instant_is_finished(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(divided, "remove_shared", lambda _: None)
        export(run, out, "coco")
    assert (tmp_path / ".out.partial").exists()
    with pytest.raises(StoreError, match="new or empty folder"):
        export(run, out, "yolo")
    assert export(run, out, "coco") == divided.WHOLE_BEFORE
    assert contents(out) == at_once(run, tmp_path, "coco")
    assert not (tmp_path / ".out.partial").exists()


def test_what_was_begun_isnt_taken_for_a_folder_that_came_later(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(divided, "move_folder", _fails)
        with pytest.raises(StoreError, match="full"):
            export(run, out, "coco")
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    for name in ("coco", "masks"):
        with pytest.raises(StoreError, match="new or empty folder"):
            export(run, out, name)
    assert contents(out) == {"mine.txt": b"mine"}
    (out / "mine.txt").unlink()
    export(run, out, "coco")
    assert contents(out) == at_once(run, tmp_path, "coco")


def _fails(*_: object) -> None:
    raise StoreError("full")


def test_rows_are_copied_as_they_are(run: Path, tmp_path: Path) -> None:
    stages = {name: run / name for name in ("objects", "parts")}
    divided.write(tmp_path / "out", division_of_stages(stages))
    expected = {
        f"{name}/{path.name}": path.read_bytes() for name in stages for path in (run / name).glob("*.parquet")
    }
    copied = contents(tmp_path / "out")
    assert b"parts/*.parquet" in copied.pop("README.md")
    assert copied == expected


def test_damaged_rows_arent_copied(run: Path, tmp_path: Path) -> None:
    stage = tmp_path / "parts"
    shutil.copytree(run / "parts", stage)
    division = division_of_stages({"parts": stage})
    (shard, *_) = sorted(stage.glob("*.parquet"))
    shard.write_bytes(shard.read_bytes() + b"more")
    with pytest.raises(StoreError, match=r"is damaged .* Run the stage that wrote it again"):
        divided.write(tmp_path / "out", division)
    shard.unlink()
    with pytest.raises(StoreError, match=r"is missing. Run the stage that wrote it again"):
        divided.write(tmp_path / "out", division)


@pytest.mark.parametrize("engine", ["processes", "shared"])
def test_folders_with_files_are_refused(run: Path, tmp_path: Path, engine: Driver) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(
        StoreError, match="new or empty folder.*" + ("all is done" if engine == "shared" else "")
    ):
        export(run, tmp_path / "out", "coco", engine=engine)
    assert {path.name for path in tmp_path.rglob("*")} == {"out", "mine.txt"}


def test_an_error_leaves_nothing_where_nothing_was_done(run: Path, tmp_path: Path) -> None:
    photographs = Photographs(tmp_path / "none", "copied")
    division = division_of_labels(labels_of(run), formats.writer_of("coco", CATALOG), photographs, {})
    with pytest.raises(InputError, match=r"export, shard s-00: .*expected a photograph to copy"):
        divided.write(tmp_path / "out", division)
    assert not any(tmp_path.iterdir())


def test_commands_dont_share_a_bucket(
    run: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from partdistillation.runs.mirror import open_mirror

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = open_mirror(f"{bucket}/coco")
    with pytest.raises(ConfigError, match="--engine shared: expected a folder for --out"):
        export(run, out, "coco", engine="shared")
    export(run, out, "coco")
    (tmp_path / "here").mkdir()
    assert contents(out) == at_once(run, tmp_path / "here", "coco")
