"""What a COCO annotation file takes in memory: as Python objects, taken apart, and in stage 1's processes.

    python benchmarks/coco_memory.py [--images 20000]

A generated file: five objects an image, each a polygon of 50 points; 20,000 images make 98 MB. All images
are one small file under many names. Peaks are of resident memory: of a call, over what its process held
before; of stage 1, of all its processes together, libraries (some 0.2 GB a process) included. Takes about
four minutes.
"""

import argparse
import json
import math
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from timing import machine, peak_memory

from partdistillation.config import Inputs, Recipe
from partdistillation.data.coco import read_instances
from partdistillation.objects.annotations import AnnotatedObjects
from partdistillation.stages import objects

SIZE, AN_IMAGE, POINTS = 64, 5, 50
SHARD = 256


def main() -> None:
    """Print the table."""
    arguments = _parse()
    print(machine(), "\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, arguments.images)
        size = (folder / "objects.json").stat().st_size
        print(f"{arguments.images:,} images, {size / 1e6:.0f} MB of JSON\n")
        print("| what | peak memory, MiB |\n|---|---|")
        for title, prepare in (
            ("the whole file as Python objects", whole),
            ("the file taken apart (once)", apart),
            (f"{SHARD} images' objects from what it was taken apart into", shard),
        ):
            print(f"| {title} | {peak_memory(prepare, folder):.0f} |", flush=True)
        for workers in (1, 2):
            memory, seconds = stage_one(folder, workers)
            print(f"| stage 1, workers: {workers} ({seconds:.0f} s) | {memory:.0f} |", flush=True)


def write(folder: Path, count: int) -> None:
    """The images and `objects.json`."""
    (folder / "photos").mkdir()
    Image.fromarray(np.zeros((SIZE, SIZE, 3), np.uint8)).save(folder / "one.png")
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * math.pi, POINTS, endpoint=False)
    images, annotations = [], []
    for number in range(count):
        (folder / "photos" / f"{number}.png").symlink_to(folder / "one.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": SIZE, "height": SIZE})
        for index in range(AN_IMAGE):
            radius = rng.uniform(5, 25, POINTS)
            points = SIZE / 2 + np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
            annotations.append(
                {
                    "id": number * AN_IMAGE + index,
                    "image_id": number,
                    "category_id": 1 + index,
                    "segmentation": [[round(value, 4) for value in points.ravel().tolist()]],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 1 + index, "name": f"class {index}"} for index in range(AN_IMAGE)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "objects.json").write_text(json.dumps(document))


def whole(folder: Path) -> Callable[[], object]:
    """What nothing does."""
    return lambda: json.loads((folder / "objects.json").read_bytes())


def apart(folder: Path) -> Callable[[], object]:
    """What one process does, of all that need it."""
    return lambda: read_instances(folder / "objects.json", folder / "apart")


def shard(folder: Path) -> Callable[[], object]:
    """What a worker does with a shard."""
    stored = read_instances(folder / "objects.json", folder / "apart")
    images = stored.inputs(folder / "photos")[:SHARD]
    source = AnnotatedObjects(stored, None, 0.0)
    source(images[:1])  # loads and compiles
    return lambda: source(images)


def stage_one(folder: Path, workers: int) -> tuple[float, float]:
    """Peak of all processes of stage 1 together in MiB, and its seconds."""
    inputs = Inputs(
        out=folder / f"out{workers}",
        images=folder / "photos",
        objects=folder / "objects.json",
        workers=workers,
    )
    process = multiprocessing.get_context("spawn").Process(target=objects.run, args=(inputs, Recipe()))
    begun, highest = time.perf_counter(), 0.0
    process.start()
    while process.is_alive():
        assert process.pid is not None
        highest = max(highest, _tree(process.pid))
        time.sleep(0.02)
    return highest, time.perf_counter() - begun


def _tree(root: int) -> float:
    """Resident memory of a process and those that it started, in MiB."""
    family, pages = {root}, 0
    for place in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if int(place.name) == root or parent in family:
                family.add(int(place.name))
                pages += int((place / "statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return pages * resource.getpagesize() / 2**20


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
