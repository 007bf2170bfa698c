"""Who works at a shared run, by a clock that tests turn."""

from pathlib import Path

from partdistillation.runs.claims import Claims
from partdistillation.runs.storage import FolderStorage
from partdistillation.status.run_files import RunFiles
from partdistillation.status.workers import Deadly, Watch


class Clock:
    def __init__(self) -> None:
        self.now = 1e9  # whatever the time is elsewhere

    def __call__(self) -> float:
        return self.now


def claim(run: Path, key: str, worker: str, beats: int) -> None:
    path = run / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{worker}\n{beats}\n")


def test_a_worker_is_alive_that_was_seen_to_write(tmp_path: Path) -> None:
    clock = Clock()
    claim(tmp_path, "segments/claims/car-00000.1", "a, process 1", 3)
    claim(tmp_path, "segments/claims/car-00001.1", "b, process 1", 3)
    claim(tmp_path, "claims/proposals.1", "a, process 1", 4)
    watch = Watch(RunFiles(tmp_path), clock)
    watch.look()
    assert not watch.is_enough
    assert [worker.sign for worker in watch.workers()] == [None, None]
    clock.now += 8
    claim(tmp_path, "claims/proposals.1", "a, process 1", 5)
    watch.look()
    clock.now += 2
    alive, silent = watch.workers()
    assert (alive.name, alive.tasks, alive.sign) == (
        "a, process 1",
        ("proposals", "segments, shard car-00000"),
        2.0,
    )
    assert (silent.name, silent.sign) == ("b, process 1", None)
    assert not watch.is_enough


def test_the_claims_are_those_of_the_workers(tmp_path: Path) -> None:
    clock = Clock()
    with Claims(FolderStorage(tmp_path / "parts")) as claims:
        claims.heartbeat = 0.01
        assert claims.take("car-00000")
        watch = Watch(RunFiles(tmp_path), clock)
        watch.look()
        (worker,) = watch.workers()
        assert worker.name == claims.worker
        assert worker.tasks == ("parts, shard car-00000",)
    watch.look()
    assert watch.workers() == []
    assert watch.is_enough


def test_tasks_that_workers_died_at(tmp_path: Path) -> None:
    clock = Clock()
    for number in (1, 2, 3):
        claim(tmp_path, f"segments/claims/car-00000.{number}", f"w{number}", 1)
    claim(tmp_path, "segments/claims/car-00001.2", "w9", 1)
    watch = Watch(RunFiles(tmp_path), clock)
    watch.look()
    assert watch.deadly() == [
        Deadly("segments, shard car-00000", 2, left=False),
        Deadly("segments, shard car-00001", 1, left=False),
    ]
    clock.now += 61
    claim(tmp_path, "segments/claims/car-00001.2", "w9", 2)
    watch.look()
    assert watch.deadly() == [
        Deadly("segments, shard car-00000", 3, left=True),
        Deadly("segments, shard car-00001", 1, left=False),
    ]


def test_other_files_among_claims_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes.txt", "car.x", "car"):
        claim(tmp_path, f"claims/{name}", "w", 1)
    watch = Watch(RunFiles(tmp_path))
    watch.look()
    assert watch.workers() == []
