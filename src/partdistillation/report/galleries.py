"""Galleries of a run: of every object class its clearest objects and examples of its part classes.

Which are shown follows from the rows alone, and how many has a bound, whatever the size of the run.
"""

import hashlib
import heapq
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from partdistillation.data.images import load_image_of
from partdistillation.evaluation.consistency import part_counts
from partdistillation.functional.masks import decode
from partdistillation.pictures.colors import color_of
from partdistillation.pictures.overlays import dimmed, overlay
from partdistillation.pictures.sizes import enlarge, fit, framed, resize_labels, shrink
from partdistillation.pictures.tiles import part_tile
from partdistillation.report.data import ClassGallery, Key, Panel, PartGallery, Picture, PictureRow
from partdistillation.report.label_maps import part_map
from partdistillation.runs.part_table import part_name
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow
from partdistillation.runs.stage_reader import read_rows

TILE_SIDE, OBJECT_SIDE, HERO_SIDE = 448, 900, 1_000
"""Of a picture: its longer side, in pixels."""
_OBJECT_HEIGHT = 420
"""Objects are equally high, so that a browser shrinks a row of them to one height."""
TILES, CLEAREST = 9, 4
"""Examples of a part class, objects of a class."""
MAX_PARTS, MAX_TILES = 400, 1_200
"""Part classes with a gallery, and examples in all: no browser scrolls through a page of more."""
_TELLING = 3
"""Part classes that an object should show to stand for its class."""
_LARGE = 0.15
"""Of a photograph: smaller objects show less."""


class Example(NamedTuple):
    """A part of some object; `chance` decides which are shown."""

    chance: int
    whole: Object
    part: Part
    row: ObjectRow


class Clear(NamedTuple):
    """An object and how clear its parts are, the clearest last."""

    kinds: int
    clarity: float
    image_id: str
    whole: Object
    labelled: ObjectParts
    rows: tuple[ObjectRow, PartRow]

    @property
    def order(self) -> tuple[int, float, str, int]:
        return self.kinds, self.clarity, self.image_id, -self.whole.object_id


@dataclass
class Finding:
    """What rows of parts hold, and of it what can be shown."""

    counts: Counter[tuple[str, int]]
    """Parts by object class and part class."""
    photographs: int = 0
    """With objects."""
    examples: defaultdict[tuple[str, int], list[Example]] = field(default_factory=lambda: defaultdict(list))
    """In a random order that depends on nothing else, at most one an image."""
    clearest: defaultdict[str, list[Clear]] = field(default_factory=lambda: defaultdict(list))
    """By object class, the clearest first."""

    def headline(self, of: str = "photograph") -> str:
        """For example "24 kinds of parts in 6 classes of objects, from 120 photographs", or drawings."""
        classes = len({category for category, _ in self.counts})
        return (
            f"{_counted(len(self.counts), 'kind')} of parts in {_counted(classes, 'class', 'classes')} of "
            f"objects, from {_counted(self.photographs, of)}"
        )

    @classmethod
    def of(cls, objects_dir: Path, parts_dir: Path) -> "Finding":
        """Read both stages; only of part classes that are shown is anything kept.

        Raises:
            StoreError: one isn't finished, or damaged.
        """
        finding = cls(part_counts(parts_dir))
        for row, labelled in zip(
            read_rows(objects_dir, ObjectRow), read_rows(parts_dir, PartRow), strict=True
        ):
            finding.photographs += bool(row.objects)
            for whole, parts in zip(row.objects, labelled.objects, strict=True):
                finding._add(whole, parts, (row, labelled))
        return finding

    @cached_property
    def chosen(self) -> tuple[tuple[str, int], ...]:
        """The part classes that there is room for, by object class."""
        return tuple(sorted(self.counts)[:MAX_PARTS])

    @cached_property
    def _classes(self) -> frozenset[str]:
        return frozenset(category for category, _ in self.chosen)

    def _add(self, whole: Object, labelled: ObjectParts, rows: tuple[ObjectRow, PartRow]) -> None:
        row, _ = rows
        chance = int.from_bytes(hashlib.blake2b(row.image_id.encode(), digest_size=8).digest())
        for part in labelled.parts:
            key = whole.category, part.part
            if key <= self.chosen[-1] and all(
                other.row.image_id != row.image_id for other in self.examples[key]
            ):
                examples = [*self.examples[key], Example(chance, whole, part, row)]
                self.examples[key] = heapq.nsmallest(TILES, examples, key=lambda kept: kept.chance)
        if labelled.parts and whole.category in self._classes:
            kinds = min(_TELLING, len({part.part for part in labelled.parts}))
            clear = Clear(kinds, clarity(whole, labelled.parts, row), row.image_id, whole, labelled, rows)
            objects = {other.image_id: other for other in self.clearest[whole.category]}
            objects[row.image_id] = max(objects.get(row.image_id, clear), clear, key=lambda kept: kept.order)
            self.clearest[whole.category] = heapq.nlargest(
                CLEAREST, objects.values(), key=lambda kept: kept.order
            )


def clarity(whole: Object, parts: Sequence[Part], row: ObjectRow) -> float:
    """How well an object shows what was found: the parts' mean score times probability, less where they leave
    some of the object out, and where the object is small in its photograph.
    """
    sure = sum(part.score * part.probability for part in parts) / len(parts)
    covered = min(1.0, sum(part.area for part in parts) / max(1, whole.area))
    large = min(1.0, whole.area / (_LARGE * row.height * row.width))
    return sure * covered * large


