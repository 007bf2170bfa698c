"""Pictures of a report, chosen from a run's rows: a few images through all stages, examples of every part."""

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple

import numpy as np

from partdistillation.data.images import load_image_of
from partdistillation.functional.masks import decode
from partdistillation.pictures.colors import color_of
from partdistillation.report.data import ClassGallery, PartGallery, PictureRow, Pixels
from partdistillation.report.label_maps import LabelMap, numbered_map
from partdistillation.report.panels import part_tile, picture_row
from partdistillation.runs.records import Object, ObjectRow, Part, PartRow, R
from partdistillation.runs.store import read_rows

TILES = 9
MAX_CLASSES = 50
"""Object classes with a gallery; more would make a page that no browser scrolls through."""


@dataclass(frozen=True)
class Layer(Generic[R]):
    """A stage to be seen: its rows, read once, and what they show in an image."""

    rows: Iterable[R]
    label_map: Callable[[R], LabelMap]


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
    rows = {caption: _of(chosen, layer.rows) for caption, layer in layers.items()}
    picture_rows = []
    for image_id, row in chosen.items():
        maps = {"objects": numbered_map(row, [instance.rle for instance in row.objects])}
        for caption, layer in layers.items():
            maps[caption] = layer.label_map(rows[caption][image_id])
        title = ", ".join(sorted({instance.category for instance in row.objects}))
        picture_rows.append(
            picture_row(title, load_image_of(images_dir / row.file_name, row.height, row.width), maps)
        )
    return tuple(picture_rows)


def galleries(
    objects_dir: Path,
    parts_dir: Path,
    images_dir: Path,
    notes: Mapping[tuple[str, int], str] | None = None,
) -> tuple[ClassGallery, ...]:
    """Every object class's part classes with examples drawn at random, at most one an image if possible.

    `notes` says more of a part class, by its object class and number.
    """
    examples, counts = _examples(objects_dir, parts_dir)
    categories = sorted({category for category, _ in examples})[:MAX_CLASSES]
    return tuple(
        ClassGallery(
            category,
            tuple(
                PartGallery(
                    f"part {part}",
                    tuple(color_of(part).tolist()),
                    tuple(_tile(example, images_dir) for example in examples[category, part]),
                    _note(counts[category, part], (notes or {}).get((category, part), "")),
                )
                for part in sorted(part for of, part in examples if of == category)
            ),
        )
        for category in categories
    )


def _note(count: int, more: str) -> str:
    return f"{count} found; {more}" if more else f"{count} found"


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
