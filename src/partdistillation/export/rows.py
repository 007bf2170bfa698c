"""The rows of a run, or of what `predict` wrote, as labels: all of them, or a shard's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc

from partdistillation.data.coco import CocoImage, Id
from partdistillation.errors import InputError
from partdistillation.export.labels import Catalog, ImageLabels, ObjectLabel, PartLabel
from partdistillation.functional.masks import EncodedMask
from partdistillation.runs.part_table import PartTable
from partdistillation.runs.records import ObjectRow, PartRow
from partdistillation.runs.stage_reader import StageReader


class Survey(NamedTuple):
    """What there is in a stage of objects."""

    images: int
    """How many can be exported."""
    categories: frozenset[str]
    """The object classes that are there."""


def survey(objects: Path) -> Survey:
    """Look through a stage of objects.

    Raises:
        StoreError: it is damaged or not finished.
    """
    reader, images, categories = StageReader(objects, ObjectRow), 0, set[str]()
    for name in reader.shard_names:
        table = reader.table(name)
        images += pc.sum(pc.greater(table["width"], 0)).as_py()
        instances = pc.list_flatten(table["objects"])
        categories.update(pc.unique(pc.struct_field(instances, "category")).to_pylist())
    return Survey(images, frozenset(categories))


def file_names(objects: Path) -> Iterator[str]:
    """The file names of images that can be exported.

    Raises:
        StoreError: the stage is damaged or not finished.
    """
    reader = StageReader(objects, ObjectRow)
    for name in reader.shard_names:
        table = reader.table(name)
        yield from table["file_name"].filter(pc.greater(table["width"], 0)).to_pylist()


@dataclass(frozen=True)
class StageLabels:
    """The images of two stages that belong together, read again whenever they are gone through."""

    objects: Path
    parts: Path
    names: Catalog
    """The model's."""
    table: PartTable
    min_score: float
    ids: Mapping[str, Id]
    """Of images by those of rows, where a data set says them; else they are 1, 2, ..."""
    count: int
    """Of images that can be exported."""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[ImageLabels]:
        objects, _ = self._readers
        for name in objects.shard_names:
            yield from (image for _, image in self.shard(name) if image is not None)

    def shard(self, name: str) -> Iterator[tuple[ObjectRow, ImageLabels | None]]:
        """The images of a shard; None for one that couldn't be read: it has no size, so no place in a format.

        Raises:
            InputError: the stages don't belong together.
            StoreError: the shard is missing or damaged.
        """
        objects, parts = self._readers
        pairs = zip(objects.read(name), parts.read(name), strict=True)
        for number, (row, labelled) in enumerate(pairs, objects.starts[name] + 1):
            ids = [[instance.object_id for instance in image.objects] for image in (row, labelled)]
            if row.image_id != labelled.image_id or ids[0] != ids[1]:
                raise self._strangers(f"other objects in {row.file_name!r}")
            # A table that changes nothing but names leaves rows as they are.
            edited = self.table.applied(labelled) if row.width and self.table.edits else labelled
            yield row, self._labels(number, row, edited) if row.width else None

    @cached_property
    def _readers(self) -> tuple[StageReader[ObjectRow], StageReader[PartRow]]:
        objects, parts = StageReader(self.objects, ObjectRow), StageReader(self.parts, PartRow)
        if objects.starts != parts.starts or len(objects) != len(parts):
            raise self._strangers(f"{len(objects)} and {len(parts)} photographs, or other shards")
        return objects, parts

    def _strangers(self, what: str) -> InputError:
        return InputError(f"expected {self.objects} and {self.parts} to belong together, found {what}")

    def _labels(self, number: int, row: ObjectRow, labelled: PartRow) -> ImageLabels:
        size = (row.height, row.width)
        objects = (
            ObjectLabel(
                instance.category,
                EncodedMask(instance.rle, *size),
                tuple(
                    PartLabel(self._name(owner.category, part.part), EncodedMask(part.rle, *size), part.score)
                    for part in owner.parts
                    if part.score >= self.min_score
                ),
                instance.score,
            )
            for instance, owner in zip(row.objects, labelled.objects, strict=True)
        )
        return ImageLabels(
            CocoImage(self.ids.get(row.image_id, number), row.file_name, row.width, row.height),
            tuple(objects),
        )

    def _name(self, category: str, part: int) -> str:
        names = self.names.get(category, ())
        if part >= len(names) or names[part] is None:
            raise InputError(
                f"{self.parts}: expected parts of the model's classes, found part {part} of {category!r}: "
                "are they another model's?"
            )
        return self.table.of(category).names.get(part, str(names[part]))
