"""The formats by name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import assert_never

from partdistillation.config import Format
from partdistillation.export import coco, cvat, fiftyone, huggingface, label_maps, label_studio, yolo
from partdistillation.export.categories import CategoryIds
from partdistillation.export.labels import Catalog, Labels
from partdistillation.export.pieces import Writer
from partdistillation.runs.atomic import make_folder, replace_file

NAMED_AS_PHOTOGRAPHS = ("yolo", "cvat", "masks")
"""The formats that need all file names beforehand."""


def writer_of(
    name: Format,
    catalog: Catalog,
    file_names: Sequence[str] = (),
    origin: str = "",
    images_dir: Path | None = None,
) -> Writer:
    """What writes a format.

    Args:
        name: the format.
        catalog: all that is in the images is in it.
        file_names: of all images; only those in `NAMED_AS_PHOTOGRAPHS` look at them.
        origin: SHA-256 of what the labels were made from, where it is known.
        images_dir: where FiftyOne is to find the photographs; None for `images` in the export.

    Raises:
        InputError: the format can't hold the categories, or these photographs.
    """
    ids = CategoryIds.of_catalog(catalog)
    match name:
        case "coco":
            return coco.Writer(ids, origin)
        case "yolo":
            yolo.require_own_files(file_names)
            return yolo.Writer(ids)
        case "label-studio":
            return label_studio.Writer(ids)
        case "cvat":
            cvat.require_own_ids(file_names)
            return cvat.Writer(ids)
        case "fiftyone":
            return fiftyone.Writer(ids, origin, images_dir)
        case "datasets":
            return huggingface.Writer()
        case "masks":
            return label_maps.Writer(ids, label_maps.other_names(file_names))
        case _:
            assert_never(name)


def write(labels: Labels, folder: Path, name: Format, images_dir: Path | None = None) -> str:
    """Write a few images, which fit into memory, in a format; return a line on them.

    Raises:
        InputError: as `writer_of`; or a mask is damaged.
    """
    file_names = [image.image.file_name for image in labels.images]
    writer, entries = writer_of(name, labels.catalog, file_names, labels.origin, images_dir), []
    for image in labels.images:
        piece = writer.piece(image)
        entries.append(piece.entries)
        write_files(folder, piece.files)
    return writer.join(folder, entries)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into folders, which are made."""
    for name, data in files.items():
        make_folder((folder / name).parent)
        replace_file(folder / name, data)
