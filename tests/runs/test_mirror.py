"""What is written goes to the bucket, what is read comes from there; on two hosts: mirrors in two caches."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from partdistillation.runs import mirror
from partdistillation.runs.atomic import new_folder, remove_file, remove_folder, replace_file
from partdistillation.runs.mirror import (
    fetch,
    fetch_all,
    is_mirrored,
    mirrored,
    open_mirror,
    original,
    refresh,
    refresh_folder,
    storage_at,
)
from partdistillation.runs.object_storage import ObjectStorage
from partdistillation.runs.storage import Storage, open_storage

Host = Callable[[str], Path]
"""Goes to a host and returns the run's mirror there."""


@pytest.fixture
def storage(bucket: str) -> Storage:
    return open_storage(f"{bucket}/runs/mine")


@pytest.fixture
def on(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    def go(host: str) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / host))
        return open_mirror(f"{bucket}/runs/mine")

    return go


def test_what_one_host_writes_another_reads(on: Host, storage: Storage) -> None:
    here = on("a")
    (here / "model").mkdir()
    replace_file(here / "config.yaml", b"settings")
    replace_file(here / "model/config.json", b"{}")
    assert here.name == "mine"
    assert storage.names("") == ["config.yaml", "model"]
    assert storage.read("model/config.json") == b"{}"
    there = on("b")
    assert (there / "config.yaml").read_bytes() == b"settings"
    assert (there / "model/config.json").read_bytes() == b"{}"
    assert there != here


def test_what_changes_there_changes_here_when_it_is_asked_for(
    on: Host, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = on("a") / "note.json"
    replace_file(path, b"1")
    storage.write("note.json", b"2")
    assert refresh(path).read_bytes() == b"1"  # a store may not show yet what was put there last
    monkeypatch.setattr(mirror, "SECONDS_TO_SETTLE", 0.0)
    assert path.read_bytes() == b"1"
    assert refresh(path).read_bytes() == b"2"
    storage.delete("note.json")
    assert not refresh(path).exists()
    refresh(path)  # a file that is neither here nor there


def test_rows_and_checkpoints_come_when_they_are_asked_for(on: Host, storage: Storage) -> None:
    for key in ("parts/manifest.json", "parts/car-00000.parquet", "parts/car-00000.files.json"):
        storage.write(key, b"{}")
    for key in ("claims/a.1", "checkpoints/proposals/step.safetensors", "report/index.html", ".lock"):
        storage.write(key, b"")
    folder = on("a")
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert files == ["parts/manifest.json"]
    assert fetch(folder / "parts/car-00000.parquet").read_bytes() == b"{}"
    refresh_folder(folder / "checkpoints/proposals")
    assert (folder / "checkpoints/proposals/step.safetensors").exists()


def test_many_files_at_once(on: Host, storage: Storage) -> None:
    for number in range(40):
        storage.write(f"parts/{number}.parquet", b"%d" % number)
    paths = [on("a") / f"parts/{number}.parquet" for number in range(40)]
    fetch_all(paths)
    assert [path.read_bytes() for path in paths] == [b"%d" % number for number in range(40)]


def test_a_damaged_file_comes_again(on: Host, storage: Storage) -> None:
    storage.write("a.parquet", b"rows")
    path = fetch(on("a") / "a.parquet")
    path.write_bytes(b"torn")
    assert fetch(path).read_bytes() == b"torn"
    assert fetch(path, again=True).read_bytes() == b"rows"


def test_a_folder_goes_as_a_whole_what_says_so_last(
    on: Host, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[str] = []
    upload = ObjectStorage.upload

    def recording(self: ObjectStorage, key: str, file: Path) -> str:
        put.append(key)
        return upload(self, key, file)

    monkeypatch.setattr(ObjectStorage, "upload", recording)
    folder = on("a")
    with new_folder(folder / "model") as place:
        for name in ("training.json", "weights.safetensors", "sha256.json", "a.json"):
            (place / name).write_bytes(b"1")
    assert put == [
        f"model/{name}" for name in ("a.json", "weights.safetensors", "sha256.json", "training.json")
    ]
    assert sorted(path.name for path in (folder / "model").iterdir()) == storage.names("model")


def test_the_run_itself_may_be_a_new_folder(on: Host, storage: Storage) -> None:
    folder = on("a")
    with new_folder(folder) as place:
        replace_file(place / "coco.json", b"1")
    assert storage.names("") == ["coco.json"]
    assert (folder / "coco.json").exists()


def test_removed_here_is_removed_there(on: Host, storage: Storage) -> None:
    folder = on("a")
    for name in ("a.json", "b/c.json", "b/d/e.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        replace_file(folder / name, b"1")
    remove_file(folder / "a.json")
    assert storage.names("") == ["b"]
    remove_folder(folder / "b")
    assert storage.names("") == []


def test_removed_there_is_removed_here(on: Host, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "SECONDS_TO_SETTLE", 0.0)
    folder = on("a")
    for name in ("a.json", "checkpoints/b/c.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        replace_file(folder / name, b"1")
        storage.delete(name)
    (folder / "mine.txt").write_bytes(b"")  # never in the bucket
    refresh_folder(folder)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_a_list_that_is_late_removes_nothing(
    on: Host, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = on("a")
    (folder / "b").mkdir()
    for name in ("a.json", "b/c.json"):
        replace_file(folder / name, b"1")
    monkeypatch.setattr(mirror, "SECONDS_TO_SETTLE", 0.0)
    monkeypatch.setattr(ObjectStorage, "entries", lambda *_: ({}, []))
    refresh_folder(folder)
    assert (folder / "a.json").exists()
    assert (folder / "b/c.json").exists()


def test_killed_before_it_took_its_place_a_file_comes_from_the_bucket(
    on: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = on("a") / "note.json"
    replace_file(path, b"1")
    new = path.with_name(".note.json.tmp")
    new.write_bytes(b"2")
    with pytest.raises(KeyboardInterrupt), mirrored(new, path):
        raise KeyboardInterrupt
    assert path.read_bytes() == b"1"
    monkeypatch.setattr(mirror, "SECONDS_TO_SETTLE", 0.0)
    assert refresh(path).read_bytes() == b"2"


def test_hidden_files_stay_here(on: Host, storage: Storage) -> None:
    replace_file(on("a") / ".stamp", b"1")
    assert storage.names("") == []
    assert storage.read(".stamp") is None


def test_outside_of_mirrors_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    assert not is_mirrored(path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not is_mirrored(tmp_path.resolve() / "partdistillation/runs")  # around all mirrors
    assert storage_at(path) is None
    assert refresh(path) == refresh_folder(path) == fetch(path) == path
    replace_file(path, b"1")
    remove_file(path)


def test_messages_name_the_url(on: Host, bucket: str) -> None:
    folder = on("a")
    assert original(f"can't read {folder / 'parts'}: delete it") == (
        f"can't read {bucket}/runs/mine/parts: delete it"
    )
    assert original("can't read out/parts") == "can't read out/parts"


def test_a_mirror_may_be_deleted(on: Host) -> None:
    folder = on("a")
    replace_file(folder / "a.json", b"1")
    shutil.rmtree(folder.parent)
    assert (on("a") / "a.json").read_bytes() == b"1"
