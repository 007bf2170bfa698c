"""Who gets a task, and when it is taken over: by a clock that tests turn."""

import errno
import threading
from pathlib import Path

import pytest

from partdistillation.errors import StoreError
from partdistillation.runs.claims import MAX_DEATHS, Claims
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


def test_tasks_whose_names_begin_alike_are_apart(tmp_path: Path, clock: Clock) -> None:
    mine = claims(tmp_path, clock)
    assert mine.take("a")
    assert mine.take("a.1")
    assert mine.take("a.1.1")
    mine.release("a")
    assert (tmp_path / "claims" / "a.1.1").exists()
    assert claims(tmp_path, clock).take("a")


def test_a_disk_without_hard_links_is_refused(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("partdistillation.runs.atomic.os.link", link)
    with pytest.raises(StoreError, match="hard links"):
        claims(tmp_path, clock).take("a")
    assert list((tmp_path / "claims").iterdir()) == []
