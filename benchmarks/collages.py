"""How many collages a minute `partdistill collages` draws, and what takes the time.

On generated photographs of 500 x 375 pixels (ImageNet's usual size, JPEG) with an object each. All part
classes are in every image: as with ImageNet, few tiles of a class share a photograph. Wall time depends on
what else the machine does, CPU time less so: 1,000 a minute on 2 cores are 0.12 CPU seconds a collage.

    python benchmarks/collages.py --classes 125 --images 200 --workers 2
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from drawn import write_rows
from PIL import Image
from timing import machine

from partdistillation.functional.masks import box, encode
from partdistillation.review.collages import (
    PER_PART,
    Collage,
    draw_collage,
    draw_sheet,
    draw_tiles,
    sample_parts,
)
from partdistillation.review.collages.drawing import read_image
from partdistillation.review.collages.folder import write_collages, write_pdf, write_png
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow

WIDTH, HEIGHT, PARTS = 500, 375, 8
DISTINCT = 300
"""Photographs that are generated; the others are links to them, which are read and decoded all the same."""


def write_run(out: Path, classes: int, images: int) -> Path:
    """Photographs and rows as a run leaves them; the folder of photographs."""
    photos = out / "photos"
    photos.mkdir()
    random = np.random.default_rng(0)
    for i in range(DISTINCT):
        _photograph(random).save(photos / f"drawn{i}.jpg", quality=90)
    drawn = [_object(random) for _ in range(DISTINCT)]
    objects, parts = [], []
    for number in range(classes * images):
        name = f"{number:06d}.jpg"
        (photos / name).symlink_to(f"drawn{number % DISTINCT}.jpg")
        instance, regions = drawn[number % DISTINCT]
        category = f"class {number // images:03d}"
        row = name, name, WIDTH, HEIGHT, "ok", ""
        objects.append(ObjectRow(*row, (replace(instance, category=category),)))  # type: ignore[arg-type]
        parts.append(PartRow(*row, (ObjectParts(0, category, regions),)))  # type: ignore[arg-type]
    write_rows(out / "objects", objects)
    write_rows(out / "parts", parts)
    return photos


def _photograph(random: np.random.Generator) -> Image.Image:
    """Noise at all scales: a photograph's spectrum, and so about its size as JPEG."""
    picture = np.zeros((HEIGHT, WIDTH, 3))
    for level in range(1, 8):
        noise = random.normal(size=(HEIGHT >> level, WIDTH >> level, 3)).clip(-3, 3) * 20 + 128
        grown = Image.fromarray(noise.astype(np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        picture += 0.6 * (np.asarray(grown, np.float64) - 128)
    return Image.fromarray((picture + 128).clip(0, 255).astype(np.uint8))


def _object(random: np.random.Generator) -> tuple[Object, tuple[Part, ...]]:
    """An object of a third to all of the image's height, cut into part classes by rays from its middle."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    radius = random.uniform(0.17, 0.5) * HEIGHT
    dy, dx = y - random.uniform(0.4, 0.6) * HEIGHT, x - random.uniform(0.3, 0.7) * WIDTH
    angle = np.arctan2(dy, dx) + 0.2 * np.sin(np.hypot(dx, dy) / 8)
    mask = dx**2 + dy**2 < radius**2
    masks = [
        mask & ((PARTS * (angle + np.pi) / (2 * np.pi)).astype(int) % PARTS == part) for part in range(PARTS)
    ]
    parts = tuple(Part(i, 1.0, 1.0, int(mask.sum()), encode(mask)) for i, mask in enumerate(masks))
    return Object(0, "", 1.0, int(mask.sum()), box(mask), encode(mask)), parts


def steps(out: Path, photos: Path, classes: int) -> dict[str, float]:
    """CPU milliseconds a collage, by step, in this process."""
    taken: dict[str, float] = {}
    begun = time.process_time()

    def done(step: str) -> None:
        nonlocal begun
        now = time.process_time()
        taken[step] = taken.get(step, 0.0) + now - begun
        begun = now

    samples = list(sample_parts(out / "objects", out / "parts"))
    done("rows read, images drawn by lot")
    for first in range(0, PARTS * min(classes, 20), PARTS):
        of_page = samples[first : first + PARTS]
        tiles = [tile for sample in of_page for tile in sample.tiles]
        begun = time.process_time()
        for name in {tile.file_name for tile in tiles}:
            read_image(photos / name, WIDTH, HEIGHT)
        done("photographs read")
        drawn = [tile.picture for tile in draw_tiles(photos, tiles)]
        done("tiles drawn")
        groups = [drawn[PER_PART * i : PER_PART * (i + 1)] for i in range(PARTS)]
        collages = [draw_collage(*pair) for pair in zip(of_page, groups, strict=True)]
        sheet = draw_sheet(of_page[0].category, list(zip(of_page, groups, strict=True)))
        done("tiles put together")
        for place, picture in enumerate((*collages, sheet)):
            write_png(out / f"{place}.png", picture)
        done("PNG written")
        write_pdf(out / "all.pdf", [sheet, *collages], "")
        done("PDF written")
    taken["tiles drawn"] -= taken["photographs read"]  # they are read there too
    count = {"rows read, images drawn by lot": len(samples)}
    measured = PARTS * min(classes, 20)
    return {step: 1000 * seconds / count.get(step, measured) for step, seconds in taken.items()}


def timed(out: Path, photos: Path, workers: int) -> tuple[Sequence[Collage], float, float]:
    """The collages, and the wall and CPU seconds that they took, all processes together."""
    wall, cpu = time.perf_counter(), _cpu()
    made = write_collages(out, photos, workers=workers)
    return made, time.perf_counter() - wall, _cpu() - cpu


def _cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, default=125)
    parser.add_argument("--images", type=int, default=200, help="of a class")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        photos = write_run(out, arguments.classes, arguments.images)
        made, wall, cpu = timed(out, photos, arguments.workers)
        by_step = steps(out, photos, arguments.classes)
    print(
        f"{machine()}; {arguments.workers} processes, {arguments.classes * arguments.images:,} photographs\n"
    )
    count = len(made)
    print("| collages | wall s | CPU s | a minute, by wall | a minute on 2 cores, by CPU |")
    print("|---|---|---|---|---|")
    print(f"| {count:,} | {wall:.0f} | {cpu:.0f} | {60 * count / wall:,.0f} | {120 * count / cpu:,.0f} |")
    print("\n| step | CPU ms a collage |\n|---|---|")
    print("\n".join(f"| {step} | {milliseconds:.1f} |" for step, milliseconds in by_step.items()))


if __name__ == "__main__":
    main()
