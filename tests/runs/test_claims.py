"""Who gets a task, and when it is taken over: by a clock that tests turn."""

import errno
import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from partdistillation.config import Inputs
from partdistillation.errors import StoreError
from partdistillation.runs.claims import MAX_DEATHS, Claims, by_one
from partdistillation.runs.storage import FolderStorage


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def claims(folder: Path, clock: Clock) -> Claims:
    return Claims(FolderStorage(folder), clock)


def test_one_alone_gets_a_task(tmp_path: Path, clock: Clock) -> None:
    barrier, got = threading.Barrier(8), []

    def want() -> None:
        mine = claims(tmp_path, clock)
        barrier.wait()
        got.append(mine.take("a"))

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]


def test_a_holder_that_gives_no_sign_loses_its_task(tmp_path: Path, clock: Clock) -> None:
    dead, other = claims(tmp_path, clock), claims(tmp_path, clock)
    assert dead.take("a")
    assert not other.take("a")  # the watch begins
    clock.now = 60
    assert not other.take("a")
    clock.now = 61
    assert other.take("a")
    assert other.deaths("a") == 1


def test_a_holder_that_gives_signs_keeps_its_task(tmp_path: Path, clock: Clock) -> None:
    alive, other = claims(tmp_path, clock), claims(tmp_path, clock)
    alive.heartbeat = 0.01
    with alive:
        assert alive.take("a")
        for _ in range(5):
            assert not other.take("a")
            clock.now += 61
            before = (tmp_path / "claims" / "a.1").read_bytes()
            while (tmp_path / "claims" / "a.1").read_bytes() == before:
                pass
    assert other.take("a")  # given back at the end of `with`


def test_a_holder_that_stood_still_is_told_that_its_task_was_taken(tmp_path: Path, clock: Clock) -> None:
    told = threading.Event()
    stopped = Claims(
        FolderStorage(tmp_path), clock, when_lost=lambda task: told.set() if task == "a" else None
    )
    stopped.heartbeat = 0.01
    other = claims(tmp_path, clock)
    assert stopped.take("a")
    assert stopped.take("b")
    assert not other.take("a")
    clock.now = 61
    assert other.take("a")
    before = (tmp_path / "claims" / "a.1").read_bytes()
    with stopped:  # signs of life begin
        assert told.wait(30)
        assert (tmp_path / "claims" / "a.1").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "claims").iterdir()) == ["a.1", "a.2"]


def test_a_claim_that_its_successor_removed_does_not_come_back(tmp_path: Path, clock: Clock) -> None:
    lost = threading.Event()
    stopped = Claims(FolderStorage(tmp_path), clock, when_lost=lambda _: lost.set())
    stopped.heartbeat = 0.01
    assert stopped.take("a")
    claims(tmp_path, clock).release("a")
    clock.now = 61
    with stopped:
        assert lost.wait(30)
        assert list((tmp_path / "claims").iterdir()) == []


def test_the_clock_of_another_machine_does_not_matter(tmp_path: Path, clock: Clock) -> None:
    ahead = Clock()
    ahead.now = 600.0
    assert claims(tmp_path, ahead).take("a")
    assert not claims(tmp_path, clock).take("a")
    assert not claims(tmp_path, ahead).take("a")


def test_who_wakes_and_releases_leaves_the_task_to_be_taken(tmp_path: Path, clock: Clock) -> None:
    stopped, other, third = (claims(tmp_path, clock) for _ in range(3))
    assert stopped.take("a")
    other.take("a")
    clock.now = 61
    assert other.take("a")
    stopped.release("a")
    assert third.take("a")  # at worst the same is done twice


def test_a_deadly_task_is_left(tmp_path: Path, clock: Clock) -> None:
    assert claims(tmp_path, clock).take("a")
    for _ in range(MAX_DEATHS - 1):
        successor = claims(tmp_path, clock)
        assert not successor.take("a")
        clock.now += 61
        assert successor.take("a")
    survivor = claims(tmp_path, clock)
    survivor.take("a")
    clock.now += 1000
    assert not survivor.take("a")
    assert survivor.deaths("a") == MAX_DEATHS
    assert survivor.deadly() == {"a"}


def test_a_stopped_holder_that_wakes_leaves_what_is_no_longer_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training, say: it would replace its successor's files. Until then the successor waits for its end."""
    monkeypatch.setattr(Claims, "heartbeat", 0.02)
    monkeypatch.setattr(Claims, "patience", 0.3)
    monkeypatch.setattr("partdistillation.runs.claims.SECONDS_BETWEEN_LOOKS", 0.02)
    said = tmp_path / "said"
    monkeypatch.setattr("partdistillation.runs.claims.say", lambda text, **_: write_line(said, text))
    inputs = Inputs(out=tmp_path, engine="shared")
    context = multiprocessing.get_context("fork")

    def train(name: str, seconds: float) -> None:
        with by_one(inputs, "model", done=(tmp_path / "done").exists):
            (tmp_path / name).touch()
            time.sleep(seconds)
            (tmp_path / "done").touch()

    stopped = context.Process(target=train, args=("first", 60))
    stopped.start()
    wait_for(tmp_path / "first")
    assert stopped.pid is not None
    os.kill(stopped.pid, signal.SIGSTOP)
    successor = context.Process(target=train, args=("second", 0))
    successor.start()
    wait_for(said)
    assert not (tmp_path / "second").exists()
    os.kill(stopped.pid, signal.SIGCONT)
    for process in (stopped, successor):
        process.join(30)
    assert (stopped.exitcode, successor.exitcode) == (2, 0)
    assert list((tmp_path / "claims").iterdir()) == []
    waits, leaves = said.read_text().splitlines()
    assert waits == "model: another worker at it stands still, and is waited for"
    assert leaves.startswith("partdistill: model: another worker has taken over")


def write_line(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(f"{text}\n")


def wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_tasks_whose_names_begin_alike_are_apart(tmp_path: Path, clock: Clock) -> None:
    mine = claims(tmp_path, clock)
    assert mine.take("a")
    assert mine.take("a.1")
    assert mine.take("a.1.1")
    mine.release("a")
    assert (tmp_path / "claims" / "a.1.1").exists()
    assert claims(tmp_path, clock).take("a")


def test_a_link_whose_first_answer_was_lost_counts(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS: the request is repeated and refused, since it was granted."""
    link = os.link

    def link_twice(old: Path, new: Path) -> None:
        with suppress(FileExistsError):
            link(old, new)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    monkeypatch.setattr("partdistillation.runs.atomic.os.link", link_twice)
    assert claims(tmp_path, clock).take("a")
    assert not claims(tmp_path, clock).take("a")
    assert [path.name for path in (tmp_path / "claims").iterdir()] == ["a.1"]


def test_a_network_disk_has_another_word_for_a_name_that_is_there(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def link_by_sftp(old: Path, new: Path) -> None:
        try:
            link(old, new)
        except FileExistsError:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from None

    monkeypatch.setattr("partdistillation.runs.atomic.os.link", link_by_sftp)
    assert FolderStorage(tmp_path).create("claims/a.1", b"")
    assert not FolderStorage(tmp_path).create("claims/a.1", b"")


def test_a_disk_without_hard_links_is_refused(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("partdistillation.runs.atomic.os.link", link)
    with pytest.raises(StoreError, match="hard links"):
        claims(tmp_path, clock).take("a")
    assert list((tmp_path / "claims").iterdir()) == []
