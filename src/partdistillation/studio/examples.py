"""Which parts a run has, by object class and part class: a few numbers a part, its mask stays on disk.

A part's number is its place among all parts, in the order of the stage's rows. It is what the browser names a
part by, together with the contents' hash: numbers of other parts mean nothing.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Generic, cast

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int32, Int64

from partdistillation.errors import InputError
from partdistillation.runs.records import PartRow, R
from partdistillation.runs.stage_reader import StageReader, stage_hash
from partdistillation.studio.similar import PartKey

_TABLES = 16
"""Shards of a stage that are kept in memory, each some megabytes."""


class ShardRows(Generic[R]):
    """Single rows of a stage, of which the shards looked at last are kept; for several threads at once."""

    def __init__(self, folder: Path, row: type[R]) -> None:
        self._reader = StageReader(folder, row)
        self._tables: OrderedDict[str, pa.Table] = OrderedDict()
        self._lock = threading.Lock()

    def row(self, shard: str, index: int) -> R:
        """A row by its shard and its place there.

        Raises:
            StoreError: there is no such shard, or it is missing or damaged.
        """
        with self._lock:
            table = self._tables.pop(shard, None)
            if table is None:
                table = self._reader.table(shard)
            self._tables[shard] = table
            if len(self._tables) > _TABLES:
                self._tables.popitem(last=False)
        return self._reader.row(table, shard, index)


class Examples:
    """The parts of a run.

    Args:
        folder: of the stage with `PartRow`.

    Raises:
        StoreError: the stage isn't finished, or a shard is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.version = stage_hash(folder)[:16]
        reader = StageReader(folder, PartRow)
        columns = _Columns()
        self._shards: list[str] = []
        self._first_images = [0]
        for shard in reader.shard_names:
            self._shards.append(shard)
            self._first_images.append(columns.add(reader.table(shard)))
        self.image_ids, self.categories = columns.image_ids, sorted(columns.classes)
        self._images = {image_id: image for image, image_id in enumerate(self.image_ids)}
        (self._image, self._object, self._place, self._part, self._class), self._probability = (
            columns.joined()
        )
        self._class_ids, self._class_names = columns.classes, list(columns.classes)
        self._order: Int64[np.ndarray, " part"] = np.lexsort((-self._probability, self._part, self._class))
        self._groups = {category: self._group(category) for category in self.categories}

    def __len__(self) -> int:
        """Number of parts."""
        return len(self._part)

    def parts(self, category: str) -> Mapping[int, int]:
        """The part classes of an object class, with how many examples they have."""
        return {part: stop - start for part, (start, stop) in self._groups[category].items()}

    def surest(self, category: str, parts: Sequence[int], offset: int, count: int) -> list[int]:
        """A page of part classes' examples, the most probable first."""
        groups = self._groups[category]
        numbers = np.concatenate([self._order[slice(*groups[part])] for part in parts])
        best = np.argsort(-self._probability[numbers], kind="stable")
        return list(map(int, numbers[best[offset : offset + count]]))

    def category(self, number: int) -> str:
        """The object class of a part."""
        return self._class_names[int(self._class[number])]

    def part(self, number: int) -> int:
        """The part class of a part."""
        return int(self._part[number])

    def image(self, number: int) -> int:
        """The photograph of a part, by its place among all."""
        return int(self._image[number])

    def key(self, number: int) -> PartKey:
        """Where a part is in its photograph's row."""
        return PartKey(
            self.image_ids[self.image(number)], int(self._object[number]), int(self._place[number])
        )

    def number(self, image_id: str, object_id: int, place: int) -> int:
        """The number of the part that is there.

        Raises:
            InputError: there is none.
        """
        image = self._images.get(image_id, -1)
        start, stop = np.searchsorted(self._image, [image, image + 1])
        here = slice(start, stop)
        (rows,) = np.nonzero((self._object[here] == object_id) & (self._place[here] == place))
        if not len(rows):
            raise InputError(f"expected a part of this run, found {(image_id, object_id, place)!r:.200}")
        return int(start + rows[0])

    def shard_of(self, image: int) -> tuple[str, int]:
        """The shard of a photograph, and its place there."""
        index = int(np.searchsorted(self._first_images, image, side="right")) - 1
        return self._shards[index], image - self._first_images[index]

    def _group(self, category: str) -> dict[int, tuple[int, int]]:
        """Where each part class begins and ends in the order."""
        classes = self._class[self._order]
        start, stop = np.searchsorted(classes, [self._class_ids[category], self._class_ids[category] + 1])
        parts, starts = np.unique(self._part[self._order[start:stop]], return_index=True)
        bounds = [*(start + starts).tolist(), int(stop)]
        return dict(zip(parts.tolist(), pairwise(bounds), strict=True))


class _Columns:
    """What is kept of the rows, gathered shard by shard."""

    def __init__(self) -> None:
        self.image_ids: list[str] = []
        self.classes: dict[str, int] = {}
        """Numbers of the object classes that have parts."""
        self._numbers: list[Int32[np.ndarray, "5 part"]] = []
        self._probabilities: list[Float32[np.ndarray, " part"]] = []

    def add(self, table: pa.Table) -> int:
        """Add a shard's rows, without making Python objects of its parts; the number of images so far."""
        first_image = len(self.image_ids)
        self.image_ids += table["image_id"].to_pylist()
        objects = _combined(table["objects"])
        instances = objects.flatten()
        parts = instances.field("parts")
        part_counts = np.diff(parts.offsets.to_numpy())
        images = np.repeat(np.arange(len(objects)), np.diff(objects.offsets.to_numpy()))
        categories = instances.field("category").to_pylist()
        known = [
            self.classes.setdefault(name, len(self.classes)) if count else 0
            for name, count in zip(categories, part_counts, strict=True)
        ]
        starts = np.cumsum(part_counts) - part_counts
        values = parts.flatten()
        columns = (
            first_image + np.repeat(images, part_counts),
            np.repeat(instances.field("object_id").to_numpy(), part_counts),
            np.arange(len(values)) - np.repeat(starts, part_counts),
            values.field("part").to_numpy(),
            np.repeat(np.array(known, np.int64), part_counts),
        )
        self._numbers.append(np.stack(columns).astype(np.int32))
        self._probabilities.append(values.field("probability").to_numpy().astype(np.float32))
        return len(self.image_ids)

    def joined(self) -> tuple[Int32[np.ndarray, "5 part"], Float32[np.ndarray, " part"]]:
        """Image, object, place, part and class of every part; and their probabilities."""
        return np.concatenate(self._numbers, axis=1), np.concatenate(self._probabilities)


def _combined(column: pa.ChunkedArray) -> pa.ListArray:
    return cast(pa.ListArray, column.combine_chunks())
