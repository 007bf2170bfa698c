"""Runs, and what `predict` wrote, in the formats of other tools."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from partdistillation.config import Format
from partdistillation.data.coco import CocoImage, Id
from partdistillation.errors import ConfigError, InputError
from partdistillation.export import formats
from partdistillation.export.labels import Catalog, ImageLabels, Labels, ObjectLabel, PartLabel
from partdistillation.functional.masks import EncodedMask
from partdistillation.models.pretrained import read_info
from partdistillation.runs.atomic import new_folder, replace_file
from partdistillation.runs.part_table import PartTable, part_name, read_part_table
from partdistillation.runs.records import ObjectRow, PartRow
from partdistillation.runs.run_folder import OBJECTS, images_of, stage_in
from partdistillation.runs.stage_reader import StageReader, stage_hash
from partdistillation.settings import at_home
from partdistillation.stages import distillation, part_classes, ranking

PREDICTIONS = "predictions"
CLASSES = "classes.json"
"""In what `predict` writes: the model's object classes, each with the names of its part classes."""


def export(
    folder: Path,
    name: Format,
    out: Path,
    *,
    images: Path | None = None,
    min_score: float = 0.0,
    part_table: Path | None = None,
    copy_images: bool = False,
    decode: bool = False,
) -> str:
    """Write a run's parts, or those that `predict` wrote, into a new folder; return a line on it.

    Args:
        folder: of the run, or what `predict` wrote.
        name: the format.
        out: the new folder, which is there whole or not at all.
        images: the photographs; without it those that the run remembers.
        min_score: parts below are left out.
        part_table: which part classes are joined, left out and how they are called.
        copy_images: whether to copy the photographs, too.
        decode: of `datasets`: masks as images instead of the rows as they are.

    Raises:
        ConfigError: options that contradict each other.
        InputError: the folder, the table or the photographs can't be used, or not in this format.
        StoreError: a stage is damaged or not finished, or `out` isn't new.
    """
    folder, out = at_home(folder), at_home(out)
    if decode and name != "datasets":
        raise ConfigError(f"--decode is for --to datasets, found --to {name}")
    as_they_are = name == "datasets" and not decode
    if as_they_are and (min_score or part_table is not None or copy_images):
        raise ConfigError(
            "--to datasets copies the rows as they are: expected --decode with --min-score, --parts-table or "
            "--copy-images"
        )
    objects, parts = stages_of(folder)
    if as_they_are:
        with new_folder(out) as place:
            return formats.write_shards(place, {OBJECTS: objects, ranking.PARTS: parts})
    table = PartTable() if part_table is None else read_part_table(at_home(part_table))
    labels = labels_of(folder, table, min_score)
    needs_images = copy_images or name in ("yolo", "fiftyone")
    images_dir = images_of(folder, images) if needs_images else folder
    with new_folder(out) as place:
        written = formats.write(labels, place, name, images_dir, copied=copy_images)
    unread = len(StageReader(objects, ObjectRow)) - len(labels.images)
    return f"{written}; {unread} that can't be read are left out" if unread else written


def stages_of(folder: Path) -> tuple[Path, Path]:
    """The stages of objects and of labelled parts in a folder.

    Raises:
        InputError: it hasn't both.
    """
    return stage_in(folder / OBJECTS, ()), stage_in(folder, (PREDICTIONS, ranking.PARTS))


