"""More like this: how long it takes among a million parts, on one core.

    python benchmarks/similar_parts.py WORK [--parts 1000000] [--dim 256] [--classes 20]

Writes a run of generated parts into the folder WORK, and searches it in processes of one core each: with the
index dropped from the system's cache, then with it there. How good the answers are: `similar_quality.py`.
"""

import argparse
import multiprocessing
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from timing import compare, machine

from partdistillation.functional.masks import encode
from partdistillation.kernels.half_products import cosines
from partdistillation.runs.engine import run_shards
from partdistillation.runs.manifest import Json
from partdistillation.runs.records import (
    ObjectParts,
    ObjectProposals,
    Part,
    PartRow,
    Proposal,
    ProposalRow,
)
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.stage_reader import StageReader
from partdistillation.studio.similar import PartKey, SimilarParts

SEARCHES = 15
BLOCK = 4096
"""Rows that libraries convert at once."""
SIDE = 128
IMAGES, PARTS = 256, 8
"""Of a shard, and of an image."""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--parts", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--classes", type=int, default=20)
    measure(parser.parse_args())


class Seconds(NamedTuple):
    """What a step takes; on a busy machine the first is more than the second."""

    wall: float
    core: float

    @classmethod
    def now(cls) -> "Seconds":
        return cls(time.perf_counter(), time.process_time())

    def __sub__(self, before: "Seconds") -> "Seconds":
        return Seconds(self.wall - before.wall, self.core - before.core)

    def __str__(self) -> str:
        return f"{self.wall:.3f} s ({self.core:.3f} s of the core)"


class Cost(NamedTuple):
    """Of something done in a process of its own."""

    seconds: Mapping[str, Seconds]
    peak: float
    """MiB resident at most, with what is mapped."""
    own: float
    """MiB at the end, without what is mapped, which the system may take back."""


def measure(arguments: argparse.Namespace) -> None:
    """Generate a run where there is none, and print a line a measurement."""
    out = arguments.work
    count = _generate(out, arguments.parts, arguments.dim, arguments.classes)
    shutil.rmtree(out / "studio", ignore_errors=True)
    print(f"{machine()}; load {os.getloadavg()[0]:.1f}")
    print(f"{count:,} parts of {arguments.classes} object classes, {arguments.dim} numbers each")
    for name, cold, work in (
        ("nothing but imports", False, _nothing),
        ("the index is made", False, _search_once),
        ("cold", True, _search_once),
        ("warm", False, _search_once),
        (f"warm, again, median of {SEARCHES}", False, _search_often),
        ("products alone", False, _products),
    ):
        if cold:
            _forget(out / "studio/parts")
        cost = _alone(work, out)
        seconds = ", ".join(f"{step} {value}" for step, value in cost.seconds.items())
        print(f"{name}: {seconds or '-'}; {cost.peak:.0f} MiB at most, {cost.own:.0f} of its own at the end")


def _nothing(_: Path) -> dict[str, Seconds]:
    return {}


def _search_once(out: Path) -> dict[str, Seconds]:
    start = Seconds.now()
    similar = SimilarParts.open(out)
    opened = Seconds.now()
    similar.of(PartKey("7", 0, 3), same_class=False)
    return {"open": opened - start, "first search of all classes": Seconds.now() - opened}


def _search_often(out: Path) -> dict[str, Seconds]:
    similar, random = SimilarParts.open(out), np.random.default_rng(0)
    images = random.integers(0, len(StageReader(out / "parts", PartRow)), SEARCHES + 1).astype(str)
    searches: dict[str, Callable[[str], object]] = {
        "same class": lambda image: similar.of(PartKey(image, 0, 3)),
        "all classes": lambda image: similar.of(PartKey(image, 0, 3), same_class=False),
        "typical": lambda _: similar.most_typical("class 000", 0),
    }
    taken: dict[str, list[Seconds]] = {name: [] for name in searches}
    for image in images:
        for name, search in searches.items():
            start = Seconds.now()
            search(image)
            taken[name].append(Seconds.now() - start)
    return {
        name: Seconds(*map(statistics.median, zip(*values[1:], strict=True)))
        for name, values in taken.items()
    }


