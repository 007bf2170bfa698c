"""Workers on several hosts (mirrors of their own) that share a bucket; then with a store that fails."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from partdistillation.errors import InputError, StoreError
from partdistillation.runs import object_storage
from partdistillation.runs.storage import Storage, open_storage

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("cloud_stage.py")


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


faulty = module("faulty_store").faulty


def start(place: str, host: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), place],
        env=os.environ | {"XDG_CACHE_HOME": str(host), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def contents(storage: Storage) -> dict[str, bytes | None]:
    return {name: storage.read(f"objects/{name}") for name in storage.names("objects") if name != "claims"}


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, bytes | None]:
    """What one process leaves on its disk."""
    process = start(str(tmp_path / "alone"), tmp_path / "cache")
    answer, messages = process.communicate()
    assert answer == "24\n", messages
    return contents(open_storage(tmp_path / "alone"))


def share(bucket: str, folder: Path, *, workers: int = 3, killed: int = 1) -> None:
    """Let workers on two hosts share a run, and kill some of them when a few shards are there."""
    processes = [start(f"{bucket}/runs/mine", folder / f"host-{number % 2}") for number in range(workers)]
    storage, end = open_storage(f"{bucket}/runs/mine"), time.monotonic() + 100
    while len(storage.names("objects")) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    for process in processes[:killed]:
        process.send_signal(signal.SIGKILL)
    answers = [process.communicate(timeout=200) for process in processes]
    assert [answer for answer, _ in answers[killed:]] == ["24\n"] * (workers - killed), answers[-1][1]


def test_hosts_leave_in_a_bucket_what_one_leaves_on_its_disk(
    bucket: str, alone: dict[str, bytes | None], tmp_path: Path
) -> None:
    share(bucket, tmp_path)
    assert contents(open_storage(f"{bucket}/runs/mine")) == alone


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_a_store_that_fails_changes_nothing(
    seed: int,
    bucket: str,
    s3_server: str,
    alone: dict[str, bytes | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with faulty(s3_server, share=0.2, seen_after=1.0, seed=seed) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.address)
        share(bucket, tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    assert contents(open_storage(f"{bucket}/runs/mine")) == alone
    assert len(store.happened) > 5


def test_requests_are_made_again(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty(s3_server, share=0.4) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.address)
        storage = open_storage(f"{bucket}/x")
        for number in range(8):
            key, data = f"a/{number:02d}", b"%d" % number * 1000
            assert storage.create(key, data)  # though the answer to the first attempt may have been lost
            assert not storage.create(key, b"other")
            assert storage.read(key) == data
            assert storage.read_range(key, 1, 3) == data[1:4]
            storage.write(key, b"new")
            assert storage.exists(key)
        assert storage.names("a") == [f"{number:02d}" for number in range(8)]
        storage.delete("a/00")
        assert storage.read("a/00") is None
    assert len(store.happened) > 5


def test_a_store_that_fails_for_long_ends_the_work(
    bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(object_storage._PATIENT, "max_retries", 1)
    monkeypatch.setitem(object_storage._BRIEF, "max_retries", 1)
    with faulty(s3_server, share=0.0) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.address)
        storage = open_storage(f"{bucket}/x")
        monkeypatch.setattr(store, "fault", lambda: "500 before")
        with pytest.raises(StoreError, match=f"{bucket}/x/a: .*What is done so far is kept"):
            storage.write("a", b"1")
        with pytest.raises(InputError, match="the store doesn't answer"):
            open_storage(bucket)


def test_a_store_that_refuses(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty(s3_server, share=0.0) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.address)
        storage = open_storage(f"{bucket}/x")
        monkeypatch.setattr(store, "fault", lambda: "refused")
        with pytest.raises(StoreError, match="is kept: set the permissions, run the same"):
            storage.write("a", b"1")
        with pytest.raises(InputError, match=f"{bucket}: the store refuses these credentials"):
            open_storage(bucket)