def labels_of(
    folder: Path,
    table: PartTable | None = None,
    min_score: float = 0.0,
    ids: Mapping[str, Id] | None = None,
) -> Labels:
    """The objects and parts of a run, or of what `predict` wrote.

    Args:
        folder: the run's, or what `predict` wrote.
        table: which part classes are joined, left out and how they are called.
        min_score: parts below are left out.
        ids: the images' by the rows', where a data set says them; else they are 1, 2, ...

    Raises:
        InputError: the table or the rows aren't of the folder's model.
        StoreError: a stage is damaged or not finished.
    """
    objects, parts = stages_of(folder)
    table, catalog = table or PartTable(), _catalog(folder, parts)
    for category, decided in table.classes.items():
        if category not in catalog:
            raise InputError(
                f"the part table has an object class {category!r}: expected some of {', '.join(catalog)}; is "
                "it another model's table?"
            )
        PartTable({category: decided}).check(len(catalog[category]))
    rows = _Rows(objects, parts, catalog, table, min_score, ids or {})
    named = {category: _named(category, names, table) for category, names in catalog.items()}
    others: Catalog = dict.fromkeys(sorted(rows.categories - set(named)), ())
    return Labels(rows, {**named, **others}, stage_hash(parts))


def _catalog(folder: Path, parts: Path) -> Catalog:
    """The model's object classes, with the names of all of their part classes."""
    if parts.name == PREDICTIONS:
        return _read_classes(folder / CLASSES)
    model = folder / distillation.FOLDER
    if model.is_dir():
        info = read_info(model)
        return {name: [*map(part_name, range(info.num_parts))] for name in info.class_names}
    centroids = part_classes.read(folder / part_classes.FOLDER)
    return {name: [*map(part_name, range(len(centroids[name])))] for name in sorted(centroids)}


def _named(category: str, names: Sequence[str | None], table: PartTable) -> list[str | None]:
    decided = table.of(category)
    return [
        decided.names.get(part, name) if decided.becomes(part) == part and name is not None else None
        for part, name in enumerate(names)
    ]


def write_classes(folder: Path, catalog: Catalog) -> None:
    """Write what `labels_of` needs to know of the model beside its predictions."""
    text = json.dumps({"classes": catalog}, ensure_ascii=False, indent=1)
    replace_file(folder / CLASSES, f"{text}\n".encode())


def _read_classes(path: Path) -> Catalog:
    try:
        classes: Catalog = json.loads(path.read_text(encoding="utf-8"))["classes"]
    except FileNotFoundError:
        raise InputError(
            f"{path}: expected the model's classes, found none: `partdistill predict` with the same "
            "arguments writes them; what it has found stays"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected the model's classes as `predict` writes them: {error}") from error
    return classes


@dataclass(frozen=True)
class _Rows:
    """The images of two stages that belong together, read again whenever they are gone through."""

    objects: Path
    parts: Path
    names: Catalog
    table: PartTable
    min_score: float
    ids: Mapping[str, Id]

    def __len__(self) -> int:
        return self._survey[0]

    @property
    def categories(self) -> frozenset[str]:
        """The object classes that are there."""
        return self._survey[1]

    @cached_property
    def _survey(self) -> tuple[int, frozenset[str]]:
        """How many images can be exported, and their object classes."""
        count, categories = 0, set[str]()
        for row in StageReader(self.objects, ObjectRow):
            count += row.width > 0
            categories.update(instance.category for instance in row.objects)
        return count, frozenset(categories)

    @cached_property
    def _as_they_are(self) -> bool:
        """Whether the table changes nothing but names."""
        return not self.table.edits

    def __iter__(self) -> Iterator[ImageLabels]:
        for number, (row, labelled) in enumerate(self._pairs(), start=1):
            if row.width:  # a photograph that couldn't be read has no size, and so no place in any format
                yield self._labels(number, row, labelled)

    def _pairs(self) -> Iterator[tuple[ObjectRow, PartRow]]:
        objects, parts = StageReader(self.objects, ObjectRow), StageReader(self.parts, PartRow)
        if len(objects) != len(parts):
            raise self._strangers(f"{len(objects)} and {len(parts)} photographs")
        for row, labelled in zip(objects, parts, strict=True):
            ids = [[instance.object_id for instance in image.objects] for image in (row, labelled)]
            if row.image_id != labelled.image_id or ids[0] != ids[1]:
                raise self._strangers(f"other objects in {row.file_name!r}")
            yield row, labelled if self._as_they_are else self.table.applied(labelled)

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
