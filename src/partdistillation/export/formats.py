"""The formats by name, and a folder of each."""

import os
from collections.abc import Mapping
from pathlib import Path

from partdistillation.config import Format
from partdistillation.data.paths import advice, is_file
from partdistillation.errors import InputError
from partdistillation.export import coco, cvat, fiftyone, huggingface, label_maps, label_studio, yolo
from partdistillation.export.labels import Labels
from partdistillation.runs.archives import place_of, read_bytes
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.progress import followed

IMAGES = "images"
"""Folder of the photographs in an export that holds them."""


def write(labels: Labels, folder: Path, name: Format, images_dir: Path, *, copied: bool = False) -> str:
    """Write the files of a format into a folder; return a line on what was written.

    Args:
        labels: what is written.
        folder: where; files of that name in it are replaced.
        name: the format.
        images_dir: the photographs. YOLO wants them beside its labels: links to them are made.
        copied: whether to copy the photographs into `folder/images`.

    Raises:
        InputError: a mask is damaged, a photograph that is to be copied isn't there, one that isn't is in an
            archive where the tool can't read it, or the format can't hold the names.
    """
    if copied:
        _copy(labels, images_dir, folder / IMAGES)
    match name:
        case "coco":
            coco.write(folder / "annotations.json", labels)
            return f"{len(labels.images)} images with objects and parts"
        case "yolo":
            if not copied:
                _link(labels, images_dir.resolve(), folder / IMAGES)
            return yolo.write(folder, labels)
        case "label-studio":
            return label_studio.write(folder, labels)
        case "cvat":
            return cvat.write(folder, labels)
        case "fiftyone":
            if not copied:
                for image in labels.images:
                    _require_file(images_dir / image.image.file_name)
            return fiftyone.write(folder, labels, None if copied else images_dir.resolve())
        case "datasets":
            return huggingface.write(folder, labels)
        case "masks":
            return label_maps.write(folder, labels)


def write_shards(folder: Path, stages: Mapping[str, Path]) -> str:
    """As `write` for datasets, of stages whose rows are kept as they are."""
    return huggingface.write_shards(folder, stages)


def _link(labels: Labels, images_dir: Path, folder: Path) -> None:
    """A link a photograph: readers that resolve one to the whole folder would look for labels in there."""
    make_folder(folder)
    for image in labels.images:
        source, target = images_dir / image.image.file_name, folder / image.image.file_name
        if not is_file(source):
            raise InputError(f"{source}: expected a photograph, found none; {advice(source)}")
        _require_file(source)
        make_folder(target.parent)
        os.symlink(source, target)  # noqa: PTH211


def _require_file(source: Path) -> None:
    if place_of(source) is not None:
        raise InputError(
            f"{source}: expected a file for the other tool to read, found a photograph in an archive; "
            "give --copy-images"
        )


def _copy(labels: Labels, images_dir: Path, folder: Path) -> None:
    for image in followed(labels.images, "photographs", unit="copied"):
        source, target = images_dir / image.image.file_name, folder / image.image.file_name
        try:
            data = read_bytes(source)
        except OSError as error:
            raise InputError(
                f"{source}: expected a photograph to copy, found {error.strerror}; {advice(source)}"
            ) from error
        make_folder(target.parent)
        replace_file(target, data)
