"""What a stage in a bucket costs: empty shards, by workers on machines (mirrors) of their own.

Prints seconds and milliseconds a shard; the rows are compared with those of a run on a disk. Without --url
the bucket is one of moto's S3 server in this process: then the figures are moto's and not a store's.

    python benchmarks/bucket_stages.py --shards 500
    python benchmarks/bucket_stages.py --shards 10000 --url s3://bucket/benchmark
"""

import argparse
import logging
import multiprocessing
import os
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from partdistillation.runs.engine import run_shards
from partdistillation.runs.mirror import open_mirror
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.stage_reader import stage_hash
from partdistillation.settings import is_url

WORKERS = (1, 2, 4)


def rows(shard: Shard[ImageRef]) -> list[ObjectRow]:
    """A row an image, without objects."""
    return [ObjectRow(item.image_id, f"{item.image_id}.png", 4, 4, "ok", "", ()) for item in shard.inputs]


def make_work() -> Callable[[Shard[ImageRef]], list[ObjectRow]]:
    """What labels."""
    return rows


def label(place: str, cache: str, count: int) -> str:
    """All shards, or what others leave, into a path or URL; a hash of the rows."""
    os.environ["XDG_CACHE_HOME"] = cache
    out = open_mirror(place) if is_url(place) else Path(place)
    shards = [Shard(f"s-{number:06d}", (ImageRef(str(number)),)) for number in range(count)]
    stage = out / "objects"
    run_shards(stage, row=ObjectRow, shards=shards, settings={}, make_work=make_work, label="objects")
    return stage_hash(stage)


@contextmanager
def stand_in() -> Iterator[str]:
    """The URL of a bucket of moto's server; the environment says where it is."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_REGION": "us-east-1",
    }
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/bucket", method="PUT")).close()
    yield "s3://bucket"
    server.stop()


def measure(url: str, count: int) -> None:
    """Print the table."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        wanted = label(f"{scratch}/alone", f"{scratch}/cache", count)
        for workers in WORKERS:
            place = f"{url}/{uuid4().hex}"
            tasks = [(place, f"{scratch}/{place[-8:]}-{number}", count) for number in range(workers)]
            with context.Pool(workers) as pool:
                pool.map(abs, range(workers), chunksize=1)  # begun
                start = time.perf_counter()
                hashes = pool.starmap(label, tasks, chunksize=1)
                seconds = time.perf_counter() - start
            assert set(hashes) == {wanted}, "expected the same rows from each"
            each = 1000 * seconds / count
            print(f"{workers} in a bucket{seconds:8.1f} s{each:8.2f} ms a shard", flush=True)


def main() -> None:
    """Measure a store's URL, or the stand-in."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, default=500)
    parser.add_argument("--url")
    arguments = parser.parse_args()
    if arguments.url:
        measure(arguments.url, arguments.shards)
    else:
        with stand_in() as url:
            measure(url, arguments.shards)


if __name__ == "__main__":
    main()
