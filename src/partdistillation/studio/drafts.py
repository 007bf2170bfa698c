"""Runs that are to begin: a hidden folder each, for photographs that are dropped into the page.

It becomes the run's folder when the run begins, and goes when the visitor cancels, or a day later.
"""

import re
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path

from fastapi import HTTPException

from partdistillation.data.apart import decode_apart
from partdistillation.data.decoding import MAX_PIXELS, MAX_REDUCED_PIXELS
from partdistillation.data.headers import MOST_SCANS, other_format, read_header
from partdistillation.data.image_folder import EXTENSIONS
from partdistillation.errors import InputError
from partdistillation.runs.atomic import make_folder, remove_file, remove_folder, replace_file
from partdistillation.runs.run_folder import FIRST_LOOK, STUDIO
from partdistillation.runs.stage_log import EXPECTED
from partdistillation.studio.file_names import safe_name
from partdistillation.studio.processes import Command
from partdistillation.studio.workspace import Workspace

PHOTOGRAPHS = "photographs"
"""In a run's folder: those that were dropped into the page, in folders of their classes."""
MOST_FILES = 5_000
MOST_BYTES = 8 << 30
"""Of all photographs of a run."""

_MOST_DRAFTS = 20
_PREFIX = ".new-"
_KEY = re.compile(r"[0-9a-f]{16}")
_DAY = 86_400.0


class Drafts:
    """The runs of a workspace that are to begin."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._adding = threading.Lock()

    def begin(self) -> str:
        """The key of a new one.

        Raises:
            HTTPException: there are many, or this studio shows one run.
        """
        if self._workspace.is_run:
            raise HTTPException(409, "this studio shows one run: start it on a folder of runs for others")
        self._forget()
        drafts = sorted(self._all(), key=lambda draft: draft.stat().st_mtime)
        empty = [draft for draft in drafts if not any(draft.iterdir())]
        if len(drafts) >= _MOST_DRAFTS and empty:  # pages that were opened and left
            remove_folder(empty[0])
        elif len(drafts) >= _MOST_DRAFTS:
            raise HTTPException(409, f"{_MOST_DRAFTS} runs are being prepared: cancel some, or begin them")
        key = secrets.token_hex(8)
        make_folder(self._workspace.folder / f"{_PREFIX}{key}")
        return key

    def out(self, key: str) -> Path:
        """The folder of one.

        Raises:
            HTTPException: there is none, any more.
        """
        folder = self._workspace.folder / f"{_PREFIX}{key}"
        if not _KEY.fullmatch(key) or not folder.is_dir():
            raise HTTPException(404, "this run isn't being prepared any more: begin anew")
        return folder

    def photographs(self, key: str) -> Path:
        """Where its photographs are that were dropped; the folder may not be there."""
        return self.out(key) / PHOTOGRAPHS

    def estimating(self, key: str) -> Command:
        """The process that finds out how long it will take."""
        return Command(self.out(key) / STUDIO / "estimate")

    def cancel(self, key: str) -> None:
        """Keep nothing of it."""
        self._end(self.out(key))

    def settle(self, key: str) -> None:
        """End what goes on for it."""
        end(self.estimating(key))

    def forget_estimate(self, key: str) -> None:
        """End it, and keep nothing of it: something else was chosen."""
        self.settle(key)
        out = self.out(key)
        for note in (EXPECTED, FIRST_LOOK):
            remove_file(out / note)
        remove_folder(self.estimating(key).folder)

    def add(self, key: str, category: str, name: str, data: bytes) -> tuple[str, str]:
        """Keep a photograph, once a process that may die has decoded it.

        Args:
            key: of the run.
            category: the object class that it shows; made safe as the name of a folder.
            name: the file's own, made safe.
            data: its contents.

        Returns:
            The class, and the name that it has there.

        Raises:
            HTTPException: there are too many, or it is no photograph that can be read; nothing is kept.
        """
        out, suffix = self.out(key), Path(name).suffix.lower()
        if suffix not in EXTENSIONS:
            raise HTTPException(422, "expected a photograph: JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC")
        self._require_room(out, len(data))
        checked = out / f".{secrets.token_hex(8)}{suffix}"
        replace_file(checked, data)
        try:
            _require_readable(checked, data)
            folder = make_folder(self.photographs(key) / safe_name(category, "things"))
            with self._adding:
                self._require_room(out, len(data))
                path = _free(folder, safe_name(Path(name).stem, "photograph"), suffix, data)
                checked.replace(path)
        finally:
            remove_file(checked)
        return folder.name, path.name

    def _require_room(self, out: Path, size: int) -> None:
        sizes = [path.stat().st_size for path in (out / PHOTOGRAPHS).glob("*/*")]
        if len(sizes) >= MOST_FILES or sum(sizes) + size > MOST_BYTES:
            raise HTTPException(
                413,
                f"expected at most {MOST_FILES:,} photographs of {MOST_BYTES >> 30} GB in all: put more "
                "into a folder of this machine, and choose that",
            )

    def _all(self) -> list[Path]:
        return [path for path in self._workspace.folder.glob(f"{_PREFIX}*") if path.is_dir()]

    def _forget(self) -> None:
        """Remove those that nobody has touched for a day: a page was closed."""
        for folder in self._all():
            with suppress(OSError):
                places = [folder, *folder.glob("*"), *folder.glob(f"{PHOTOGRAPHS}/*")]
                if time.time() - max(path.stat().st_mtime for path in places) > _DAY:
                    self._end(folder)

    @staticmethod
    def _end(folder: Path) -> None:
        end(Command(folder / STUDIO / "estimate"))
        remove_folder(folder)


def end(command: Command) -> None:
    """End a process at once, and wait until it has."""
    for _ in range(100):
        if not command.is_alive():
            return
        command.stop()
        time.sleep(0.1)


def _free(folder: Path, stem: str, suffix: str, data: bytes) -> Path:
    """A place in a folder that isn't taken, or is by the same photograph."""
    for number in range(1, MOST_FILES + 2):
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem} ({number}){suffix}")
        if not path.exists() or path.read_bytes() == data:
            return path
    raise HTTPException(409, "too many photographs of that name")


def _require_readable(path: Path, data: bytes) -> None:
    header = read_header(data)
    pixels = header.width * header.height
    if not header.kind:
        raise HTTPException(422, f"expected a photograph, found {other_format(data)}")
    if pixels > (MAX_REDUCED_PIXELS if header.kind == "JPEG" else MAX_PIXELS):
        raise HTTPException(422, f"expected at most {MAX_PIXELS // 10**6} megapixels, found more")
    if header.scans > MOST_SCANS:
        raise HTTPException(422, f"expected a JPEG of at most {MOST_SCANS} scans, found more")
    try:
        pixels = pixels or MAX_PIXELS
        decode_apart(path, "rgb", strict=True, pixels=min(pixels, MAX_REDUCED_PIXELS))
    except InputError as error:
        raise HTTPException(422, str(error).removeprefix(f"{path}: ")) from error
