"""Objects that a model finds: photographs are read, the model is asked, the labelling rules decide."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import UInt8

from partdistillation.classes.class_list import ClassEntry, ClassList
from partdistillation.config import ObjectsConfig
from partdistillation.data.images import ImageInput, load_image
from partdistillation.errors import ConfigError, InputError
from partdistillation.objects import ObjectSegmenter, reject, to_row
from partdistillation.objects.labelling import PEOPLE, best, distinct, known_prompts, named, people
from partdistillation.runs.records import Object, ObjectRow

TOGETHER = 4
"""Photographs that a model is given at once; four of the largest that are read take 0.8 GB."""

_Pixels = UInt8[np.ndarray, "_ _ 3"]
_T = TypeVar("_T")


class Photograph(NamedTuple):
    """An image that could be read."""

    image: ImageInput
    pixels: _Pixels

    @property
    def height(self) -> int:
        return len(self.pixels)

    @property
    def width(self) -> int:
        return len(self.pixels[0])


@dataclass(frozen=True, eq=False)
class SegmentedObjects:
    """The ObjectSource that asks a segmenter.

    A photograph in the folder of one of the classes is searched for that class alone, any other for all.

    Raises:
        ConfigError: the segmenter knows none of the classes, or is to find people, of whom it knows none.
    """

    segmenter: ObjectSegmenter
    classes: ClassList
    config: ObjectsConfig
    missing: str = "no objects"
    """What to say where nothing was found."""

    def __post_init__(self) -> None:
        _ = self._prompts
        if self.config.people and not self._people:
            raise ConfigError(
                f"objects.people: expected a model that knows one of {', '.join(PEOPLE)}, found none; "
                "set it to false"
            )

    def __call__(self, images: Sequence[ImageInput]) -> list[ObjectRow]:
        rows: list[ObjectRow] = []
        for entry, same in groupby(images, key=self._class_of):
            for few in _cut(list(same), TOGETHER):
                rows += self._rows(entry, few)
        return rows

    def _class_of(self, image: ImageInput) -> ClassEntry | None:
        return None if image.category is None else self.classes.of_folder(image.category)

    def _rows(self, entry: ClassEntry | None, images: Sequence[ImageInput]) -> list[ObjectRow]:
        read = [_read(image) for image in images]
        photographs = [photograph for photograph in read if isinstance(photograph, Photograph)]
        rows = iter(self._label(entry, photographs))
        return [row if isinstance(row, ObjectRow) else next(rows) for row in read]

    def _label(self, entry: ClassEntry | None, photographs: Sequence[Photograph]) -> list[ObjectRow]:
        everything = self._any_class(photographs) if entry is None else self._of_class(entry, photographs)
        labelled = [self._best(*pair) for pair in zip(photographs, everything, strict=True)]
        if entry is not None and self.config.keep_any_class:
            labelled = self._with_stand_ins(entry, labelled)
        if self.config.people:
            labelled = self._with_people(labelled)
        return [labels.row(self._missing(entry)) for labels in labelled]

    def _missing(self, entry: ClassEntry | None) -> str:
        """What to say where nothing of a class was found."""
        if entry is None:
            return self.missing
        if entry.prompt not in self._prompts:
            return f"{self.missing} of class {entry.name!r}, which the model doesn't know"
        return f"{self.missing} of class {entry.name!r}"

    def _best(self, photograph: Photograph, objects: Sequence[Object]) -> "Labelled":
        height, width = photograph.height, photograph.width
        sure = [candidate for candidate in objects if candidate.score >= self.config.min_score]
        different = distinct(sure, height, width, max_overlap=self.config.max_overlap)
        kept, left_out = best(
            different,
            pixels=height * width,
            max_objects=self.config.max_found,
            min_area=self.config.min_area,
        )
        if len(different) < len(sure):
            left_out = [f"{len(sure) - len(different)} found again", *left_out]
        return Labelled(photograph, kept, left_out=left_out)

    def _of_class(self, entry: ClassEntry, photographs: Sequence[Photograph]) -> list[list[Object]]:
        if entry.prompt not in self._prompts:
            return [[] for _ in photographs]
        answers = self._ask(photographs, [entry.prompt])
        return [named(objects, {entry.prompt: entry.name}) for objects in answers]

    def _any_class(self, photographs: Sequence[Photograph]) -> list[list[Object]]:
        return [named(objects, self._names) for objects in self._ask(photographs, self._prompts)]

    def _with_stand_ins(self, entry: ClassEntry, labelled: Sequence["Labelled"]) -> list["Labelled"]:
        """Where nothing of the class was found, the best of any class instead."""
        of_any_class = iter(self._any_class([row.photograph for row in labelled if not row.objects]))
        return [
            row if row.objects else _stand_in(self._best(row.photograph, next(of_any_class)), entry)
            for row in labelled
        ]

    def _with_people(self, labelled: Sequence["Labelled"]) -> list["Labelled"]:
        answers = self._ask([row.photograph for row in labelled], self._people)
        return [self._add_people(row, objects) for row, objects in zip(labelled, answers, strict=True)]

    def _add_people(self, row: "Labelled", objects: Sequence[Object]) -> "Labelled":
        height, width = row.photograph.height, row.photograph.width
        taken = [known for known in row.objects if known.category in self._person_names]
        persons, left_out = best(
            people(objects, height, width, taken=taken),
            pixels=height * width,
            max_objects=self.config.max_found,
            min_area=self.config.min_area,
        )
        notes = [f"people: {note}" for note in left_out]
        return replace(row, people=persons, left_out=[*row.left_out, *notes])

    def _ask(self, photographs: Sequence[Photograph], prompts: Sequence[str]) -> list[list[Object]]:
        return self.segmenter([photograph.pixels for photograph in photographs], prompts)

    @cached_property
    def _prompts(self) -> tuple[str, ...]:
        """What is asked for where the class isn't known, in the list's order."""
        vocabulary = self.segmenter.vocabulary
        if vocabulary is not None:
            return known_prompts(self.classes, vocabulary)
        return tuple(dict.fromkeys(entry.prompt for entry in self.classes.entries))

    @cached_property
    def _names(self) -> dict[str, str]:
        """The class of a prompt: the first in the list, where several share it."""
        return {entry.prompt: entry.name for entry in reversed(self.classes.entries)}

    @cached_property
    def _person_names(self) -> frozenset[str]:
        return frozenset(entry.name for entry in self.classes.entries if entry.prompt in PEOPLE)

    @cached_property
    def _people(self) -> tuple[str, ...]:
        vocabulary = self.segmenter.vocabulary
        return tuple(name for name in PEOPLE if vocabulary is None or name in vocabulary)


@dataclass(frozen=True, eq=False)
class Labelled:
    """A photograph with what is kept of it."""

    photograph: Photograph
    objects: Sequence[Object]
    people: Sequence[Object] = ()
    remarks: Sequence[str] = ()
    left_out: Sequence[str] = ()

    def row(self, missing: str) -> ObjectRow:
        """Its row; `missing` is said where there are no objects, or people alone."""
        remarks = [missing, *self.remarks] if self.people and not self.objects else self.remarks
        return to_row(
            self.photograph.image,
            height=self.photograph.height,
            width=self.photograph.width,
            objects=[*self.objects, *self.people],
            remarks=remarks,
            left_out=self.left_out,
            missing=missing,
        )


def _stand_in(any_class: Labelled, entry: ClassEntry) -> Labelled:
    """The best object of any class under the name of the class that wasn't found."""
    if not any_class.objects:
        return any_class
    first = any_class.objects[0]
    remark = f"no objects of class {entry.name!r}; the best of any, {first.category!r}, stands for it"
    return Labelled(any_class.photograph, [replace(first, category=entry.name)], remarks=[remark])


def _read(image: ImageInput) -> Photograph | ObjectRow:
    if image.problem:
        return reject(image, image.problem)
    try:
        return Photograph(image, load_image(image.path))
    except InputError as error:
        return reject(image, str(error).removeprefix(f"{image.path}: "))


def _cut(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
