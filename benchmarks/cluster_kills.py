"""Workers that share a stage, killed at random moments until N are: is any row lost, doubled or another one?

A round is a small stage and two hosts (groups of processes) of three workers, with a wait before each system
call that writes, so that kills hit between any two. Killed are single workers, from the first-comer on, and
whole hosts; some are stopped instead, and wake after their claims were taken. The dead are replaced until the
round's kills are spent, the rest finishes, and the folder is compared with what one process wrote alone. A
shard of which three workers died is named by those who are left; then, as the message says, the claims are
deleted and the same command is started again.

Prints a line every hundred kills, and at the end: kills, stages, rows lost and doubled, files that differ.
Exit code 1 where there are any. Stages are in memory: a kill, unlike a power cut, loses nothing written.

    python benchmarks/cluster_kills.py --kills 2000
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from partdistillation.config import Engine
from partdistillation.errors import PartDistillationError
from partdistillation.runs import atomic, claims, shared_store
from partdistillation.runs.engine import run_shards
from partdistillation.runs.records import Object, ObjectRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.stage_reader import read_rows

SHARDS = [
    Shard(f"s-{number}", tuple(ImageRef(f"{number} {place}") for place in "ab")) for number in range(10)
]
MEMORY = Path("/dev/shm")
HOSTS, WORKERS = 2, 3
KILLS_A_ROUND = 8
NAMED = 3
"""Exit code of a worker that finds nothing left but shards of which three have died."""


def rows(shard: Shard[ImageRef]) -> Iterator[ObjectRow]:
    """They depend on the photograph alone."""
    for item in shard.inputs:
        time.sleep(0.002)
        shape = random.Random(item.image_id)
        thing = Object(0, "car", shape.random(), 9, (0.0, 0.0, 3.0, 3.0), shape.randbytes(40))
        yield ObjectRow(item.image_id, f"{item.image_id}.jpg", 4, 4, "ok", "", (thing,))


def label(out: Path, engine: Engine) -> None:
    """All shards that others don't take."""
    run_shards(
        out, row=ObjectRow, shards=SHARDS, settings={}, make_work=lambda: rows, engine=engine, label="kills"
    )


