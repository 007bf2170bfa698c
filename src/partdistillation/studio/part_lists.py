"""What a page shows of object classes and their part classes: examples counted, and what people decided."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fastapi import HTTPException

from partdistillation.runs.part_table import ClassParts, PartTable
from partdistillation.studio.decisions import TABLE, Decisions
from partdistillation.studio.gallery import Gallery

_SUGGESTED = 300
"""Names that are suggested, the most frequent."""


def class_list(
    gallery: Gallery, decisions: Decisions, *, search: str, offset: int, count: int
) -> dict[str, Any]:
    """A page of the object classes whose name contains a text, whatever the case of letters."""
    table, version, _ = decisions.now()
    wanted = search.casefold()
    matching = [category for category in gallery.examples.categories if wanted in category.casefold()]
    return {
        "of": gallery.examples.version,
        "photographs": gallery.images is not None,
        "version": version,
        "all": len(gallery.examples.categories),
        "matching": len(matching),
        "classes": [_card(gallery, table, category) for category in matching[offset : offset + count]],
    }


def _card(gallery: Gallery, table: PartTable, category: str) -> dict[str, Any]:
    counts, decided = gallery.examples.parts(category), table.of(category)
    groups = group(decided, list(counts))
    return {
        "category": category,
        "parts": len(groups),
        "named": sum(part in decided.names for part in groups),
        "examples": sum(counts.values()),
        "tiles": [
            {"number": gallery.examples.surest(category, [part], 0, 1)[0], "color": part}
            for part in list(groups or counts)[:4]
        ],
    }


def group(decided: ClassParts, parts: Sequence[int]) -> dict[int, list[int]]:
    """The part classes that are left, with those that count as them, themselves among them."""
    groups: dict[int, list[int]] = {}
    for part in parts:
        end = decided.becomes(part)
        if end is not None:
            groups.setdefault(end, []).append(part)
    return dict(sorted(groups.items()))


def class_state(gallery: Gallery, decisions: Decisions, category: str) -> dict[str, Any]:
    """An object class as people have it now.

    Raises:
        HTTPException: the run has no parts of such a class.
    """
    table, version, last = decisions.now()
    counts, decided = counts_of(gallery, category), table.of(category)
    return {
        "of": gallery.examples.version,
        "version": version,
        "undo": last,
        "category": category,
        "parts": [
            _part(gallery, category, decided, end, kin) for end, kin in group(decided, list(counts)).items()
        ],
        "rejected": [
            _part(gallery, category, decided, part, [part]) for part in counts if part in decided.rejected
        ],
        "names": _suggestions(table),
        "edited": bool(table.edits),
        "file": str(TABLE),
    }


def counts_of(gallery: Gallery, category: str) -> dict[int, int]:
    """How many examples each part class of an object class has.

    Raises:
        HTTPException: the run has no parts of such a class.
    """
    if category not in gallery.examples.categories:
        raise HTTPException(404, "this run has no parts of such an object class")
    return dict(gallery.examples.parts(category))


def _part(gallery: Gallery, category: str, decided: ClassParts, end: int, parts: list[int]) -> dict[str, Any]:
    counts = gallery.examples.parts(category)
    return {
        "part": end,
        "name": decided.names.get(end),
        "members": [{"part": part, "count": counts[part]} for part in parts],
        "count": sum(counts[part] for part in parts),
        "first": {"number": gallery.examples.surest(category, parts, 0, 1)[0], "color": end},
    }


def _suggestions(table: PartTable) -> list[str]:
    """Names that part classes have, the most frequent first."""
    names = Counter(
        name
        for decided in table.classes.values()
        for part, name in decided.names.items()
        if decided.becomes(part) == part
    )
    return [name for name, _ in sorted(names.items(), key=lambda pair: (-pair[1], pair[0]))[:_SUGGESTED]]
