"""The folder that a studio works in: its runs, by name, and the secret of its server."""

import secrets
from pathlib import Path

from fastapi import HTTPException

from partdistillation.config import CONFIG_FILE
from partdistillation.review.store import tidy
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.manifest import MANIFEST
from partdistillation.runs.run_folder import PARTS, STUDIO
from partdistillation.studio.file_names import FORBIDDEN

BEGUN = f"{STUDIO}/process.json"
"""What a run has that was begun here, before it has written its settings."""
PREDICTED = f"{PARTS[-1]}/{MANIFEST}"
"""What a folder has that `partdistill predict` wrote: parts, and no settings."""
_MARKS = (CONFIG_FILE, BEGUN, PREDICTED)
_SECRET = ".studio-secret"
_MAX_NAME = 60


class Workspace:
    """A folder of runs, or one run alone.

    Args:
        folder: where runs are, or are to be; it is made. A run itself is the only one of its studio.
        images: folder of the photographs that are looked at; without it each run's own.
        clicks_model: SAM or SAM 2, a folder or published, which says what clicks mean.
    """

    def __init__(self, folder: Path, images: Path | None = None, clicks_model: str = "") -> None:
        self.folder = make_folder(folder).resolve()
        self.images, self.clicks_model = images, clicks_model
        self.is_run = any((self.folder / mark).is_file() for mark in (CONFIG_FILE, PREDICTED))
        self.secret = self._secret()

    def names(self) -> list[str]:
        """The runs' names, the latest changed first."""
        if self.is_run:
            return [self.folder.name]
        marks = (
            path.relative_to(self.folder) for mark in _MARKS for path in self.folder.glob(f"[!.]*/{mark}")
        )
        runs = {self.folder / mark.parts[0] for mark in marks}
        return [run.name for run in sorted(runs, key=lambda run: (-_changed(run), run.name))]

    def out(self, name: str) -> Path:
        """The folder of a run. A name comes from outside: it is looked up, never joined to a path.

        Raises:
            HTTPException: there is no such run.
        """
        if name not in self.names():
            raise HTTPException(404, "no such run")
        return self.folder if self.is_run else self.folder / name

    def new(self, name: str) -> Path:
        """The folder for a run that is to begin, which isn't there yet.

        Raises:
            HTTPException: the name can't be a folder's on every system, or is taken.
        """
        if self.is_run:
            raise HTTPException(409, "this studio shows one run: start it on a folder of runs for others")
        tidied = tidy(name)
        if not tidied or len(tidied) > _MAX_NAME or tidied[0] == "." or tidied[-1] == ".":
            raise HTTPException(422, f"expected a name of at most {_MAX_NAME} letters, no dot at its ends")
        if not tidied.isprintable() or set(tidied) & set(FORBIDDEN):
            raise HTTPException(422, f"expected a name without {' '.join(FORBIDDEN)}")
        if (self.folder / tidied).exists():
            raise HTTPException(409, f"there is {tidied!r} already: choose another name")
        return self.folder / tidied

    def _secret(self) -> bytes:
        """Random, and the same after a restart, so that an open page goes on working."""
        path = self.folder / (Path(STUDIO) / _SECRET if self.is_run else _SECRET)
        if not path.is_file():
            make_folder(path.parent)
            replace_file(path, secrets.token_hex(32).encode())
            path.chmod(0o600)
        return path.read_bytes()


def _changed(run: Path) -> float:
    return max((run / name).stat().st_mtime for name in _MARKS if (run / name).is_file())
