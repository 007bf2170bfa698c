"""Stage 4 from its features on, by object classes and proposals, and what it comes to at the paper's scale.

    python benchmarks/ranking_scale.py [--classes 20] [--proposals 2857] [--width 256] [--workers 1]

Generated features around eight centres a class, four proposals an image, images in random order, so that
every shard has every class. 2,857 proposals are what one of 21,000 classes has of 60 million. A proposal
takes about 1.2 KB of disk (at width 256; its feature, and while they are clustered a second time): the
defaults 70 MB and a minute, 100 classes of 100,000 proposals 12 GB and hours.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from timing import machine, peak_memory

from partdistillation.config import Inputs, RankingConfig
from partdistillation.functional.masks import encode
from partdistillation.runs.engine import run_shards
from partdistillation.runs.records import ObjectProposals, Proposal, ProposalRow
from partdistillation.runs.shards import ImageRef, Shard, make_shards
from partdistillation.stages import candidates, ranking

CLASSES, PROPOSALS = 21_000, 60_000_000
"""ImageNet-21K's, as the paper has them."""
AN_IMAGE = 4
CENTRES = 8
SIZE = 16


class Size(NamedTuple):
    """Of what is generated."""

    classes: int
    proposals: int
    """Of each class."""
    width: int

    @property
    def total(self) -> int:
        return self.classes * self.proposals


def main() -> None:
    """Print the table."""
    arguments = _parse()
    size = Size(arguments.classes, arguments.proposals, arguments.width)
    print(machine(), "\n")
    print(
        f"{size.classes:,} classes x {size.proposals:,} proposals of {size.width} numbers: about "
        f"{size.total * (4 * size.width + 180) / 1e9:.1f} GB on disk\n",
        flush=True,
    )
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        out = Path(name)
        write_features(out, size)
        print("| step | CPU s | ms a proposal | peak memory, MiB | at 60 million, CPU hours |")
        print("|---|---|---|---|---|")
        for step in (find, label):
            memory = peak_memory(prepared, step, out, arguments.workers)
            wall, cpu = map(float, (out / "seconds").read_text().split())
            seconds = cpu if arguments.workers == 1 else wall * arguments.workers
            each = seconds / size.total
            print(
                f"| {step.__doc__} | {seconds:.1f} | {1000 * each:.3f} | {memory:.0f} | "
                f"{each * PROPOSALS / 3600:.1f} |",
                flush=True,
            )
    print(
        f"\nProjected to {CLASSES:,} classes: the same rate a proposal, which holds where classes are about "
        f"as large ({PROPOSALS // CLASSES:,}). Features {PROPOSALS * 2 * size.width / 1e9:.0f} GB, once more "
        f"while they are clustered; centroids {CLASSES * CENTRES * 4 * size.width / 1e6:.0f} MB. Peaks are "
        "of the process that commands, without its workers."
    )


def find(inputs: Inputs) -> None:
    """part classes"""
    ranking.find_part_classes(inputs, RankingConfig())


def label(inputs: Inputs) -> None:
    """parts"""
    ranking.label(inputs, RankingConfig())


def prepared(step: Callable[[Inputs], None], out: Path, workers: int) -> Callable[[], object]:
    """A step's call, which leaves its seconds in a file."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:  # all is loaded before the memory is looked at
        write_features(Path(name), Size(1, 8, 4))
        find(Inputs(out=Path(name)))
        label(Inputs(out=Path(name)))

    def call() -> None:
        begun, cpu = time.perf_counter(), time.process_time()
        step(Inputs(out=out, workers=workers))
        (out / "seconds").write_text(f"{time.perf_counter() - begun} {time.process_time() - cpu}")

    return call


def write_features(out: Path, size: Size) -> None:
    """`out/features`."""
    rle = encode(np.ones((SIZE, SIZE), np.bool_))
    centres = np.random.default_rng(0).normal(size=(size.classes, CENTRES, size.width)).astype(np.float32)
    images = np.random.default_rng(1).permutation(size.total // AN_IMAGE) % size.classes

    def rows(shard: Shard[ImageRef]) -> Iterator[ProposalRow]:
        for image in shard.inputs:
            number = int(image.image_id)
            own, noise = centres[images[number]], np.random.default_rng(number)
            some = own[noise.integers(CENTRES, size=AN_IMAGE)]
            some = some + noise.normal(size=some.shape)
            some = (some / np.linalg.norm(some, axis=1, keepdims=True)).astype(np.float16)
            found = tuple(
                Proposal(query, 0.9, 0.5, SIZE * SIZE, rle, feature) for query, feature in enumerate(some)
            )
            objects = (ObjectProposals(0, f"class {images[number]:05d}", found),)
            yield ProposalRow(image.image_id, f"{number}.png", SIZE, SIZE, "ok", "", objects)

    run_shards(
        out / candidates.FEATURES,
        row=ProposalRow,
        shards=make_shards([ImageRef(str(number)) for number in range(len(images))]),
        settings={},
        make_work=lambda: rows,
        label="features",
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--proposals", type=int, default=PROPOSALS // CLASSES, help="of each class")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where there is room; by default the temporary folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
