"""Which folders of this machine a page may choose from, and what is in them.

A page can't hand over a path, so it is shown folders: those below the home folder and the workspace, hidden
ones left out, and no link is followed that leads anywhere else.
"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fastapi import HTTPException

from partdistillation.data.image_folder import EXTENSIONS
from partdistillation.data.paths import is_file, is_folder

_MOST_LISTED = 500
_MOST_COUNTED = 20_000
_SECONDS = 0.6
"""For counting photographs, in all folders of a listing together."""
_EXAMPLES = 6


class Contents(NamedTuple):
    """Photographs in and below a folder."""

    photographs: int
    all_counted: bool
    examples: tuple[str, ...]
    """Paths below the folder."""


class Listing(NamedTuple):
    """A folder to choose, or to go on from."""

    folder: Path
    above: Path | None
    """None where nothing above may be looked at."""
    contents: Contents
    folders: tuple[tuple[str, Contents | None], ...]
    """Those in it; None: there was no time to count."""
    files: tuple[str, ...]
    """Those in it that were asked for."""


class Places:
    """The folders below some others.

    Args:
        roots: that these are, and what is below them; none: nothing may be looked at.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        resolved = dict.fromkeys(root.resolve() for root in roots)
        self.roots = tuple(root for root in resolved if root != Path(root.anchor))

    def folder(self, path: str) -> Path:
        """The folder that a path leads to.

        Raises:
            HTTPException: it isn't one that may be looked at; which of these it is, isn't told.
        """
        resolved = self._resolved(path)
        if resolved is None or not is_folder(resolved):
            raise HTTPException(404, f"expected a folder {self._where()}, found none at {path!r:.200}")
        return resolved

    def file(self, path: str) -> Path:
        """The file that a path leads to.

        Raises:
            HTTPException: as `folder`.
        """
        resolved = self._resolved(path)
        if resolved is None or not is_file(resolved):
            raise HTTPException(404, f"expected a file {self._where()}, found none at {path!r:.200}")
        return resolved

    def holds(self, path: Path) -> bool:
        """Whether a path leads to what may be looked at."""
        try:
            resolved = path.resolve()
        except (OSError, ValueError, RuntimeError):  # links that lead in a circle, among others
            return False
        return any(
            resolved.is_relative_to(root) and not _is_hidden(resolved.relative_to(root))
            for root in self.roots
        )

    def listing(self, path: str, suffixes: Sequence[str] = ()) -> Listing:
        """What is in a folder; of files those that end so.

        Raises:
            HTTPException: it may not be looked at, or can't be listed.
        """
        folder = self.folder(path) if path else self.start
        try:
            names = sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
        except OSError as error:
            raise HTTPException(404, f"{folder} can't be listed: {error.strerror}") from error
        until = time.monotonic() + _SECONDS
        folders = [name for name in names if is_folder(folder / name) and self.holds(folder / name)]
        files = [name for name in names if name.lower().endswith(tuple(suffixes)) and name not in folders]
        return Listing(
            folder,
            folder.parent if self.holds(folder.parent) else None,
            self.contents(folder, until + _SECONDS),
            tuple((name, self._quick(folder / name, until)) for name in folders[:_MOST_LISTED]),
            tuple(files[:_MOST_LISTED]) if suffixes else (),
        )

    @property
    def start(self) -> Path:
        """Where to begin.

        Raises:
            HTTPException: nothing may be looked at.
        """
        if not self.roots:
            raise HTTPException(403, "folders are shown where the studio listens at this machine alone")
        return self.roots[0]

    def contents(self, folder: Path, until: float) -> Contents:
        """The photographs in and below a folder, links not followed; until that instant (monotonic)."""
        count, examples = 0, list[str]()
        for seen, path in enumerate(_walk(folder), start=1):
            if Path(path).suffix.lower() in EXTENSIONS:
                count += 1
                if len(examples) < _EXAMPLES:
                    examples.append(path)
            if seen >= _MOST_COUNTED or time.monotonic() > until:
                return Contents(count, False, tuple(examples))
        return Contents(count, True, tuple(examples))

    def _quick(self, folder: Path, until: float) -> Contents | None:
        return self.contents(folder, until) if time.monotonic() < until else None

    def _resolved(self, path: str) -> Path | None:
        try:
            resolved = Path(path).expanduser().resolve()
        except (OSError, ValueError, RuntimeError):
            return None
        return resolved if Path(path).expanduser().is_absolute() and self.holds(resolved) else None

    def _where(self) -> str:
        if not self.roots:
            return "on this machine, where the studio listens at this machine alone"
        return (
            f"below {' or '.join(map(str, self.roots))} (from elsewhere: `partdistill run --images FOLDER`)"
        )


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _walk(folder: Path) -> Iterator[str]:
    """Files in and below a folder, as paths below it, folder by folder in the order of their names."""
    for here, subfolders, files in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if name[0] != ".")
        for name in sorted(files):
            if name[0] != ".":
                yield Path(here, name).relative_to(folder).as_posix()
