"""Pictures of a report, chosen from a run's rows: a few images through all stages, examples of every part."""

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8

from partdistillation.data.images import load_image_of
from partdistillation.functional.masks import decode
from partdistillation.pictures.colors import color_of
from partdistillation.pictures.overlays import overlay, spotlight
from partdistillation.pictures.sizes import enlarge, enlarge_labels, fit_square, shrink, square_crop
from partdistillation.report.data import ClassGallery, Panel, PartGallery, PictureRow, Pixels
from partdistillation.report.label_maps import LabelMap, numbered_map
from partdistillation.runs.records import Object, ObjectRow, Part, PartRow, R
from partdistillation.runs.store import read_rows

PANEL_SIDE = 400
TILE_SIDE = 144
TILES = 9
MAX_CLASSES = 50
"""Object classes with a gallery; more would make a page that no browser scrolls through."""

Layer = tuple[Iterable[R], Callable[[R], LabelMap]]
"""A stage to be seen: its rows, read once, and what they show in an image."""


class Example(NamedTuple):
    """A part of some object; `chance` decides which are shown."""

    chance: int
    whole: Object
    part: Part
    row: ObjectRow


def pictures(
    objects_dir: Path, images_dir: Path, layers: Mapping[str, Layer[Any]], count: int = 8
) -> tuple[PictureRow, ...]:
    """Images evenly spread over a data set: the image, its objects, and each layer (by its caption)."""
    chosen = _spread(objects_dir, count)
    rows = {caption: _of(chosen, stage) for caption, (stage, _) in layers.items()}
    picture_rows = []
    for image_id, row in chosen.items():
        maps = {"objects": numbered_map(row, row.objects)}
        for caption, (_, label_map) in layers.items():
            maps[caption] = label_map(rows[caption][image_id])
        title = ", ".join(sorted({instance.category for instance in row.objects}))
        picture_rows.append(
            picture_row(title, load_image_of(images_dir / row.file_name, row.height, row.width), maps)
        )
    return tuple(picture_rows)


def galleries(
    objects_dir: Path, parts_dir: Path, images_dir: Path, notes: Mapping[tuple[str, int], str] | None = None
) -> tuple[ClassGallery, ...]:
    """Every object class's part classes with examples drawn at random, at most one an image if possible.

    `notes` says more of a part class, by its object class and number.
    """
    examples, counts = _examples(objects_dir, parts_dir)
    further = {key: f"; {note}" for key, note in (notes or {}).items()}
    categories = sorted({category for category, _ in examples})[:MAX_CLASSES]
    return tuple(
        ClassGallery(
            category,
            tuple(
                PartGallery(
                    f"part {part}",
                    tuple(color_of(part).tolist()),
                    tuple(_tile(example, images_dir) for example in examples[category, part]),
                    f"{counts[category, part]} found{further.get((category, part), '')}",
                )
                for part in sorted(part for of, part in examples if of == category)
            ),
        )
        for category in categories
    )


def _spread(objects_dir: Path, count: int) -> dict[str, ObjectRow]:
    usable = [row.image_id for row in read_rows(objects_dir, ObjectRow) if row.status == "ok"]
    places = np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int)
    return _of({usable[place] for place in places}, read_rows(objects_dir, ObjectRow))


def _of(ids: Container[str], rows: Iterable[R]) -> dict[str, R]:
    return {row.image_id: row for row in rows if row.image_id in ids}


def _examples(
    objects_dir: Path, parts_dir: Path
) -> tuple[dict[tuple[str, int], list[Example]], Counter[tuple[str, int]]]:
    """A few parts of every part class, in a random order that doesn't depend on anything else; the counts."""
    examples: defaultdict[tuple[str, int], list[Example]] = defaultdict(list)
    counts: Counter[tuple[str, int]] = Counter()
    for example in _all_parts(objects_dir, parts_dir):
        key = example.whole.category, example.part.part
        counts[key] += 1
        if all(other.row.image_id != example.row.image_id for other in examples[key]):
            examples[key] = heapq.nsmallest(TILES, [*examples[key], example], key=lambda kept: kept.chance)
    return dict(examples), counts


def _all_parts(objects_dir: Path, parts_dir: Path) -> Iterator[Example]:
    rows = zip(read_rows(objects_dir, ObjectRow), read_rows(parts_dir, PartRow), strict=True)
    for row, labelled in rows:
        chance = int.from_bytes(hashlib.blake2b(row.image_id.encode(), digest_size=8).digest())
        for whole, object_parts in zip(row.objects, labelled.objects, strict=True):
            for part in object_parts.parts:
                yield Example(chance, whole, part, row)


def _tile(example: Example, images_dir: Path) -> Pixels:
    row = example.row
    part, around = (decode(mask.rle, row.height, row.width) for mask in (example.part, example.whole))
    return part_tile(
        load_image_of(images_dir / row.file_name, row.height, row.width), part, around, example.part.part
    )


def picture_row(
    title: str,
    image: UInt8[np.ndarray, "height width 3"],
    layers: Mapping[str, Int[np.ndarray, "height width"]],
) -> PictureRow:
    """The image, then each layer (caption: label map, 0 = background) in colours over it."""
    enlarged = enlarge(image, PANEL_SIDE)
    panels = [Panel("image", shrink(enlarged, 2 * PANEL_SIDE))]
    for caption, labels in layers.items():
        colored = overlay(enlarged, enlarge_labels(labels, PANEL_SIDE), contours=2)
        panels.append(Panel(caption, shrink(colored, 2 * PANEL_SIDE)))
    return PictureRow(title, tuple(panels))


def part_tile(
    image: UInt8[np.ndarray, "height width 3"],
    part: Bool[np.ndarray, "height width"],
    around: Bool[np.ndarray, "height width"],
    part_id: int,
) -> UInt8[np.ndarray, "side side 3"]:
    """A square tile for a gallery: the part outlined in its id's colour, all else dimmed.

    Args:
        image: the whole image.
        part: the part's mask.
        around: the part's object, which the tile shows whole.
        part_id: 0, 1, ...; the same id has the same colour in `picture_row`, as label id + 1.
    """
    rows, columns = square_crop(around | part)
    crop = enlarge(image[rows, columns], 2 * TILE_SIDE)
    part, around = (
        enlarge_labels(mask[rows, columns].astype(np.int64), 2 * TILE_SIDE) > 0 for mask in (part, around)
    )
    lit = spotlight(crop, part, color_of(part_id), around)
    return np.asarray(fit_square(lit, TILE_SIDE))
