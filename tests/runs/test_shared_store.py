"""A stage that several workers write: the same bytes as one writes, whoever dies or sleeps."""

import errno
import os
import signal
import time
from collections.abc import Generator, Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from partdistillation.errors import PartDistillationError, SettingsChanged, StoreError
from partdistillation.runs import atomic, claims, shared_store, store, versions
from partdistillation.runs.engine import run_shards
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.stage_reader import verify
from partdistillation.runs.storage import FolderStorage
from partdistillation.runs.store import open_stage
from partdistillation.runs.workers import WorkerDiedError

from .forked import begin, ended, until

SHARDS = [Shard(f"s-{i}", (ImageRef(f"{i}"),)) for i in range(12)]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims.Claims, "patience", 1.0)
    monkeypatch.setattr(claims.Claims, "heartbeat", 0.05)
    monkeypatch.setattr(claims, "SECONDS_BETWEEN_LOOKS", 0.02)
    monkeypatch.setattr(shared_store, "SECONDS_BETWEEN_LOOKS", 0.02)


def rows(shard: Shard[ImageRef]) -> list[ObjectRow]:
    return [ObjectRow(item.image_id, f"{item.image_id}.png", 4, 4, "ok", "", ()) for item in shard.inputs]


def label(out: Path, *, shared: bool = True, settings: int = 0, wait: float = 0.0, workers: int = 0) -> None:
    def work(shard: Shard[ImageRef]) -> list[ObjectRow]:
        time.sleep(wait)
        return rows(shard)

    run_shards(
        out, row=ObjectRow, shards=SHARDS, settings={"k": settings}, make_work=lambda: work,
        engine="shared" if shared else "processes", label="objects", workers=workers,
    )  # fmt: skip


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()}


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_share_a_stage_and_leave_what_one_leaves(tmp_path: Path, workers: int) -> None:
    label(tmp_path / "alone", shared=False)
    assert list(ended([begin(label, tmp_path / "out", wait=0.01) for _ in range(workers)])) == [0] * workers
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")
    assert verify(tmp_path / "out") == []
    assert not any((tmp_path / "out" / "claims").iterdir())


def test_a_killed_workers_shard_is_done_by_another(tmp_path: Path) -> None:
    label(tmp_path / "alone", shared=False)
    killed, other = begin(label, tmp_path / "out", wait=0.1), begin(label, tmp_path / "out", wait=0.1)
    until(lambda: (tmp_path / "out" / "claims").is_dir() and any(tmp_path.glob("out/*.parquet")))
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    assert list(ended([killed, other])) == [-signal.SIGKILL, 0]
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_a_stopped_worker_that_wakes_changes_nothing(tmp_path: Path) -> None:
    label(tmp_path / "alone", shared=False)
    stopped = begin(label, tmp_path / "out", wait=0.1)
    until(lambda: any(tmp_path.glob("out/claims/*")))
    assert stopped.pid is not None
    os.kill(stopped.pid, signal.SIGSTOP)
    label(tmp_path / "out")
    before = contents(tmp_path / "out")
    os.kill(stopped.pid, signal.SIGCONT)
    assert list(ended([stopped])) == [0]
    assert contents(tmp_path / "out") == before == contents(tmp_path / "alone")


def test_a_shard_of_which_workers_die_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "claims").mkdir(parents=True)
    for number in range(1, claims.MAX_DEATHS + 1):
        (out / "claims" / f"s-3.{number}").write_text("dead")
    with pytest.raises(PartDistillationError, match=r"3 workers died.*s-3"):
        label(out)
    assert len(list(out.glob("*.parquet"))) == len(SHARDS) - 1