class SlowOs:
    """`os`, with a wait before all that writes; and a file is written in pieces."""

    def __getattr__(self, name: str) -> object:
        function = getattr(os, name)
        return (
            partial(_later, function) if name in {"open", "fsync", "link", "replace", "unlink"} else function
        )

    def write(self, descriptor: int, data: memoryview) -> int:
        time.sleep(0.001)
        return os.write(descriptor, data[: len(data) // 2 + 1])


def _later(function: Callable[..., object], *args: object, **options: object) -> object:
    time.sleep(0.001)
    return function(*args, **options)


def begun(work: Callable[[], None], group: int = 0) -> int:
    """A new process of a group (0: of its own), silent; its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setpgid(0, group)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            work()
            code = 0
        except PartDistillationError as error:
            code = NAMED if "workers died" in str(error) else 1
        finally:
            os._exit(code)
    with suppress(ProcessLookupError, PermissionError):
        os.setpgid(child, group or child)
    return child


class Round:
    """A stage, its workers and what becomes of them."""

    def __init__(self, out: Path, chance: random.Random) -> None:
        self._out, self._chance = out, chance
        self._group = dict.fromkeys(range(HOSTS), 0)
        self._alive: dict[int, int] = {}
        """Hosts by worker."""
        self._stopped: set[int] = set()
        self.counts: Counter[str] = Counter()

    def go(self, kills: int) -> None:
        """Until so many are killed, or the stage is finished; then until it is."""
        for _ in range(WORKERS):
            for host in range(HOSTS):
                self._begin(host)
        while self.counts["killed"] < kills and not self._reap():
            time.sleep(self._chance.uniform(0, 0.03))
            self._harm()
        for worker in self._stopped:
            os.kill(worker, signal.SIGCONT)
        while not self._reap():
            time.sleep(0.005)
            if not self._alive:
                shutil.rmtree(self._out / claims.FOLDER, ignore_errors=True)
                self.counts["named"] += 1
                self._begin(0)
        while self._alive:  # who finishes after the first
            self._reap()
            time.sleep(0.002)

    def _begin(self, host: int) -> None:
        if self._group[host] not in (os.getpgid(worker) for worker in self._alive):
            self._group[host] = 0
        worker = begun(partial(label, self._out, "shared"), self._group[host])
        self._group[host] = self._group[host] or worker
        self._alive[worker] = host

    def _harm(self) -> None:
        worker = self._chance.choice([*self._alive]) if self._alive else 0
        draw = self._chance.random()
        if draw < 0.1 and worker:
            self._stop_or_wake(worker)
            return
        host = self._alive.get(worker, 0)
        lost = [other for other in self._alive if self._alive[other] == host] if draw < 0.2 else [worker]
        for other in filter(None, lost):
            os.kill(other, signal.SIGKILL)
        self._reap()
        for _ in range(WORKERS - sum(place == host for place in self._alive.values())):
            self._begin(host)

    def _stop_or_wake(self, worker: int) -> None:
        stopped = worker in self._stopped
        os.kill(worker, signal.SIGCONT if stopped else signal.SIGSTOP)
        self._stopped ^= {worker}
        self.counts["stopped"] += not stopped

    def _reap(self) -> bool:
        """Note who has ended; whether somebody has ended well, so that the stage is finished."""
        for worker in [*self._alive]:
            pid, status = os.waitpid(worker, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                del self._alive[worker]
                self._stopped.discard(worker)
                self.counts["finished"] += code == 0
                self.counts["killed"] += code == -signal.SIGKILL
                self.counts["failed"] += code not in {0, -signal.SIGKILL, NAMED}
        return self.counts["finished"] > 0


def contents(folder: Path) -> dict[str, bytes]:
    """All that readers see."""
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return {path.name: path.read_bytes() for path in files}


def compared(out: Path, alone: Path) -> Counter[str]:
    """What became of the rows and files of a finished stage."""
    made, wanted = contents(out), contents(alone)
    times = Counter(row.image_id for row in read_rows(out, ObjectRow))
    names = made.keys() | wanted.keys()
    return Counter(
        lost=sum(times[item.image_id] == 0 for shard in SHARDS for item in shard.inputs),
        doubled=sum(times[image] - 1 for image in times),
        differ=sum(made.get(name) != wanted.get(name) for name in names),
        left=sum(1 for path in out.rglob("*.tmp")),
        claims=sum(1 for path in (out / claims.FOLDER).glob("[!.]*")),
    )


def main() -> None:
    """Kill, compare, count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    claims.Claims.patience, claims.Claims.heartbeat = 0.5, 0.05
    for module in (claims, shared_store):  # both have the name
        setattr(module, "SECONDS_BETWEEN_LOOKS", 0.02)  # noqa: B010
    setattr(atomic, "os", SlowOs())  # noqa: B010  (no attribute of the module, as mypy sees it)
    chance, counts, start = random.Random(args.seed), Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as scratch:
        alone, out = Path(scratch) / "alone", Path(scratch) / "out"
        label(alone, "processes")  # in this process, so that those that are forked needn't import anything
        while counts["killed"] < args.kills:
            before = counts["killed"]
            stage = Round(out, chance)
            stage.go(min(KILLS_A_ROUND, args.kills - before))
            counts += stage.counts + compared(out, alone) + Counter(stages=1)
            shutil.rmtree(out)
            if counts["killed"] // 100 > before // 100:
                print(line(counts, start), flush=True)
    print(line(counts, start))
    sys.exit(any(counts[name] for name in ("lost", "doubled", "differ", "failed")))


def line(counts: Counter[str], start: float) -> str:
    """The counts, in words."""
    return (
        f"{counts['killed']} killed and {counts['stopped']} stopped in {counts['stages']} stages: "
        f"{counts['lost']} rows lost, {counts['doubled']} doubled, {counts['differ']} files that differ, "
        f"{counts['failed']} workers that failed; {counts['named']} times three died of one shard; "
        f"{counts['left']} temporary files and {counts['claims']} claims left; "
        f"{time.monotonic() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
