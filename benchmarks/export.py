"""Export of many objects to COCO: objects a second, and the most memory.

    python benchmarks/export.py [--objects 100000]

Writes a stage of objects and one of parts, three a object, into a temporary folder; then `partdistill export`
runs in a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from partdistillation.functional.masks import encode
from partdistillation.inference.exports import write_classes
from partdistillation.runs.engine import run_shards
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow, Status
from partdistillation.runs.shards import ImageRef, Shard

HEIGHT, WIDTH = 384, 512
OBJECTS_AN_IMAGE, PARTS_AN_OBJECT = 4, 3
SHARD = 256


def main() -> None:
    """Write the rows, export them, print what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=100_000)
    count = parser.parse_args().objects
    with tempfile.TemporaryDirectory() as folder:
        _write_stages(Path(folder) / "predicted", count // OBJECTS_AN_IMAGE)
        start = time.perf_counter()
        command = ("export", f"{folder}/predicted", "--to", "coco", "--out", f"{folder}/coco")
        subprocess.run([sys.executable, "-m", "partdistillation", *command], check=True)
        seconds = time.perf_counter() - start
        size = (Path(folder) / "coco/annotations.json").stat().st_size
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{count} objects with {PARTS_AN_OBJECT} parts each, {size / 1e6:.0f} MB: {seconds:.0f} s, "
        f"{count / seconds:.0f} objects a second, {memory:.0f} MB of memory"
    )


def _write_stages(folder: Path, images: int) -> None:
    masks = [_blob(seed) for seed in range(64)]
    shards = [
        Shard(f"{start:07d}", tuple(ImageRef(str(n)) for n in range(start, min(start + SHARD, images))))
        for start in range(0, images, SHARD)
    ]

    def objects(shard: Shard[ImageRef]) -> list[ObjectRow]:
        return [ObjectRow(*_header(ref), _objects(int(ref.image_id), masks)) for ref in shard.inputs]

    def parts(shard: Shard[ImageRef]) -> list[PartRow]:
        return [PartRow(*_header(ref), _parts(int(ref.image_id), masks)) for ref in shard.inputs]

    run_shards(
        folder / "objects", row=ObjectRow, shards=shards, settings={}, make_work=lambda: objects, label="rows"
    )
    run_shards(
        folder / "predictions", row=PartRow, shards=shards, settings={}, make_work=lambda: parts, label="rows"
    )
    write_classes(folder, {"car": [f"part {number}" for number in range(8)]})


def _header(ref: ImageRef) -> tuple[str, str, int, int, Status, str]:
    return (ref.image_id, f"car/{ref.image_id}.jpg", WIDTH, HEIGHT, "ok", "")


def _blob(seed: int) -> tuple[int, bytes]:
    """A round mask with a ragged border, of about a tenth of the image."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    distances = np.hypot(rows - generator.uniform(100, 280), columns - generator.uniform(100, 400))
    mask = distances + generator.normal(0, 1, HEIGHT)[:, None] < generator.uniform(40, 100)
    return int(mask.sum()), encode(mask)


def _objects(image: int, masks: list[tuple[int, bytes]]) -> tuple[Object, ...]:
    chosen = [masks[(image + number) % len(masks)] for number in range(OBJECTS_AN_IMAGE)]
    return tuple(
        Object(number, "car", 0.9, area, (0, 0, 1, 1), rle) for number, (area, rle) in enumerate(chosen)
    )


def _parts(image: int, masks: list[tuple[int, bytes]]) -> tuple[ObjectParts, ...]:
    return tuple(
        ObjectParts(
            number, "car", tuple(_part(image + number, place, masks) for place in range(PARTS_AN_OBJECT))
        )
        for number in range(OBJECTS_AN_IMAGE)
    )


def _part(start: int, place: int, masks: list[tuple[int, bytes]]) -> Part:
    area, rle = masks[(start + place) % len(masks)]
    return Part(place, 0.9, 0.8, area, rle)


if __name__ == "__main__":
    main()