def test_a_shard_that_kills_a_worker_process_counts_a_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that started the process is alive to give its other claims back."""

    def die(
        make: object, tasks: Iterable[tuple[int, Shard[ImageRef]]], workers: int
    ) -> Generator[tuple[int, object], None, None]:
        (index, _), _ = islice(tasks, 2)
        yield from ()
        raise WorkerDiedError(index, -signal.SIGKILL)

    monkeypatch.setattr("partdistillation.runs.engine.map_on_processes", die)
    with pytest.raises(PartDistillationError, match="SIGKILL") as death:
        label(tmp_path, workers=2)
    (claim,) = (tmp_path / "claims").iterdir()
    assert claim.name.removesuffix(".1") in str(death.value)


def test_other_settings_or_versions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    label(tmp_path / "out")
    with pytest.raises(SettingsChanged, match="k: was 0, is now 1"):
        label(tmp_path / "out", settings=1)
    now = dict(versions.versions())
    monkeypatch.setattr(shared_store, "versions", lambda: now | {"torch": "0.1"})
    with pytest.raises(SettingsChanged, match=r"torch: was .*, is now 0\.1"):
        label(tmp_path / "out")


def test_what_one_began_is_finished_by_many_and_the_other_way(tmp_path: Path) -> None:
    label(tmp_path / "alone", shared=False)
    for first_shared in (True, False):
        out = tmp_path / f"out {first_shared}"
        _begin_three(out, shared=first_shared)
        label(out, shared=not first_shared)
        assert contents(out) == contents(tmp_path / "alone")


def _begin_three(out: Path, *, shared: bool) -> None:
    with open_stage(
        out, row=ObjectRow, shards=SHARDS, settings={"k": 0}, engine="shared" if shared else "processes"
    ) as opened:
        for index in list(opened.tasks(opened.pending()[:3])):
            opened.commit(index, store.encode_shard(SHARDS[index], rows(SHARDS[index]), ObjectRow))


def test_alone_is_refused_while_others_share(tmp_path: Path) -> None:
    with open_stage(tmp_path, row=ObjectRow, shards=SHARDS, settings={}, engine="shared") as opened:
        next(opened.tasks(opened.pending()))
        with pytest.raises(StoreError, match="in use"):
            label(tmp_path, shared=False)
    with pytest.raises(SettingsChanged):
        label(tmp_path)
    (tmp_path / "claims" / "s-1.1").write_text("dead")
    with pytest.raises(StoreError, match="--engine shared"):
        label(tmp_path, shared=False)


def test_what_killed_workers_left_half_written_is_removed_at_the_end(tmp_path: Path) -> None:
    left = [tmp_path / f".{'0' * 32}.tmp", tmp_path / "claims" / f".{'1' * 32}.tmp"]
    (tmp_path / "claims").mkdir()
    for path in left:
        path.write_bytes(b"half")
    label(tmp_path)
    assert not any(path.exists() for path in left)
    assert verify(tmp_path) == []


@pytest.mark.parametrize("there", [False, True])
def test_a_worker_whose_half_written_shard_is_removed_is_not_the_first(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, shard = os.link, tmp_path / "s-0.parquet"
    if there:
        shard.write_bytes(b"first")

    def link_late(old: Path, new: Path) -> None:
        atomic.remove_unlinked(tmp_path)
        if there:  # as sshfs says it
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        link(old, new)

    with monkeypatch.context() as patch:
        patch.setattr("partdistillation.runs.atomic.os.link", link_late)
        assert not atomic.create_file(shard, b"late")
    assert list(tmp_path.iterdir()) == ([shard] if there else [])


def test_a_stage_that_others_are_just_beginning_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest and a shard appear while the folder is listed, the manifest too late to be seen."""
    label(tmp_path / "alone", shared=False)

    class Late(FolderStorage):
        def names(self, folder: str) -> list[str]:
            return [name for name in super().names(folder) if name != "manifest.json"]

    _begin_three(tmp_path / "out", shared=True)
    monkeypatch.setattr(shared_store, "storage_of", Late)
    label(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_a_late_worker_keeps_what_is_committed(tmp_path: Path) -> None:
    shards = [replace(SHARDS[0])]
    with open_stage(tmp_path, row=ObjectRow, shards=shards, settings={}, engine="shared") as opened:
        (tmp_path / "s-0.parquet").write_bytes(b"first")
        opened.commit(0, b"second")
        opened.finish()
    assert (tmp_path / "s-0.parquet").read_bytes() == b"first"
    assert verify(tmp_path) == []
