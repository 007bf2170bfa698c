"""Photographs that visitors have sent, with what was seen on them: in memory, until they are forgotten."""

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import PurePosixPath
from typing import Any

from partdistillation.errors import InputError
from partdistillation.export.labels import Catalog
from partdistillation.functional.masks import decoded, encoded, union
from partdistillation.runs.part_table import PartTable
from partdistillation.studio.file_names import safe_name
from partdistillation.studio.outlines import outline
from partdistillation.studio.pieces import Click
from partdistillation.studio.questions import Labelled, Seen, SeenObject, SeenPart, Upload

MOST, MOST_BYTES = 24, 256 << 20
"""Photographs, and bytes of their files: the oldest are forgotten first."""
_LONGEST_SUFFIX = 8


@dataclass(frozen=True)
class OpenObject:
    seen: SeenObject
    found: SeenObject | None
    """As the model found it; None where clicks made it."""
    clicks: tuple[Click, ...] = ()


@dataclass(frozen=True)
class OpenPhotograph:
    """A photograph with its objects by number; a change makes another one."""

    run: str
    upload: Upload
    model: str
    """Which of the run's: see `trying.MODELS`."""
    catalog: Catalog
    seen: Seen
    objects: dict[int, OpenObject]
    next_object: int


class Uploaded:
    """The photographs that are open. An id can't be guessed: who has it may see the photograph."""

    def __init__(self) -> None:
        self._photographs: dict[str, OpenPhotograph] = {}
        self._lock = threading.Lock()

    def add(self, photograph: OpenPhotograph) -> None:
        """Keep one more, or one anew; forget the oldest where there are too many."""
        with self._lock:
            self._photographs[photograph.upload.id] = photograph
            while len(self._photographs) > MOST or self._bytes() > MOST_BYTES:
                del self._photographs[next(iter(self._photographs))]

    def get(self, run: str, photograph_id: str) -> OpenPhotograph | None:
        """The photograph, if it is still there and of this run."""
        with self._lock:
            photograph = self._photographs.get(photograph_id)
        return photograph if photograph is not None and photograph.run == run else None

    def change(
        self, photograph_id: str, make: Callable[[OpenPhotograph], OpenPhotograph]
    ) -> OpenPhotograph | None:
        """Replace a photograph by what `make` makes of it as it is now; None where it was forgotten."""
        with self._lock:
            if photograph_id not in self._photographs:
                return None
            changed = make(self._photographs[photograph_id])
            self._photographs[photograph_id] = changed
            return changed

    def forget(self, run: str, photograph_id: str) -> None:
        """Forget a photograph, if it is there and of this run."""
        with self._lock:
            photograph = self._photographs.get(photograph_id)
            if photograph is not None and photograph.run == run:
                del self._photographs[photograph_id]

    def _bytes(self) -> int:
        opened = self._photographs.values()
        return sum(len(entry.upload.data) + len(entry.seen.picture) for entry in opened)


def new_upload(name: str, data: bytes) -> Upload:
    """What came, with a name that is safe in any file system.

    Raises:
        InputError: nothing came.
    """
    if not data:
        raise InputError("expected a photograph, found a file of 0 bytes: send it again")
    return Upload(secrets.token_urlsafe(12), _safe(name), data)


def opened(run: str, upload: Upload, model: str, catalog: Catalog, seen: Seen) -> OpenPhotograph:
    """A photograph as the model sees it, before anybody has corrected anything."""
    objects = {number: OpenObject(entry, entry) for number, entry in enumerate(seen.objects)}
    return OpenPhotograph(run, upload, model, catalog, seen, objects, len(objects))


def with_object(photograph: OpenPhotograph, number: int | None, changed: OpenObject) -> OpenPhotograph:
    """The photograph with an object changed, or with one more."""
    if number is None:
        number = photograph.next_object
    following = max(photograph.next_object, number + 1)
    return replace(photograph, objects={**photograph.objects, number: changed}, next_object=following)


