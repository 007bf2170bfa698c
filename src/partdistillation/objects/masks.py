"""Objects from a folder of masks: one file of labels an image, or a folder with a file an object."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int32

from partdistillation.classes.class_list import ClassList
from partdistillation.data import foreign_formats
from partdistillation.data.images import ImageInput, load_label_map
from partdistillation.data.paths import absence, is_file, is_folder
from partdistillation.errors import InputError
from partdistillation.objects import accept, reject, to_object
from partdistillation.objects.annotations import checked_size, said
from partdistillation.runs import listings
from partdistillation.runs.records import Object, ObjectRow

MOST_LABELS = 1000
"""A mask with more labels is a photograph or has soft borders."""


@dataclass(frozen=True)
class MaskedObjects:
    """The ObjectSource that reads a folder of masks."""

    masks_dir: Path
    max_objects: int | None
    min_area: float
    classes: ClassList | None = None
    alike: Collection[str] = ()
    """Photographs whose name another one has but for the suffix (`namesakes` of all)."""

    def __call__(self, images: Sequence[ImageInput]) -> list[ObjectRow]:
        return [
            masked_objects(
                self.masks_dir,
                image,
                max_objects=self.max_objects,
                min_area=self.min_area,
                classes=self.classes,
                alike=image.file_name in self.alike,
            )
            for image in images
        ]


def masked_objects(
    masks_dir: Path,
    image: ImageInput,
    *,
    max_objects: int | None,
    min_area: float,
    classes: ClassList | None = None,
    alike: bool = False,
) -> ObjectRow:
    """The objects of one image from `masks_dir`: the same relative path with .png, or the folder without it.

    In a file every nonzero value is one object, so a binary mask is one object. In a folder (for `car/1.jpg`,
    the files `car/1/*.png`) every file is one object, so that they may overlap.

    An object's class is the image's folder; with `classes` it is what its value says: 1 is the first of them.
    Of a folder's files those that can't be used are left out and named in the row's reason.

    Where another photograph is `alike` but for the suffix, a mask is named after all of it: `car/1.jpg.png`.
    """
    height, width = 0, 0
    try:
        height, width = checked_size(image)
        reader = _MaskReader(height, width, _class_namer(image, classes))
        objects, notes = reader.read(_mask_file(masks_dir, image, alike))
    except InputError as error:
        return reject(image, said(error, image.path, masks_dir), height=height, width=width)
    return accept(
        image,
        height=height,
        width=width,
        objects=objects,
        max_objects=max_objects,
        min_area=min_area,
        notes=notes,
    )


def namesakes(images: Iterable[ImageInput]) -> frozenset[str]:
    """File names of the photographs whose name another one has but for the suffix."""
    stems = {image.file_name: str(PurePosixPath(image.file_name).with_suffix("")) for image in images}
    counts = Counter(stems.values())
    return frozenset(name for name, stem in stems.items() if counts[stem] > 1)


def require_masks(masks_dir: Path) -> None:
    """Make sure that a folder has masks at all.

    Raises:
        InputError: it has no PNG; the message names the format that it has instead.
    """
    listed = listings.files_in(masks_dir)
    walked = (names for _, _, names in os.walk(masks_dir, followlinks=True))
    names = chain.from_iterable(walked) if listed is None else (path.name for path in listed)
    if any(name.lower().endswith(".png") for name in names):
        return
    known = foreign_formats.of_folder(masks_dir) or "check the path"
    raise InputError(f"{masks_dir}: expected masks (.png), named as the photographs are, found none: {known}")


def _mask_file(masks_dir: Path, image: ImageInput, alike: bool) -> Path:
    own, short = masks_dir / f"{image.file_name}.png", (masks_dir / image.file_name).with_suffix(".png")
    if not alike:
        return short
    if _is_there(short) and not _is_there(own):
        raise InputError(
            f"expected a mask of its own, {own.name}, as another photograph differs in its suffix alone, "
            f"found {short.name} for both; rename the mask or one of the photographs"
        )
    return own


def _is_there(mask: Path) -> bool:
    return is_file(mask) or is_folder(mask.with_suffix(""))


def mask_files(masks_dir: Path, image: ImageInput) -> list[Path]:
    """The files that the objects of an image may be read from."""
    places = masks_dir / f"{image.file_name}.png", (masks_dir / image.file_name).with_suffix(".png")
    files: list[Path] = []
    for file in places:
        if is_file(file):
            files.append(file)
        elif is_folder(file.with_suffix("")):
            files += _files_of_objects(file.with_suffix(""))
    return files


def _files_of_objects(folder: Path) -> list[Path]:
    try:
        listed = listings.files_in(folder)
        paths = folder.iterdir() if listed is None else (path for path in listed if path.parent == folder)
        return sorted(path for path in paths if path.suffix.lower() == ".png")
    except OSError as error:
        raise InputError(f"{folder}: expected masks (.png), found {error.strerror}") from error


def _class_namer(image: ImageInput, classes: ClassList | None) -> Callable[[int], str]:
    """What a value's class is called."""
    if classes is not None:
        return partial(_listed_class, classes)
    category = image.category
    if category is None:
        raise InputError(
            "no class: expected the image in a folder named after the class of its objects, or a list of the "
            "classes that the masks' values stand for"
        )
    return lambda _: category


