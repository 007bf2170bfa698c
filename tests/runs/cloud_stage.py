"""A small stage as a program, which is one of several workers: `python cloud_stage.py URL`."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from partdistillation.runs import claims, shared_store
from partdistillation.runs.engine import run_shards
from partdistillation.runs.mirror import open_mirror
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.stage_reader import read_rows
from partdistillation.settings import is_url

SHARDS = [Shard(f"s-{number:02d}", (ImageRef(f"{number}"),)) for number in range(24)]


def rows(shard: Shard[ImageRef]) -> list[ObjectRow]:
    time.sleep(0.05)
    return [ObjectRow(item.image_id, f"{item.image_id}.png", 4, 4, "ok", "", ()) for item in shard.inputs]


def make_work() -> Callable[[Shard[ImageRef]], list[ObjectRow]]:
    return rows


def run(place: str) -> int:
    """Label all, or what others leave, into `place/objects`; the number of rows that are read back."""
    out = open_mirror(place) if is_url(place) else Path(place)
    run_shards(
        out / "objects", row=ObjectRow, shards=SHARDS, settings={}, make_work=make_work, label="objects"
    )
    return sum(1 for _ in read_rows(out / "objects", ObjectRow))


if __name__ == "__main__":
    claims.Claims.patience, claims.Claims.heartbeat = 4.0, 0.5
    vars(claims)["SECONDS_BETWEEN_LOOKS"] = vars(shared_store)["SECONDS_BETWEEN_LOOKS"] = 0.2
    print(run(sys.argv[1]))
