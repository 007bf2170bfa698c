"""What more objects cost: time, memory and disk of the segments and ranking stages, on generated data.

    python benchmarks/growth.py [--most 10000]

Five objects an image, 100 an object class, four proposals an object. The stages are the real ones with their
stores; in the encoder's place stand colour and position, and stage 4 starts from generated features. At 1,000
objects, 10,000 and so on to `--most`; 100,000 take a quarter of an hour. Also what segments take on disk for
drawings of 640 pixels, and how long the command takes to start.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import machine, peak_memory

from partdistillation.config import CrfConfig, Inputs, RankingConfig, Recipe, SegmentsConfig
from partdistillation.functional.masks import encode
from partdistillation.part_shapes import PartShapes
from partdistillation.runs.engine import run_shards
from partdistillation.runs.records import Object, ObjectProposals, ObjectRow, Proposal, ProposalRow, R
from partdistillation.runs.shards import ImageRef, Shard, make_shards
from partdistillation.stages import candidates, objects, ranking, segments

SIZE = 64
PHOTOS = 256
AN_IMAGE, A_CLASS, PROPOSALS = 5, 100, 4
CHANNELS = 256

RECIPE = replace(
    Recipe(),
    segments=SegmentsConfig(features="rgb_xy", image_size=SIZE, restarts=1, crf=CrfConfig(enabled=False)),
    ranking=RankingConfig(),
)


def main() -> None:
    """Print the tables."""
    arguments = _parse()
    print(machine(), "\n")
    _print_start_up()
    print("\n| stage | objects | CPU s | ms an object | peak memory, MiB | bytes an object |")
    print("|---|---|---|---|---|---|")
    counts = [10**power for power in range(3, 9) if 10**power <= arguments.most]
    for stage, write, folders in (
        (segment, write_objects, [segments.FOLDER]),
        (rank, write_features, [candidates.FEATURES, ranking.PART_CLASSES, ranking.PARTS]),
    ):
        for count in counts:
            with tempfile.TemporaryDirectory() as name:
                out = Path(name)
                write(out, count)
                memory = peak_memory(prepared, stage, out)
                seconds = float((out / "seconds").read_text())
                size = sum(_size(out / folder) for folder in folders)
                print(
                    f"| {stage.__name__} | {count:,} | {seconds:.1f} | {1000 * seconds / count:.2f} | "
                    f"{memory:.0f} | {size / count:.0f} |",
                    flush=True,
                )
    _print_disk()


def segment(out: Path) -> None:
    """Stage 2."""
    segments.run(Inputs(out=out, images=out / "photos"), RECIPE)


def rank(out: Path) -> None:
    """Stage 4 from its features on."""
    ranking.find_part_classes(Inputs(out=out), RECIPE.ranking)
    ranking.label(Inputs(out=out), RECIPE.ranking)


def prepared(stage: Callable[[Path], None], out: Path) -> Callable[[], object]:
    """A stage's call in a process of its own, which leaves its CPU seconds in a file."""
    torch.set_num_threads(1)

    def call() -> None:
        begun = time.process_time()
        stage(out)
        (out / "seconds").write_text(str(time.process_time() - begun))

    with tempfile.TemporaryDirectory() as name:  # all is loaded before the memory is looked at
        small = Path(name)
        write_objects(small, 10)
        write_features(small, 10)
        stage(small)
    return call


def write_objects(out: Path, count: int, size: int = SIZE, photos: int = PHOTOS) -> None:
    """Stage 1's rows, and the photographs that they share: one object of each, and its mask moved aside."""
    folder = out / "photos"
    folder.mkdir(parents=True)
    drawings = PartShapes(seed=0, size=size)
    drawn = []
    for index in range(photos):
        scene = drawings[index]
        Image.fromarray(scene.image).save(folder / f"{index}.png")
        moved = (np.roll(scene.objects[0].mask, step * size // 16, axis=1) for step in range(AN_IMAGE))
        drawn.append([_object(index, mask) for index, mask in enumerate(moved)])

    def rows(shard: Shard[ImageRef]) -> Iterator[ObjectRow]:
        for image in shard.inputs:
            number = int(image.image_id)
            some = tuple(replace(instance, category=category(number)) for instance in drawn[number % photos])
            yield ObjectRow(image.image_id, f"{number % photos}.png", size, size, "ok", "", some)

    _write(out / objects.FOLDER, ObjectRow, count, rows)


def _object(index: int, mask: np.ndarray) -> Object:
    height, width = mask.shape
    return Object(index, "", 1.0, int(mask.sum()), (0.0, 0.0, float(width), float(height)), encode(mask))


def write_features(out: Path, count: int) -> None:
    """Stage 4's features, around eight centres a class, with half of an image as each mask."""
    half = np.zeros((SIZE, SIZE), np.bool_)
    half[: SIZE // 2] = True
    rle = encode(half)

    def rows(shard: Shard[ImageRef]) -> Iterator[ProposalRow]:
        for image in shard.inputs:
            number = int(image.image_id)
            centres = np.random.default_rng(number * AN_IMAGE // A_CLASS).normal(size=(8, CHANNELS))
            noise = np.random.default_rng(number + 2**32)
            some = tuple(
                ObjectProposals(
                    index,
                    category(number),
                    tuple(
                        Proposal(query, 0.9, 0.5, int(half.sum()), rle, feature)
                        for query, feature in enumerate(_features(centres, noise))
                    ),
                )
                for index in range(AN_IMAGE)
            )
            yield ProposalRow(image.image_id, f"{number}.png", SIZE, SIZE, "ok", "", some)

    _write(out / candidates.FEATURES, ProposalRow, count, rows)


def _features(centres: np.ndarray, noise: np.random.Generator) -> np.ndarray:
    some = centres[noise.integers(8, size=PROPOSALS)] + noise.normal(size=(PROPOSALS, CHANNELS))
    return np.asarray(some / np.linalg.norm(some, axis=1, keepdims=True), np.float16)


def category(image: int) -> str:
    """An image's object class."""
    return f"class {image * AN_IMAGE // A_CLASS}"


def _write(folder: Path, row: type[R], count: int, rows: Callable[[Shard[ImageRef]], Iterator[R]]) -> None:
    images = [ImageRef(str(number)) for number in range(max(1, count // AN_IMAGE))]
    run_shards(
        folder,
        row=row,
        shards=make_shards(images),
        settings={},
        make_work=lambda: rows,
        label=folder.name,
    )


def _print_disk() -> None:
    """Segments of masks as large as they are in use."""
    count, size = 200, 640
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        write_objects(out, count, size, photos=count // AN_IMAGE)
        recipe = replace(RECIPE, segments=replace(RECIPE.segments, image_size=size))
        segments.run(Inputs(out=out, images=out / "photos"), recipe)
        mean = _size(out / segments.FOLDER) / count
        print(f"\nSegments at {size} x {size}: {mean:.0f} bytes an object.")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _print_start_up() -> None:
    print("| command | CPU s |\n|---|---|")
    for argument in ("--help", "doctor"):
        taken = min(_cpu(argument) for _ in range(3))
        print(f"| partdistill {argument} | {taken:.2f} |")


def _cpu(argument: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", "from partdistillation.commands.main import main; main()", argument]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=10_000, help="objects")
    return parser.parse_args()


if __name__ == "__main__":
    main()
