"""What a folder of photographs holds, and which of them a run will reject: before it begins."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from partdistillation.data.damage import damage_of
from partdistillation.data.image_folder import EXTENSIONS, FolderScan, scan
from partdistillation.data.images import ImageInput, image_size
from partdistillation.errors import InputError
from partdistillation.runs.archives import read_bytes

MOST_CLASSES = 60
_EXAMPLES = 6
_SECONDS = 1.5
"""That one question about damage may take; the page asks on."""
_NO_CLASS = "expected a class folder around it, as the others have"


def photographs_of(folder: Path, holds: Callable[[Path], bool]) -> FolderScan:
    """The photographs of a folder.

    Args:
        folder: of photographs.
        holds: whether a path is one that may be looked at.

    Raises:
        HTTPException: there are none, or links among them lead to what may not be looked at.
    """
    if not folder.is_dir():
        raise HTTPException(422, "choose a folder of photographs, or drop some")
    if (link := next(_leading_out(folder, holds, set()), None)) is not None:
        raise HTTPException(
            422,
            f"{link.relative_to(folder)} is a link that leads out of the folders that a page may choose "
            f"from: begin this run in a terminal, `partdistill run --images {folder}`",
        )
    try:
        return scan(folder)
    except InputError as error:
        raise HTTPException(422, str(error)) from error


def _leading_out(folder: Path, holds: Callable[[Path], bool], seen: set[Path]) -> Iterator[Path]:
    """Links in and below a folder to what may not be looked at; others are followed, as stage 1 does."""
    for here, folders, files in os.walk(folder):
        for path in (Path(here, name) for name in (*folders, *files)):
            if path.is_symlink():
                if not holds(path):
                    yield path
                elif path.is_dir() and (target := path.resolve()) not in seen:
                    seen.add(target)
                    yield from _leading_out(path, holds, seen)


def summary(folder: Path, photographs: FolderScan) -> dict[str, Any]:
    """Classes with counts and examples, and what else was seen."""
    counts = Counter(image.category for image in photographs.images)
    examples: dict[str | None, list[str]] = {}
    for image in photographs.images:
        if image.path.suffix.lower() in EXTENSIONS and not image.problem:
            chosen = examples.setdefault(image.category, [])
            if len(chosen) < _EXAMPLES:
                chosen.append(image.file_name)
    classes = sorted((name for name in counts if name is not None), key=lambda name: (-counts[name], name))
    without = counts[None]
    return {
        "folder": str(folder),
        "count": len(photographs.images),
        "classes": [
            {"name": name, "count": counts[name], "examples": examples.get(name, [])}
            for name in classes[:MOST_CLASSES]
        ],
        "moreClasses": max(0, len(classes) - MOST_CLASSES),
        "withoutClass": {"count": without, "examples": examples.get(None, []), "all": not classes},
        "notes": list(photographs.notes()),
    }


def problems(photographs: FolderScan, start: int, *, classes_needed: bool) -> dict[str, Any]:
    """Which photographs from a place on can't be read, as far as there is time; and where to go on.

    Args:
        photographs: all.
        start: place of the first to be looked at.
        classes_needed: whether objects get their class from folders.
    """
    until, listed = time.monotonic() + _SECONDS, list[dict[str, str]]()
    needed = classes_needed and bool(photographs.categories)
    place = start
    for image in photographs.images[start:]:
        if why := _problem(image, needed):
            listed.append({"file": image.file_name, "why": why})
        place += 1
        if time.monotonic() > until:
            break
    return {
        "problems": listed,
        "next": place if place < len(photographs.images) else None,
        "of": len(photographs.images),
    }


def _problem(image: ImageInput, class_needed: bool) -> str:
    """Why stage 1 would reject a photograph without looking for objects; nothing where it wouldn't."""
    if image.problem:
        return image.problem
    if class_needed and image.category is None:
        return _NO_CLASS
    try:
        image_size(image.path)
        damage = damage_of(read_bytes(image.path))
    except InputError as error:
        return str(error).removeprefix(f"{image.path}: ")
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    return f"expected a whole, readable image, found damaged data ({damage})" if damage else ""