def without_object(photograph: OpenPhotograph, number: int) -> OpenPhotograph:
    """The photograph without an object."""
    objects = {key: entry for key, entry in photograph.objects.items() if key != number}
    return replace(photograph, objects=objects)


def _safe(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    suffix = safe_name(path.suffix, "")[:_LONGEST_SUFFIX]
    return safe_name(path.stem, "photograph") + (f".{suffix}" if suffix else "")


def labelled(
    photographs: Sequence[OpenPhotograph], score: float, share: float, table: PartTable | None
) -> list[Labelled]:
    """What the sliders leave: objects and parts of a score, parts of a share of their object's area."""
    names = _told_apart([photograph.upload.name for photograph in photographs])
    return [
        Labelled(
            replace(photograph.upload, name=name),
            photograph.seen.width,
            photograph.seen.height,
            tuple(
                replace(
                    seen,
                    parts=tuple(
                        part for part in seen.parts if part.score >= score and part.area >= share * seen.area
                    ),
                )
                for seen in (decided(entry.seen, table) for entry in photograph.objects.values())
                if seen.score >= score
            ),
        )
        for photograph, name in zip(photographs, names, strict=True)
    ]


def decided(seen: SeenObject, table: PartTable | None) -> SeenObject:
    """An object with its parts as people have them: named, joined, rejected; without a table as they are."""
    if table is None:
        return seen
    groups = table.grouped(seen.category, seen.parts, lambda part: part.part)
    parts = (_one_part(part, table.name(seen.category, part), group) for part, group in groups)
    return replace(seen, parts=tuple(parts))


def _one_part(part: int, name: str, group: Sequence[SeenPart]) -> SeenPart:
    if len(group) == 1:
        return replace(group[0], part=part, name=name)
    mask = union([member.mask for member in group])
    pixels = decoded(mask)
    score = max(member.score for member in group)
    return SeenPart(part, name, score, encoded(pixels), int(pixels.sum()), outline(pixels))


def decided_names(catalog: Catalog, table: PartTable | None) -> Catalog:
    """The names of part classes as people have them; None for those that are joined or rejected."""
    if table is None:
        return catalog
    return {
        category: [
            None if name is None or table.of(category).becomes(part) != part else table.name(category, part)
            for part, name in enumerate(names)
        ]
        for category, names in catalog.items()
    }


def told(photograph: OpenPhotograph, table: PartTable | None) -> dict[str, Any]:
    """What the page is told of a photograph; masks as paths."""
    pixels = photograph.seen.width * photograph.seen.height
    objects = {number: decided(entry.seen, table) for number, entry in photograph.objects.items()}
    return {
        "id": photograph.upload.id,
        "name": photograph.upload.name,
        "width": photograph.seen.width,
        "height": photograph.seen.height,
        "model": photograph.model,
        "objects": [
            {
                "object": number,
                "category": objects[number].category,
                "score": objects[number].score,
                "area": objects[number].area,
                "share": objects[number].area / pixels,
                "path": objects[number].path,
                "clicks": entry.clicks,
                "made": entry.found is None,
                "parts": [
                    {
                        "part": part.part,
                        "name": part.name,
                        "score": part.score,
                        "area": part.area,
                        "share": part.area / objects[number].area,
                        "path": part.path,
                    }
                    for part in objects[number].parts
                ],
            }
            for number, entry in photograph.objects.items()
        ],
    }


def _told_apart(names: Sequence[str]) -> list[str]:
    """The names, numbered where another differs in nothing but letters' case or its suffix."""
    taken: set[str] = set()
    apart = []
    for name in names:
        stem, dot, suffix = name.rpartition(".") if "." in name else (name, "", "")
        numbered = chain([stem], (f"{stem} {number}" for number in count(2)))
        free = next(candidate for candidate in numbered if candidate.casefold() not in taken)
        taken.add(free.casefold())
        apart.append(f"{free}{dot}{suffix}")
    return apart
