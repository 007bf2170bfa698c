"""Runs, and what `predict` wrote, in the formats of other tools."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from partdistillation.config import Driver, Format
from partdistillation.data.coco import Id
from partdistillation.errors import ConfigError, InputError
from partdistillation.export import divided, formats
from partdistillation.export.divided import division_of_labels, division_of_stages
from partdistillation.export.labels import Catalog, Labels
from partdistillation.export.photographs import Photographs
from partdistillation.export.rows import StageLabels, file_names, survey
from partdistillation.models.pretrained import read_info
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.manifest import Json, canonical_hash
from partdistillation.runs.part_table import PartTable, part_name, read_part_table
from partdistillation.runs.records import ObjectRow
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
    workers: int = 1,
    engine: Driver = "processes",
) -> str:
    """Write a run's parts, or those that `predict` wrote, into a new folder; return a line on it.

    Run again with the same arguments it goes on where it was stopped.

    Args:
        folder: of the run, or what `predict` wrote.
        name: the format.
        out: the new folder, which is there whole or not at all.
        images: the photographs; without it those that the run remembers.
        min_score: parts below are left out.
        part_table: which part classes are joined, left out and how they are called.
        copy_images: whether to copy the photographs, too.
        decode: of `datasets`: masks as images instead of the rows as they are.
        workers: processes that work side by side; the files don't depend on it.
        engine: whose they are: this call's, a Ray cluster's (actors), or ("shared") those of all calls with
            the same `out`.

    Raises:
        ConfigError: options that contradict each other, or the engine can't be used.
        InputError: the folder, the table or the photographs can't be used, or not in this format.
        SettingsChanged: another export into `out` was begun.
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
        division = division_of_stages({OBJECTS: objects, ranking.PARTS: parts})
        return divided.write(out, division, workers, engine)
    table = PartTable() if part_table is None else read_part_table(at_home(part_table))
    labels, catalog = _stage_labels(folder, table, min_score, {})
    photographs = _photographs(folder, images, name, copied=copy_images)
    named_as_they_are = [*file_names(objects)] if name in formats.NAMED_AS_PHOTOGRAPHS else []
    writer = formats.writer_of(
        name,
        catalog,
        named_as_they_are,
        stage_hash(parts),
        photographs.folder if photographs.use == "read" else None,
    )
    settings: dict[str, Json] = {
        "format": name,
        "min_score": min_score,
        "part_table": table.edits,
        "names": canonical_hash([*map(list, catalog.items())]),
        "photographs": photographs.use,
        "photographs_in": str(photographs.folder) if photographs.use in ("linked", "read") else "",
    }
    division = division_of_labels(labels, writer, photographs, settings)
    written = divided.write(out, division, workers, engine)
    unread = len(StageReader(objects, ObjectRow)) - len(labels)
    return f"{written}; {unread} that can't be read are left out" if unread else written


def _photographs(folder: Path, images: Path | None, name: Format, *, copied: bool) -> Photographs:
    """What the format wants of the photographs."""
    if not copied and name not in ("yolo", "fiftyone"):
        return Photographs(folder, "none")
    where = images_of(folder, images)
    if copied:
        return Photographs(where, "copied")
    return Photographs(where.resolve(), "linked" if name == "yolo" else "read")


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
    labels, catalog = _stage_labels(folder, table or PartTable(), min_score, ids or {})
    return Labels(labels, catalog, stage_hash(labels.parts))


def _stage_labels(
    folder: Path, table: PartTable, min_score: float, ids: Mapping[str, Id]
) -> tuple[StageLabels, Catalog]:
    """As `labels_of`: the images, and all that may be in them."""
    objects, parts = stages_of(folder)
    catalog = _catalog(folder, parts)
    for category, decided in table.classes.items():
        if category not in catalog:
            raise InputError(
                f"the part table has an object class {category!r}: expected some of {', '.join(catalog)}; is "
                "it another model's table?"
            )
        PartTable({category: decided}).check(len(catalog[category]))
    num_images, categories = survey(objects)
    named = {category: _named(category, names, table) for category, names in catalog.items()}
    others: Catalog = dict.fromkeys(sorted(categories - set(named)), ())
    return StageLabels(objects, parts, catalog, table, min_score, ids, num_images), {**named, **others}


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
