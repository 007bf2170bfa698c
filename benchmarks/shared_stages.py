"""What dividing a stage costs: empty shards, by one process alone, by several that share the folder, by Ray.

Prints seconds and milliseconds a shard; the folders' contents are compared. Ray is there before its time
begins; its actors aren't.

    python benchmarks/shared_stages.py --shards 10000
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

from partdistillation.config import Engine, RayCluster
from partdistillation.runs.engine import run_shards
from partdistillation.runs.ray_cluster import connect
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.stage_reader import stage_hash


def rows(shard: Shard[ImageRef]) -> list[ObjectRow]:
    """A row an image, without objects."""
    return [ObjectRow(item.image_id, f"{item.image_id}.png", 4, 4, "ok", "", ()) for item in shard.inputs]


def label(out: Path, count: int, engine: Engine, workers: int = 0) -> None:
    """All shards, by this process, or by actors of its own Ray."""
    shards = [Shard(f"s-{number:06d}", (ImageRef(str(number)),)) for number in range(count)]
    run_shards(
        out,
        row=ObjectRow,
        shards=shards,
        settings={},
        make_work=lambda: rows,
        workers=workers,
        engine=engine,
        label="objects",
    )


def measured(out: Path, count: int, engine: Engine, workers: int) -> float:
    """Seconds, with so many processes, or actors, at it."""
    if engine == "ray":
        connect(RayCluster(), workers)
        start = time.perf_counter()
        label(out, count, engine, workers)
        return time.perf_counter() - start
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=label, args=(out, count, engine)) for _ in range(workers)]
    start = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert all(process.exitcode == 0 for process in processes)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, default=10_000)
    count = parser.parse_args().shards
    ways: list[tuple[str, Engine, int]] = [
        ("alone", "processes", 1),
        *((f"{workers} sharing", "shared", workers) for workers in (1, 2, 4)),
        *((f"{workers} of Ray", "ray", workers) for workers in (1, 2)),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        hashes = set()
        for name, engine, workers in ways:
            out = Path(scratch) / name
            seconds = measured(out, count, engine, workers)
            hashes.add(stage_hash(out))
            print(f"{name:<12}{seconds:8.1f} s{1000 * seconds / count:8.2f} ms a shard", flush=True)
        assert len(hashes) == 1, "expected the same rows from each"


if __name__ == "__main__":
    main()
