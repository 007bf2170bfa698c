"""Ids of categories: places in a catalog, so that they don't depend on what was found."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from partdistillation.errors import InputError
from partdistillation.export.labels import Catalog, ImageLabels

PartKey = tuple[str, str]
"""Object class and part name."""
_Name = TypeVar("_Name", str, PartKey)


@dataclass(frozen=True)
class CategoryIds:
    """The ids of categories, in their order. What isn't in the catalog comes last, ordered by name."""

    objects: Mapping[str, int]
    parts: Mapping[PartKey, int]

    @classmethod
    def of(cls, images: Iterable[ImageLabels], catalog: Catalog) -> "CategoryIds":
        """Of two files: both count from 1."""
        objects, parts = _known_objects(catalog), _known_parts(catalog, 1)
        used_objects, used_parts = _used(images)
        return cls(
            objects | _others(used_objects, objects, len(catalog) + 1),
            parts | _others(used_parts, parts, _places(catalog) + 1),
        )

    @classmethod
    def together(cls, images: Iterable[ImageLabels], catalog: Catalog) -> "CategoryIds":
        """Of one file: parts' ids follow on those of objects."""
        objects, parts = _known_objects(catalog), _known_parts(catalog, len(catalog) + 1)
        used_objects, used_parts = _used(images)
        start = len(catalog) + _places(catalog) + 1
        more = _others(used_objects, objects, start)
        return cls(objects | more, parts | _others(used_parts, parts, start + len(more)))

    @classmethod
    def of_catalog(cls, catalog: Catalog) -> "CategoryIds":
        """As `together`, of a catalog in which everything is.

        Raises:
            InputError: two categories are called alike.
        """
        ids = cls.together((), catalog)
        own: dict[str, object] = dict(zip(ids.objects, ids.objects, strict=True))
        for key in ids.parts:
            if (other := own.setdefault(full_name(*key), key)) != key:
                raise InputError(
                    f"expected names that tell object classes and parts apart, found {full_name(*key)!r} for "
                    f"{other!r} and for {key!r}; call the part otherwise in a part table"
                )
        return ids

    @property
    def names(self) -> dict[int, str]:
        """What categories are called, by id: `car`, `car wheel`."""
        parts = {number: full_name(*key) for key, number in self.parts.items()}
        return {number: name for name, number in self.objects.items()} | parts


def full_name(category: str, part: str) -> str:
    """What a part is called where object classes share one list: `car wheel`."""
    return f"{category} {part}"


def _known_objects(catalog: Catalog) -> dict[str, int]:
    return {category: number for number, category in enumerate(catalog, start=1)}


def _known_parts(catalog: Catalog, start: int) -> dict[PartKey, int]:
    """Part classes of one name have the first one's id: they can't be told apart in the file."""
    ids: dict[PartKey, int] = {}
    names = ((category, name) for category, parts in catalog.items() for name in parts)
    for number, (category, name) in enumerate(names, start):
        if name is not None:
            ids.setdefault((category, name), number)
    return ids


def _places(catalog: Catalog) -> int:
    return sum(len(parts) for parts in catalog.values())


def _others(names: Iterable[_Name], known: Mapping[_Name, int], start: int) -> dict[_Name, int]:
    return {name: number for number, name in enumerate(sorted(set(names) - set(known)), start)}


def _used(images: Iterable[ImageLabels]) -> tuple[set[str], set[PartKey]]:
    objects: set[str] = set()
    parts: set[PartKey] = set()
    for labels in images:
        objects.update(label.category for label in labels.objects)
        parts.update((label.category, part.name) for label in labels.objects for part in label.parts)
    return objects, parts
