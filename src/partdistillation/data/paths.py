"""Paths that other people's files name: whether something is there, and the likely cause where it isn't.

Messages name what lies beside a path, never where the data set lies: rows must not depend on it.
"""

import os
import unicodedata
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from partdistillation.runs import listings
from partdistillation.runs.archives import place_of

LONGEST_NAME = 255
"""Bytes of a file name, on all usual file systems."""
_LISTED = 100_000
"""Of larger folders only so many entries are compared with a missing name."""
_SUBFOLDERS = 50
_LEVELS = 6


def is_file(path: Path) -> bool:
    """Whether there is a file that can be got at, in an archive or a listing too; a refused path is none."""
    try:
        return path.is_file() or place_of(path) is not None
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder that can be got at, on a disk or in a listing; one in an archive is none."""
    try:
        return path.is_dir() or listings.is_folder(path)
    except (OSError, ValueError):
        return False


def absence(path: Path) -> str:
    """Why there is no file, after the word "found", and what to do; empty where there is one.

    Raises:
        InputError: it should be in an archive, which is damaged.
    """
    try:
        if path.is_file():
            return ""
        if path.is_dir():
            return "a directory; check the path"
        if path.is_symlink():
            return f"a link that leads to no file; check what it leads to, {str(path.readlink())!r:.200}"
        if path.exists():
            return "a pipe or a device; put a file in its place"
        if place := place_of(path):
            return place.problem
    except (OSError, ValueError) as error:
        return f"{refusal(path, error)}; {_remedy(path)}"
    return f"no such file; {advice(path)}"


def refusal(path: Path, error: OSError | ValueError) -> str:
    """What the system says to a path, without the path."""
    if long := _too_long(path):
        return f"a name of {len(os.fsencode(long))} bytes, of which {LONGEST_NAME} are possible"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _remedy(path: Path) -> str:
    return "rename the file" if _too_long(path) else "check the rights of its folder"


def _too_long(path: Path) -> str:
    return next((part for part in path.parts if len(os.fsencode(part)) > LONGEST_NAME), "")


def advice(path: Path) -> str:
    """The likely cause of a path's not being there, as an end of a message; else that it be checked."""
    return likely_cause(path) or "check the path"


def likely_cause(path: Path) -> str:
    """Why a path isn't there, by what lies beside it; empty where nothing is alike."""
    causes = (_backslashes, _near_name, _folder_too_many, _folder_too_few)
    try:
        return next((text for cause in causes if (text := cause(path))), "")
    except (OSError, ValueError):  # a folder that may not be listed
        return ""


def in_brackets(path: Path) -> str:
    """The likely cause, if any, to follow the name of a path that isn't there."""
    cause = likely_cause(path)
    return f" ({cause})" if cause else ""


def _backslashes(path: Path) -> str:
    """The path with slashes for its own backslashes, or a file with backslashes in its name."""
    if "\\" in str(path) and Path(str(path).replace("\\", "/")).exists():
        return "with / for its backslashes it is there: change them"
    folder, rest = _until_missing(path)
    if len(rest) > 1 and (folder / "\\".join(rest)).exists():
        return "there is a file with backslashes in its name: move it into folders"
    return ""


def _near_name(path: Path) -> str:
    """A name that differs in letter case, in its Unicode form, or in its suffix."""
    folder, rest = _until_missing(path)
    if not rest:
        return ""
    names = _names(folder)
    name = names.folded.get(_folded(rest[0]))
    if name is None:
        name = names.stems.get(_folded(Path(rest[0]).stem)) if len(rest) == 1 else None
        return f"there is {name!r}, with another suffix" if name else ""
    if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", rest[0]):
        return f"there is {name!r}, which looks the same in another Unicode form (NFC or NFD): rename it"
    return f"there is {name!r}, in other letter case"


def _folder_too_many(path: Path) -> str:
    """The file, some folders up."""
    parts = path.parts
    first = max(1, len(parts) - _LEVELS)
    for length in range(1, len(parts) - first):
        for start in range(len(parts) - 1 - length, first - 1, -1):
            if Path(*parts[:start], *parts[start + length :]).is_file():
                extra = "/".join(parts[start : start + length])
                return f"without {extra + '/'!r} it is there: the name, or the folder given, has one too many"
    return ""


def _folder_too_few(path: Path) -> str:
    """The file, in one of the folders beside where it should be."""
    folder, rest = _until_missing(path)
    for name in _names(folder).folders if rest else ():
        if (folder / name).joinpath(*rest).is_file():
            return f"it is in the folder {name!r} there: the name lacks a folder, or the folder given does"
    return ""


def _until_missing(path: Path) -> tuple[Path, tuple[str, ...]]:
    """The last folder on the way that is there, and the rest of the path."""
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    return folder, path.parts[len(folder.parts) :]


class _Names(NamedTuple):
    """What is in a folder: names by how they compare, by their stems, and folders."""

    folded: dict[str, str]
    stems: dict[str, str]
    folders: tuple[str, ...]


def _names(folder: Path) -> _Names:
    return _listed(folder, folder.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _listed(folder: Path, changed: int) -> _Names:  # noqa: ARG001
    """Kept, as thousands may be missing in one folder; `changed` tells its states apart."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir()) for entry in islice(entries, _LISTED)]
    names = sorted(found)
    return _Names(
        {_folded(name): name for name, _ in names},
        {_folded(Path(name).stem): name for name, is_dir in names if not is_dir},
        tuple(name for name, is_dir in names if is_dir)[:_SUBFOLDERS],
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