def _products(out: Path) -> dict[str, Seconds]:
    """What a search is made of, by the kernel and by libraries."""
    features = np.load(out / "studio/parts/features.npy", mmap_mode="c")
    tensor, vector = torch.from_numpy(features), features[7].astype(np.float32)
    similarities, half = np.empty(len(features), np.float32), torch.from_numpy(features[7])
    converted = np.empty((BLOCK, features.shape[1]), np.float32)
    blocks = [slice(start, start + BLOCK) for start in range(0, len(features), BLOCK)]

    def by_torch() -> None:
        for block in blocks:
            similarities[block] = torch.mv(tensor[block].float(), torch.from_numpy(vector)).numpy()

    def by_numpy() -> None:
        for block in blocks:
            rows = features[block]
            converted[: len(rows)] = rows
            similarities[block] = converted[: len(rows)] @ vector

    torch.set_num_threads(1)
    sides = {
        "kernel": lambda: cosines(features.view(np.int16), vector, similarities),
        "PyTorch in float32": by_torch,
        "numpy in float32": by_numpy,
        "PyTorch in float16, rounded": lambda: torch.mv(tensor, half),
    }
    return {name: Seconds(*timing) for name, timing in compare(sides).items()}


def _alone(work: Callable[[Path], dict[str, Seconds]], out: Path) -> Cost:
    with multiprocessing.get_context("spawn").Pool(1, _take_one_core) as pool:
        return pool.apply(_costed, (work, out))


def _take_one_core() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _costed(work: Callable[[Path], dict[str, Seconds]], out: Path) -> Cost:
    seconds = work(out)
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    peak, own = (int(status[name].split()[0]) / 2**10 for name in ("VmHWM", "RssAnon"))
    return Cost(seconds, peak, own)


def _forget(folder: Path) -> None:
    """Drop files from the system's cache."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _generate(out: Path, count: int, dim: int, classes: int) -> int:
    """Write features that lie around a direction for each part class; how many parts there are."""
    random = np.random.default_rng(0)
    centers = random.normal(size=(classes, PARTS, dim))
    masks = [_blob(random) for _ in range(1_000)]
    shards = [
        Shard(f"{shard:05d}", tuple(ImageRef(str(shard * IMAGES + image)) for image in range(IMAGES)))
        for shard in range(-(-count // (IMAGES * PARTS)))
    ]
    settings: dict[str, Json] = {"dim": dim, "classes": classes}
    run_shards(
        out / "features",
        row=ProposalRow,
        shards=shards,
        settings=settings,
        make_work=lambda: lambda shard: [row for row, _ in _rows(shard, centers, masks)],
        label="generated features",
    )
    run_shards(
        out / "parts",
        row=PartRow,
        shards=shards,
        settings=settings,
        make_work=lambda: lambda shard: [row for _, row in _rows(shard, centers, masks)],
        label="generated parts",
    )
    return len(shards) * IMAGES * PARTS


def _rows(
    shard: Shard[ImageRef], centers: NDArray[np.float64], masks: Sequence[bytes]
) -> Iterator[tuple[ProposalRow, PartRow]]:
    """A shard of an object class, an object an image."""
    random, number = np.random.default_rng(int(shard.name)), int(shard.name) % len(centers)
    category = f"class {number:03d}"
    noise = random.normal(size=(IMAGES, *centers.shape[1:]))
    features = (centers[number] + noise).astype(np.float16)
    for image, vectors in zip(shard.inputs, features, strict=True):
        name, file_name = image.image_id, f"{image.image_id}.jpg"
        rles = [masks[place] for place in random.integers(0, len(masks), PARTS)]
        parts = tuple(Part(part, 0.9, 0.9, 100, rle) for part, rle in enumerate(rles))
        pairs = zip(rles, vectors, strict=True)
        proposals = tuple(Proposal(0, 0.9, 0.1, 100, rle, vector) for rle, vector in pairs)
        yield (
            ProposalRow(name, file_name, SIDE, SIDE, "ok", "", (ObjectProposals(0, category, proposals),)),
            PartRow(name, file_name, SIDE, SIDE, "ok", "", (ObjectParts(0, category, parts),)),
        )


def _blob(random: np.random.Generator) -> bytes:
    """An ellipse."""
    y, x = np.mgrid[:SIDE, :SIDE]
    (cy, cx), (ry, rx) = random.uniform(30, 98, 2), random.uniform(4, 25, 2)
    return encode(((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1)


if __name__ == "__main__":
    main()
