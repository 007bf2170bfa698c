"""Collages of all part classes of a run as files: a folder an object class, resumed by running again."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from partdistillation.errors import PartDistillationError
from partdistillation.pictures.text import plain_text
from partdistillation.review.collages.drawing import LOOK, TILE, draw_collage, draw_sheet, draw_tiles
from partdistillation.review.collages.sampling import MAX_OBJECT_IOU, PER_PART, PartSample, sample_parts
from partdistillation.runs.atomic import explained, make_folder, replace_file
from partdistillation.runs.manifest import canonical_hash
from partdistillation.runs.progress import progress
from partdistillation.runs.run_folder import PARTS, images_of, stage_in
from partdistillation.runs.shards import file_name
from partdistillation.runs.stage_reader import contents_hash
from partdistillation.runs.workers import TaskFailedError, WorkerDiedError, map_here, map_on_processes

FOLDER = "collages"
SHEET, PAGES, SUMMARY = "sheet.png", "collages.pdf", "summary.json"
_QUALITY = 90
_PIXELS_PER_INCH = 100


class Collage(NamedTuple):
    """The picture of a part class."""

    category: str
    part: int
    available: int
    """Images that have it."""
    tiles: int
    unreadable: tuple[str, ...]
    """Images whose tile is grey and says why."""
    file: str
    """Relative to the folder of collages."""


_KEYS = ("category", "part", "available", "shown", "unreadable", "file")
"""Of a collage in a summary."""


def write_collages(
    out: Path, images: Path | None = None, *, seed: int = 0, size: int = TILE, workers: int = 1
) -> tuple[Collage, ...]:
    """Write `out/collages`: for every object class a folder with a collage a part class, and a sheet of all.

    A class that was drawn of the same rows, with the same seed and size, isn't drawn again, unless an image
    couldn't be read then.

    Args:
        out: folder of a run, or one that `predict` wrote.
        images: folder of the photographs, where the run doesn't remember it.
        seed: decides which images are shown.
        size: side of a tile, in pixels.
        workers: processes that draw side by side.

    Raises:
        InputError: no objects, parts or photographs.
        StoreError: a stage isn't finished, or damaged; or the collages can't be written.
    """
    objects, parts = stage_in(out / "objects", ()), stage_in(out, PARTS)
    images_dir = images_of(out, images)
    rows = [contents_hash(objects), contents_hash(parts)]
    made_from = canonical_hash([LOOK, *rows, seed, size, MAX_OBJECT_IOU])
    samples = sample_parts(objects, parts, seed=seed)
    classes = [list(group) for _, group in groupby(samples, key=lambda sample: sample.category)]
    # Every process calls `make` for the function that draws a class.
    make = partial(partial, _draw_class, images_dir, out / FOLDER, size, made_from)
    with explained(out / FOLDER):
        collages = _draw(out / FOLDER, classes, make, workers)
        _remove_others(out / FOLDER, {file_name(samples[0].category) for samples in classes})
        _write_summary(out / FOLDER, {"made_from": made_from, "seed": seed}, collages)
    return collages


def summary(collages: Sequence[Collage], folder: Path) -> str:
    """In words, what was drawn, and which part classes have too few images."""
    few = [collage for collage in collages if collage.available < PER_PART]
    unreadable = sorted({name for collage in collages for name in collage.unreadable})
    categories = len({collage.category for collage in collages})
    lines = [f"{len(collages):,} collages of {categories:,} object classes in {folder}"]
    if few:
        counts = [f"{plain_text(part.category)} part {part.part} ({part.available})" for part in few]
        lines.append(f"{len(few):,} part classes have fewer than {PER_PART} images: {_listed(counts)}")
    if unreadable:
        lines.append(f"{len(unreadable):,} images couldn't be read: {_listed(unreadable)}")
    return "\n".join(lines)


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more (all are in {SUMMARY})" if more > 0 else "")


# ---------------------------------------------------------------------- an object class after the other

Draw = Callable[[Sequence[PartSample]], tuple[Collage, ...]]


def _draw(
    folder: Path, classes: Sequence[list[PartSample]], make: Callable[[], Draw], workers: int
) -> tuple[Collage, ...]:
    make_folder(folder)
    tasks = list(enumerate(classes))
    workers = min(workers, len(tasks))
    results = map_here(make, tasks) if workers <= 1 else map_on_processes(make, tasks, workers)
    collages: dict[int, tuple[Collage, ...]] = {}
    try:
        with progress("collages", len(classes), unit="object classes") as advance, closing(results):
            for index, drawn in results:
                collages[index] = drawn
                advance()
    except TaskFailedError as failure:
        raise failure.__cause__ or failure from None
    except WorkerDiedError as death:
        name = classes[death.task][0].category
        raise PartDistillationError(
            f"collages: the process that drew the object class {name!r} died (exit code {death.exit_code}): "
            "run the same command again, with fewer workers if the memory is short"
        ) from None
    return tuple(collage for index in sorted(collages) for collage in collages[index])


def _draw_class(
    images_dir: Path, folder: Path, size: int, made_from: str, samples: Sequence[PartSample]
) -> tuple[Collage, ...]:
    """Draw an object class, each image being read once; what it holds is written last."""
    category = samples[0].category
    name = file_name(category)
    earlier = _finished(folder / name, made_from)
    if earlier is not None:
        return earlier
    make_folder(folder / name)
    drawn = iter(draw_tiles(images_dir, [tile for sample in samples for tile in sample.tiles], size))
    rows, pictures, collages = [], [], []
    for sample in samples:
        tiles = [next(drawn) for _ in sample.tiles]
        rows.append((sample, [tile.picture for tile in tiles]))
        pictures.append(draw_collage(*rows[-1]))
        file = f"{name}/part_{sample.part}.png"
        unreadable = tuple(
            tile.file_name for tile, picture in zip(sample.tiles, tiles, strict=True) if picture.problem
        )
        collages.append(Collage(category, sample.part, sample.available, len(tiles), unreadable, file))
        write_png(folder / file, pictures[-1])
    sheet = draw_sheet(category, rows)
    write_png(folder / name / SHEET, sheet)
    write_pdf(folder / name / PAGES, [sheet, *pictures], plain_text(category))
    _remove_parts(folder / name, {Path(collage.file).name for collage in collages})
    _write_summary(folder / name, {"made_from": made_from}, collages)
    return tuple(collages)


def _finished(folder: Path, made_from: str) -> tuple[Collage, ...] | None:
    """What an earlier run made of a class, if it was of the same rows and every image could be read."""
    try:
        document = json.loads((folder / SUMMARY).read_bytes())
        if document["made_from"] != made_from or any(entry["unreadable"] for entry in document["parts"]):
            return None
        collages = [Collage._make(entry[key] for key in _KEYS) for entry in document["parts"]]
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not ours: it is written anew
        return None
    return tuple(collage._replace(unreadable=()) for collage in collages)


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove the collages of object classes that there aren't any more."""
    for path in folder.glob(f"*/{SUMMARY}"):
        if path.parent.name not in names:
            _remove_parts(path.parent, set())
            for name in (SHEET, PAGES, SUMMARY):
                (path.parent / name).unlink(missing_ok=True)
            with suppress(OSError):  # somebody keeps other files there
                path.parent.rmdir()


def _remove_parts(folder: Path, names: set[str]) -> None:
    for path in folder.glob("part_*.png"):
        if path.name not in names:
            path.unlink()


def write_png(path: Path, picture: Image.Image) -> None:
    buffer = BytesIO()
    # Photographs hardly get smaller by looking longer, and that would be most of a collage's time.
    picture.save(buffer, "PNG", compress_level=1)
    replace_file(path, buffer.getvalue())


def write_pdf(path: Path, pages: Sequence[Image.Image], title: str) -> None:
    """A page a picture; without a date, so that the same pictures give the same bytes."""
    buffer = BytesIO()
    pages[0].save(
        buffer,
        "PDF",
        save_all=True,
        append_images=pages[1:],
        resolution=_PIXELS_PER_INCH,
        quality=_QUALITY,
        title=title,
        creationDate=None,
        modDate=None,
    )
    replace_file(path, buffer.getvalue())


def _write_summary(folder: Path, head: Mapping[str, object], collages: Sequence[Collage]) -> None:
    document = {**head, "parts": [dict(zip(_KEYS, collage, strict=True)) for collage in collages]}
    replace_file(folder / SUMMARY, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
