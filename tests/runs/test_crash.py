"""Kill -9 at random moments, and a failure or power loss at every single system call of the store."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partdistillation.errors import PartDistillationError, StoreError
from partdistillation.runs import atomic
from partdistillation.runs.engine import run_shards
from partdistillation.runs.manifest import MANIFEST
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.shards import make_shards
from partdistillation.runs.stage_reader import verify

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("crash_stage.py")
NEVER = 10**9
CALLS = ("open", "write", "fsync", "replace", "unlink")


def kill_and_compare(kind: str, kills: int, folder: Path) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, PROGRAM, kind, str(kills), "0", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, int] = json.loads(done.stdout)
    assert result["killed"] == kills
    return result


def test_killed_runs_end_with_the_bytes_of_an_uninterrupted_one(tmp_path: Path) -> None:
    assert kill_and_compare("safe", 10, tmp_path)["differ"] == 0


@pytest.mark.long
def test_many_killed_runs_end_with_the_bytes_of_an_uninterrupted_one(tmp_path: Path) -> None:
    assert kill_and_compare("safe", 200, tmp_path)["differ"] == 0


def test_a_naive_writer_fails_the_same_test(tmp_path: Path) -> None:
    assert kill_and_compare("naive", 10, tmp_path)["differ"] > 0


class ProcessEnds(BaseException):
    """Stands for a kill: nothing of the program runs after it."""


class FaultyOs:
    """`os` whose call number `fail_at` goes wrong, in one of these ways:

    `error`: the disk is full, once (a write stops half-way). `before`, `after`: the process ends before or
    after the call. `power`: it ends after the call, and what wasn't synced is lost.
    """

    def __init__(self, fail_at: int, way: str, folder: Path) -> None:
        self.calls = 0
        self._fail_at, self._way = fail_at, way
        self._disk = Disk(folder)
        self._ended = False

    def __getattr__(self, name: str) -> Any:
        return self._call(name) if name in CALLS else getattr(os, name)

    def _call(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if self._ended:
                raise ProcessEnds
            self.calls += 1
            if self.calls != self._fail_at:
                return self._perform(name, arguments)
            if self._way == "error":
                if name == "write":
                    os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._ended = True
            if self._way != "before":
                self._perform(name, arguments)
            if self._way == "power":
                self._disk.lose_power()
            raise ProcessEnds

        return call

    def _perform(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name == "fsync":
            return self._disk.sync(
                *arguments
            )  # in the model alone: the real one takes most of the test's time
        return getattr(os, name)(*arguments)


class Disk:
    """What POSIX promises to be left of a folder after a power loss: synced contents under synced names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contents: dict[int, bytes] = {}
        self._names: dict[str, int] = {}
        if folder.exists():
            self._names = {path.name: path.stat().st_ino for path in folder.iterdir()}
            self._contents = {path.stat().st_ino: path.read_bytes() for path in folder.iterdir()}

    def sync(self, descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        if target == self._folder:
            self._names = {path.name: path.stat().st_ino for path in self._folder.iterdir()}
        elif target.is_file():
            self._contents[target.stat().st_ino] = target.read_bytes()

    def lose_power(self) -> None:
        for path in self._folder.iterdir():
            path.unlink()
        for name, inode in self._names.items():
            (self._folder / name).write_bytes(self._contents.get(inode, b""))


@pytest.fixture
def crash_stage(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(PROGRAM.parent)
    return __import__("crash_stage")


@pytest.fixture
def run(crash_stage: Any) -> Callable[[Path], Path]:
    shards = make_shards(crash_stage.make_items(4), size=2)
    return lambda out: run_shards(
        out,
        row=ObjectRow,
        shards=shards,
        settings=crash_stage.SETTINGS,
        make_work=crash_stage.make_work,
        label="crash",
    )


def fails(run: Callable[[Path], Path], out: Path, fail_at: int, way: str) -> bool:
    """True if the run got as far as its call number `fail_at`, and failed as it should."""
    proxy = FaultyOs(fail_at, way, out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic, "os", proxy)
        failed = raises_at(run, out, way)
    assert failed == (proxy.calls >= fail_at)
    return failed


def raises_at(run: Callable[[Path], Path], out: Path, way: str) -> bool:
    try:
        run(out)
    except (StoreError, ProcessEnds) as error:
        full = isinstance(error, StoreError) and "No space left on device" in str(error)
        assert full == (way == "error")
        return True
    return False


@pytest.mark.parametrize("way", ["error", "before", "after", "power"])
def test_a_failure_at_any_call_costs_nothing_that_is_committed(
    way: str, run: Callable[[Path], Path], crash_stage: Any, tmp_path: Path
) -> None:
    reference = crash_stage.contents(run(tmp_path / "reference"))
    fail_at = 1
    while fails(run, out := tmp_path / f"out-{fail_at}", fail_at, way):
        if (out / MANIFEST).exists():
            assert all("isn't done yet" in problem for problem in verify(out))
        fails(run, out, fail_at // 2 + 1, way)  # and once more, while it resumes
        assert not fails(run, out, NEVER, way)
        assert crash_stage.contents(out) == reference
        fail_at += 1
    assert fail_at > 30  # two shards, each a file and a journal line; the manifest twice; the lock


def test_the_power_loss_test_notices_a_missing_fsync(
    run: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Disk, "sync", sync_names_only)

    def crash_everywhere() -> None:
        for fail_at in range(1, 100):
            fails(run, tmp_path / f"out-{fail_at}", fail_at, "power")
            run(tmp_path / f"out-{fail_at}")

    with pytest.raises(PartDistillationError, match=r"expected a manifest"):
        crash_everywhere()


def sync_names_only(disk: Disk, descriptor: int) -> None:
    folder = disk._folder
    if Path(f"/proc/self/fd/{descriptor}").readlink() == folder:
        disk._names = {path.name: path.stat().st_ino for path in folder.iterdir()}
