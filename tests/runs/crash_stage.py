"""A small stage for the crash tests, and a program that kills it at random moments.

As a program: `python crash_stage.py safe|naive KILLS SEED FOLDER` prints how many runs were killed and how
many stages, completed after kills, differ from an uninterrupted one.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from partdistillation.config import Engine
from partdistillation.runs import atomic
from partdistillation.runs.engine import run_shards
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, PartRow
from partdistillation.runs.shards import Shard, make_shards
from partdistillation.runs.store import encode_shard

SETTINGS: dict[str, Any] = {"max_objects": 10, "crf": {"gt_prob": 0.7}}


@dataclass(frozen=True)
class Item:
    image_id: str
    number: int


def make_items(count: int) -> list[Item]:
    return [Item(f"image-{number}", number) for number in range(count)]


def label(item: Item) -> ObjectRow:
    """A row that depends on the item alone; every seventh is rejected."""
    name = f"{item.image_id}.jpg"
    if item.number % 7 == 6:
        return ObjectRow(item.image_id, name, 0, 0, "rejected", "no image", ())
    shapes = random.Random(item.number)
    objects = tuple(
        Object(place, "car", shapes.random(), place, (0.0, 1.5, 2.0, 3.0), shapes.randbytes(40))
        for place in range(item.number % 3 + 1)
    )
    return ObjectRow(item.image_id, name, 64, 48, "ok", "", objects)


def work(shard: Shard[Item]) -> Iterator[ObjectRow]:
    return (label(item) for item in shard.inputs)


def slow_work(shard: Shard[Item]) -> Iterator[ObjectRow]:
    for item in shard.inputs:
        time.sleep(0.001)
        yield label(item)


def make_work() -> Callable[[Shard[Item]], Iterator[ObjectRow]]:
    return work


def make_slow_work() -> Callable[[Shard[Item]], Iterator[ObjectRow]]:
    return slow_work


def make_dying_work() -> Callable[[Shard[Item]], Iterator[ObjectRow]]:
    return dying_work


def dying_work(shard: Shard[Item]) -> Iterator[ObjectRow]:
    if shard.name == "images-00002":
        os.kill(os.getpid(), signal.SIGKILL)
    return work(shard)


def make_failing_work() -> Callable[[Shard[Item]], Iterator[ObjectRow]]:
    return failing_work


def failing_work(shard: Shard[Item]) -> Iterator[ObjectRow]:
    if shard.name == "images-00002":
        raise ZeroDivisionError("oh")
    return work(shard)


def part_row(row: ObjectRow) -> PartRow:
    """Objects without parts; nobody asks about an image that can't be used."""
    assert row.status == "ok"
    return row.to(PartRow, (ObjectParts(known.object_id, known.category, ()) for known in row.objects))


def make_part_row(loads: str) -> Callable[[ObjectRow], PartRow]:
    """Leaves a file for each time that it is called."""
    with tempfile.NamedTemporaryFile(dir=loads, delete=False):
        return part_row


def run_on_processes(out: str) -> None:
    """Two workers, each of which writes its process id beside `out` and then takes very long."""
    shards = make_shards(make_items(8), size=2)
    make = partial(_sleepy_work, str(Path(out).parent))
    run_shards(
        Path(out), row=ObjectRow, shards=shards, settings=SETTINGS, make_work=make, workers=2, label="sleepy"
    )


def run_with(out: Path, make_work: Any = make_work, engine: Engine = "ray") -> Path:
    """Two workers of an engine, by default actors; four shards."""
    shards = make_shards(make_items(8), size=2)
    return run_shards(
        out, row=ObjectRow, shards=shards, settings=SETTINGS, make_work=make_work,
        workers=2, engine=engine, label="objects",
    )  # fmt: skip


def _sleepy_work(folder: str) -> Callable[[Shard[Item]], Iterator[ObjectRow]]:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(3)
    return slow_work


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class _SlowOs:
    """`os` with a `write` that takes its time, piece by piece, so that kills hit the middle of a file."""

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def write(self, descriptor: int, data: memoryview) -> int:
        time.sleep(0.001)
        return os.write(descriptor, data[: len(data) // 2 + 1])


def _safe_run(out: Path) -> None:
    setattr(atomic, "os", _SlowOs())  # noqa: B010  (no attribute of the module, as mypy sees it)
    shards = make_shards(make_items(15), size=3)
    run_shards(out, row=ObjectRow, shards=shards, settings=SETTINGS, make_work=make_slow_work, label="crash")


def _naive_run(out: Path) -> None:
    """How not to do it: say that a shard is there, then write it in place."""
    out.mkdir(exist_ok=True)
    manifest = out / "manifest.json"
    done = json.loads(manifest.read_text()) if manifest.exists() else []
    for shard in make_shards(make_items(15), size=3):
        if shard.name in done:
            continue
        done.append(shard.name)
        manifest.write_text(json.dumps(done))
        data = encode_shard(shard, slow_work(shard), ObjectRow)
        with (out / f"{shard.name}.parquet").open("wb") as file:
            for start in range(0, len(data), 400):
                file.write(data[start : start + 400])
                file.flush()
                time.sleep(0.001)


def _run_for(seconds: float | None, run: Callable[[Path], None], out: Path) -> int:
    """Run in a process of its own, killed after `seconds` if it isn't done by then. Returns its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(out)
            code = 0
        finally:
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _kill_and_compare(run: Callable[[Path], None], kills: int, moments: random.Random, folder: Path) -> None:
    start = time.monotonic()
    _run_for(None, run, folder / "reference")
    longest = time.monotonic() - start
    killed = differ = stages = 0
    while killed < kills:
        out = folder / f"stage-{stages}"
        stages += 1
        while killed < kills and _run_for(moments.uniform(0, longest), run, out) == -signal.SIGKILL:
            killed += 1
        finished = _run_for(None, run, out) == 0
        differ += not finished or contents(out) != contents(folder / "reference")
    print(json.dumps({"killed": killed, "stages": stages, "differ": differ}))


if __name__ == "__main__":
    kind, kills, seed, folder = sys.argv[1:]
    runs = {"safe": _safe_run, "naive": _naive_run}
    _kill_and_compare(runs[kind], int(kills), random.Random(int(seed)), Path(folder))
