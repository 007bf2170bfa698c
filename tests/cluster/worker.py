"""Labels a small stage, or trains: `python worker.py OUT ENGINE`; its options are in `main`.

Rows depend on the photograph alone, not on who makes them. Others' claims are taken over after a second.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from partdistillation.config import Inputs
from partdistillation.errors import PartDistillationError
from partdistillation.runs import claims, shared_store
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.engine import run_shards
from partdistillation.runs.mirror import open_mirror
from partdistillation.runs.records import Object, ObjectRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.settings import is_url


def label(seconds: float, shard: Shard[ImageRef]) -> Iterator[ObjectRow]:
    """A row an image, with an object."""
    for item in shard.inputs:
        time.sleep(seconds / len(shard.inputs))
        shape = random.Random(item.image_id)
        thing = Object(0, "car", shape.random(), 9, (0.0, 0.0, 3.0, 3.0), shape.randbytes(40))
        yield ObjectRow(item.image_id, f"{item.image_id}.jpg", 4, 4, "ok", "", (thing,))


def make(seconds: float) -> partial[Iterator[ObjectRow]]:
    """What a process calls once."""
    return partial(label, seconds)


def shards(count: int) -> list[Shard[ImageRef]]:
    """Of two photographs each."""
    return [
        Shard(f"images-{number:05d}", (ImageRef(f"{number} a"), ImageRef(f"{number} b")))
        for number in range(count)
    ]


def train(out: Path) -> None:
    """Forty steps, each of which goes on from the file of the one before, by one worker at a time."""
    model, steps = out / "model", out / "steps"
    with claims.by_one(Inputs(out=out, engine="shared"), "training", done=model.exists):
        if not model.exists():
            for step in range(int(steps.read_text()) if steps.exists() else 0, 40):
                time.sleep(0.1)
                replace_file(steps, str(step + 1).encode())
            replace_file(model, steps.read_bytes())


def be_quick() -> None:
    """Signs of life, and the wait for them, in fractions of what they are."""
    claims.Claims.patience, claims.Claims.heartbeat = 1.0, 0.1
    for module in (claims, shared_store):  # both have the name
        setattr(module, "SECONDS_BETWEEN_LOOKS", 0.05)  # noqa: B010


def main() -> None:
    """Label; an error of the user's is one line and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="a folder; or the URL of one in a bucket")
    parser.add_argument("engine", choices=["processes", "ray", "shared"])
    parser.add_argument("--shards", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=0.25, help="a shard")
    parser.add_argument("--setting", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--training", action="store_true", help="instead of the stage")
    args = parser.parse_args()
    be_quick()
    try:
        out = open_mirror(args.out) if is_url(args.out) else Path(args.out)
        if args.training:
            train(out)
            return
        run_shards(
            out,
            row=ObjectRow,
            shards=shards(args.shards),
            settings={"setting": args.setting},
            make_work=partial(make, args.seconds),
            workers=args.workers,
            engine=args.engine,
            label="objects",
        )
    except PartDistillationError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