def hero(finding: Finding, images_dir: Path) -> PictureRow | None:
    """The clearest object of all, with at least three kinds of parts if any has them; None without parts."""
    objects = list(chain.from_iterable(finding.clearest.values()))
    if not objects:
        return None
    row, labelled = max(objects, key=lambda kept: kept.order).rows
    image = load_image_of(images_dir / row.file_name, row.height, row.width)
    image = shrink(enlarge(image, HERO_SIDE // 2), HERO_SIDE)
    panels = (
        Panel("image", Picture.of(image)),
        Panel("its parts", Picture.of(in_color(image, part_map(labelled)))),
    )
    return PictureRow(", ".join(sorted({thing.category for thing in row.objects})), panels, legend(labelled))


def legend(row: PartRow) -> tuple[Key, ...]:
    """The parts in an image, by object class."""
    seen = sorted({(thing.category, part.part) for thing in row.objects for part in thing.parts})
    return tuple(Key.of_part(f"{category}, {part_name(part)}", part) for category, part in seen)


def galleries(
    finding: Finding, images_dir: Path, notes: Mapping[tuple[str, int], str] | None = None
) -> tuple[ClassGallery, ...]:
    """The first `MAX_PARTS` part classes, by object class, with at most `MAX_TILES` examples in all.

    `notes` says more of a part class, by its object class and number.
    """
    most = max(1, min(TILES, MAX_TILES // max(1, len(finding.chosen))))
    further = {key: f"; {note}" for key, note in (notes or {}).items()}
    classes = []
    for category, chosen in groupby(finding.chosen, key=itemgetter(0)):
        keys = list(chosen)
        tiles = iter(
            _tiles([example for key in keys for example in finding.examples[key][:most]], images_dir)
        )
        parts = tuple(
            PartGallery(
                Key.of_part(part_name(part), part),
                tuple(islice(tiles, min(most, len(finding.examples[of, part])))),
                f"{finding.counts[of, part]:,} found{further.get((of, part), '')}",
            )
            for of, part in keys
        )
        objects = tuple(_object(clear, images_dir) for clear in finding.clearest[category])
        classes.append(ClassGallery(category, parts, objects))
    return tuple(classes)


def note(finding: Finding) -> str:
    """How the pictures were chosen, and what isn't shown."""
    text = (
        "Of every class first the objects whose parts are clearest, by score and size, then examples of its "
        "kinds of parts, drawn at random. A number has the same colour everywhere."
    )
    left = finding.counts.keys() - set(finding.chosen)
    if not left:
        return text
    classes = _counted(len({category for category, _ in left}), "class", "classes")
    return f"{text} Not shown: {_counted(len(left), 'more kind')}, of {classes}."


# ---------------------------------------------------------------------- pictures


def _tiles(examples: Sequence[Example], images_dir: Path) -> list[Picture]:
    """The examples' tiles; each image is read once, as those of a class are mostly of the same ones.

    Images are taken by several threads: what takes the time (filters, WebP) lets others run.
    """
    places: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        places.setdefault(example.row.image_id, []).append(place)

    reading = Lock()

    def draw(of_image: Sequence[int]) -> list[tuple[int, Picture]]:
        row = examples[of_image[0]].row
        with reading:  # archives are read at one place at a time
            image = load_image_of(images_dir / row.file_name, row.height, row.width)
        return [(place, Picture.of(_tile(image, examples[place]))) for place in of_image]

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        tiles = dict(chain.from_iterable(threads.map(draw, places.values())))
    return [tiles[place] for place in range(len(examples))]


def _tile(
    image: UInt8[np.ndarray, "height width 3"], example: Example
) -> UInt8[np.ndarray, "tile_height tile_width 3"]:
    mask, around = (decode(kept.rle, *image.shape[:2]) for kept in (example.part, example.whole))
    return part_tile(image, mask, color_of(example.part.part), around, side=TILE_SIDE)


def _object(clear: Clear, images_dir: Path) -> Picture:
    """The object with its parts in colour, without what else is in the photograph."""
    row, labelled = clear.rows
    labels = part_map(replace(labelled, objects=(clear.labelled,)))
    rows, columns = framed(decode(clear.whole.rle, row.height, row.width) | (labels > 0))
    image = load_image_of(images_dir / row.file_name, row.height, row.width)
    image = image[rows, columns]
    image = fit(image, min(OBJECT_SIDE, round(_OBJECT_HEIGHT * max(image.shape[:2]) / len(image))))
    return Picture.of(in_color(image, np.ascontiguousarray(labels[rows, columns])))


def in_color(
    image: UInt8[np.ndarray, "height width 3"], labels: Int[np.ndarray, "_ _"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Parts in their colours over an image that may be larger than the label map; the rest is dimmed."""
    labels = resize_labels(labels, *image.shape[:2])
    return overlay(dimmed(image, labels > 0), labels, contours=max(2, round(min(labels.shape) / 200)))


def _counted(count: int, name: str, names: str = "") -> str:
    return f"{count:,} {name if count == 1 else names or f'{name}s'}"
