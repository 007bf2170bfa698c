"""Which images stand for a part class: some at random, at most one object of each."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from partdistillation.errors import StoreError
from partdistillation.functional.masks import EncodedMasks, pairwise_iou
from partdistillation.runs.records import Object, ObjectRow, Part, PartRow
from partdistillation.runs.stage_reader import read_rows

PER_PART = 9
"""Images in a collage (supplement, section 1)."""
MAX_OBJECT_IOU = 0.5
"""A part that overlaps its object more than this is the object, not a part of it, and isn't shown."""


class Tile(NamedTuple):
    """An image of a part class: an object in it, and where the part is."""

    image_id: str
    file_name: str
    object_id: int
    width: int
    """Of the image, in pixels, as its height."""
    height: int
    box: tuple[float, float, float, float]
    """Of the object: xyxy, in pixels."""
    masks: tuple[bytes, ...]
    """The object's parts of the class, as COCO's compressed run-length encodings."""


class PartSample(NamedTuple):
    """A part class with the images that were drawn."""

    category: str
    part: int
    tiles: tuple[Tile, ...]
    available: int
    """Images that have the part; fewer than were to be drawn where the class is rare."""


def sample_parts(
    objects_dir: Path,
    parts_dir: Path,
    *,
    per_part: int = PER_PART,
    seed: int = 0,
    max_object_iou: float = MAX_OBJECT_IOU,
) -> Iterator[PartSample]:
    """Draw images of every part class, sorted by object class and part; one pass over the rows.

    Every image that has the part is as likely as any other. What is drawn follows from the seed and the
    image's id: neither the order of the rows nor other part classes matter.

    Args:
        objects_dir: stage 1's rows.
        parts_dir: parts of the same images, as stage 4 or `predict` wrote them.
        per_part: images of a part class.
        seed: another one draws other images.
        max_object_iou: parts that overlap their object more are left out; a part class of nothing else has
            no tiles.

    Raises:
        StoreError: a stage isn't there, isn't finished or is damaged, or they are of different images.
    """
    drawn: dict[tuple[str, int], list[tuple[int, Tile]]] = {}
    available: Counter[tuple[str, int]] = Counter()
    for row, parts in _rows(objects_dir, parts_dir):
        for (category, part), tiles in _tiles(row, parts, max_object_iou).items():
            best = drawn.setdefault((category, part), [])
            if not tiles:
                continue
            available[category, part] += 1
            chances = [_chance(seed, category, part, row.image_id, tile.object_id) for tile in tiles]
            first = -_chance(seed, category, part, row.image_id)
            tile = tiles[chances.index(min(chances))]
            heapq.heappush(best, (first, tile))
            if len(best) > per_part:
                heapq.heappop(best)
    for key in sorted(drawn):
        chosen = sorted(drawn[key], key=lambda pair: (-pair[0], pair[1].image_id))
        yield PartSample(*key, tuple(tile for _, tile in chosen), available[key])


def _rows(objects_dir: Path, parts_dir: Path) -> Iterator[tuple[ObjectRow, PartRow]]:
    for row, parts in zip_longest(read_rows(objects_dir, ObjectRow), read_rows(parts_dir, PartRow)):
        if row is None or parts is None or row.image_id != parts.image_id:
            raise StoreError(
                f"expected parts of the same images in {parts_dir} as objects in {objects_dir}, found "
                f"{getattr(parts, 'image_id', 'none')!r} where {getattr(row, 'image_id', 'none')!r} belongs: "
                "run the stage that wrote the parts again"
            )
        yield row, parts


def _tiles(row: ObjectRow, parts: PartRow, max_object_iou: float) -> dict[tuple[str, int], list[Tile]]:
    """An image's tiles by part class, one an object; none where every part of the class is the object."""
    tiles: dict[tuple[str, int], list[Tile]] = {}
    objects = {instance.object_id: instance for instance in row.objects}
    for labelled in parts.objects:
        whole = objects[labelled.object_id]
        masks: dict[int, list[bytes]] = {}
        for part in labelled.parts:
            kept = masks.setdefault(part.part, [])
            if not _is_object(part, whole, row, max_object_iou):
                kept.append(part.rle)
        for number, kept in masks.items():
            same = tiles.setdefault((labelled.category, number), [])
            if kept:
                size = row.width, row.height
                same.append(Tile(row.image_id, row.file_name, whole.object_id, *size, whole.box, tuple(kept)))
    return tiles


def _is_object(part: Part, whole: Object, row: ObjectRow, max_iou: float) -> bool:
    # No overlap exceeds the ratio of the areas, which is known: most masks needn't be looked at.
    if min(part.area, whole.area) <= max_iou * max(part.area, whole.area):
        return False
    masks = (EncodedMasks([rle], row.height, row.width) for rle in (part.rle, whole.rle))
    return float(pairwise_iou(*masks)[0, 0]) > max_iou


def _chance(seed: int, category: str, part: int, image_id: str, object_id: int = -1) -> int:
    """A number that looks random and follows from these alone."""
    key = repr((seed, category, part, image_id, object_id)).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())