def _listed_class(classes: ClassList, value: int) -> str:
    if value > len(classes.entries):
        raise InputError(f"expected values up to {len(classes.entries)}, as there are classes, found {value}")
    return classes.entries[value - 1].name


@dataclass(frozen=True)
class _MaskReader:
    """Reads the masks of one image. Objects come with notes on what was left out."""

    height: int
    width: int
    class_of: Callable[[int], str]

    def read(self, file: Path) -> tuple[list[Object], list[str]]:
        folder = file.with_suffix("")
        if is_file(file) or not is_folder(folder):
            return self._labels(file)
        files = _files_of_objects(folder)
        if not files:
            raise InputError(f"{folder}: expected masks (.png), a file an object, found none")
        return self._files(files)

    def _labels(self, file: Path) -> tuple[list[Object], list[str]]:
        """Every value an object."""
        labels = self._map(file)
        values = np.unique(labels[labels != 0])
        if len(values) > MOST_LABELS:
            raise InputError(
                f"expected a mask of at most {MOST_LABELS} labels, found {len(values)}; is it a photograph?"
            )
        objects, notes = list[Object](), list[str]()
        for value in values.tolist():
            try:
                category = self.class_of(value)
            except InputError as error:
                notes.append(str(error))
            else:
                objects.append(to_object(labels == value, category, 1.0))
        return objects, notes

    def _files(self, files: Sequence[Path]) -> tuple[list[Object], list[str]]:
        """Every file an object."""
        objects, notes = list[Object](), list[str]()
        for file in files:
            try:
                objects.append(self._object(self._map(file)))
            except InputError as error:
                notes.append(f"{file.name}: {said(error, file)}")
        return objects, notes

    def _object(self, labels: Int32[np.ndarray, "height width"]) -> Object:
        values = np.unique(labels[labels != 0]).tolist()
        if len(values) != 1:
            raise InputError(f"expected one object, found {len(values)} values besides 0")
        return to_object(labels != 0, self.class_of(values[0]), 1.0)

    def _map(self, file: Path) -> Int32[np.ndarray, "height width"]:
        if missing := absence(file):
            raise InputError(f"{file}: expected the photograph's mask, found {missing}")
        labels = load_label_map(file)
        if labels.shape != (self.height, self.width):
            raise InputError(
                f"expected a mask of {self.width} x {self.height} as the image, "
                f"found {labels.shape[1]} x {labels.shape[0]}"
            )
        return labels
