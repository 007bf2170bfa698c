"""What evaluation and the one-stage baseline take in memory, at 1x, 10x and 100x the images.

    python benchmarks/evaluation_memory.py [--images 300]

Generated: eight true parts an image as polygons of 50 points, as many predicted, three object classes; of
the one-stage baseline the pixels that are clustered, of 64 channels, in three object classes too: so the
largest class grows with the images. Peaks over what the process held before. Ten minutes, and 2 GB of disk.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from timing import machine, peak_memory

from partdistillation.baselines import one_stage
from partdistillation.config import Inputs, Recipe
from partdistillation.evaluation.of_predictions import evaluate
from partdistillation.functional.masks import encode
from partdistillation.runs.engine import run_shards
from partdistillation.runs.records import ObjectParts, Part, PartRow, R
from partdistillation.runs.shards import ImageRef, Shard, make_shards

SIZE, PARTS, POINTS, CLASSES, CHANNELS = 64, 8, 50, 3, 64


def main() -> None:
    """Print the table."""
    arguments = _parse()
    print(machine(), "\n")
    print("| what | images | peak memory, MiB |\n|---|---|---|")
    for write, step in ((write_parts, score), (write_pixels, cluster)):
        for images in (arguments.images, 10 * arguments.images, 100 * arguments.images):
            with tempfile.TemporaryDirectory() as name:
                write(Path(name), images)
                memory = peak_memory(prepared, write, step, Path(name))
                print(f"| {step.__doc__} | {images:,} | {memory:.0f} |", flush=True)


def score(folder: Path) -> None:
    """evaluation"""
    with redirect_stdout(StringIO()):
        evaluate(folder / "parts", folder / "parts.json")


def cluster(folder: Path) -> None:
    """one-stage's clustering"""
    one_stage.find_part_classes(Inputs(out=folder), Recipe(), folder)


def prepared(
    write: Callable[[Path, int], None], step: Callable[[Path], None], folder: Path
) -> Callable[[], object]:
    """A step's call; all is loaded before."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), 3)
        step(Path(name))
    return lambda: step(folder)


def write_parts(folder: Path, count: int) -> None:
    """`parts` and `parts.json`."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * math.pi, POINTS, endpoint=False)
    images, annotations = [], []
    for number in range(count):
        images.append({"id": number, "file_name": f"{number}.png", "width": SIZE, "height": SIZE})
        for index in range(PARTS):
            radius, centre = rng.uniform(3, 8, POINTS), rng.uniform(10, SIZE - 10, (1, 2))
            points = centre + np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
            annotations.append(
                {
                    "id": number * PARTS + index,
                    "image_id": number,
                    "category_id": 1 + number % CLASSES * PARTS + index,
                    "segmentation": [[round(value, 4) for value in points.ravel().tolist()]],
                }
            )
    categories = [
        {"id": 1 + place * PARTS + index, "name": f"part {index}", "supercategory": f"class {place}"}
        for place in range(CLASSES)
        for index in range(PARTS)
    ]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "parts.json").write_text(json.dumps(document))

    def rows(shard: Shard[ImageRef]) -> Iterator[PartRow]:
        for image in shard.inputs:
            found = []
            for index in range(PARTS):
                mask = np.zeros((SIZE, SIZE), np.bool_)
                top, left = rng.integers(0, SIZE - 12, 2)
                mask[top : top + 12, left : left + 12] = True
                found.append(Part(index, 0.9, float(rng.random()), 144, encode(mask)))
            labelled = ObjectParts(0, f"class {int(image.image_id) % CLASSES}", tuple(found))
            yield PartRow(image.image_id, f"{image.image_id}.png", SIZE, SIZE, "ok", "", (labelled,))

    _write(folder / "parts", PartRow, count, rows)


def write_pixels(folder: Path, count: int) -> None:
    """`pixels`."""
    rng = np.random.default_rng(0)

    def rows(shard: Shard[ImageRef]) -> Iterator[one_stage.PixelRow]:
        for image in shard.inputs:
            values = rng.normal(size=one_stage.PIXELS_PER_OBJECT * CHANNELS).astype(np.float16)
            name = f"class {int(image.image_id) % CLASSES}"
            found = one_stage.ObjectPixels(name, one_stage.PIXELS_PER_OBJECT, values)
            yield one_stage.PixelRow(image.image_id, f"{image.image_id}.png", SIZE, SIZE, "ok", "", (found,))

    _write(folder / one_stage.PIXELS, one_stage.PixelRow, count, rows)


def _write(folder: Path, row: type[R], count: int, rows: Callable[[Shard[ImageRef]], Iterator[R]]) -> None:
    run_shards(
        folder,
        row=row,
        shards=make_shards([ImageRef(str(number)) for number in range(count)]),
        settings={},
        make_work=lambda: rows,
        label=folder.name,
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    return parser.parse_args()


if __name__ == "__main__":
    main()
