"""Cost of a bucket's listing in a run's folder: `python benchmarks/listing.py --photographs 1000000`.

Names are as ImageNet-21K's, in archives of a class each; how long the bucket takes to tell them isn't in it.
"""

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from partdistillation.runs.listings import Entry, Listing
from partdistillation.runs.remote import write_listing

_CLASSES, _LOOKED_UP = 21_000, 2_000


def entries(count: int) -> Iterator[Entry]:
    """Rows of photographs in archives."""
    for number in range(count):
        folder = f"n{number % _CLASSES:08d}"
        name = f"{folder}/{folder}_{number}.JPEG"
        yield Entry(name, f"{folder}.tar", number * 512, 110_000, 1_796_045_366 * 10**9, f'"{number:032x}"')


def main() -> None:
    """Print what it costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=int, default=1_000_000)
    count = parser.parse_args().photographs
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photographs.arrow")
        start = time.perf_counter()
        write_listing(path, "s3://bucket/photographs", entries(count))
        seconds = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(
            f"written: {seconds / count * 1e6:.1f} us a photograph, {path.stat().st_size / count:.0f} bytes"
        )
        print(f"memory: {memory} MB at most")
        listing = Listing(path)
        names = random.Random(0).choices([entry.name for entry in listing], k=_LOOKED_UP)
        start = time.perf_counter()
        assert all(map(listing.find, names))
        print(f"looked up: {(time.perf_counter() - start) / _LOOKED_UP * 1e6:.0f} us a photograph")
        start = time.perf_counter()
        assert sum(1 for _ in listing) == count
        print(f"gone through: {(time.perf_counter() - start) / count * 1e6:.1f} us a photograph")


if __name__ == "__main__":
    main()
