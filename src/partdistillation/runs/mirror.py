"""A run in a bucket as a folder on this machine's disk: its mirror, of which the bucket is the truth.

What is written goes to the bucket first and then takes its place here; what is read is brought here when it
is asked for and isn't here, or is another there. So all other modules work with paths, wherever the run is. A
mirror may be deleted at any time. What begins with a dot (locks, files half-written) is this machine's alone.

    MIRROR/url         what is mirrored
    MIRROR/marks/...   for each file that is here, the mark that its content has in the bucket (ETag)
    MIRROR/NAME/...    the files
"""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import uuid4

from partdistillation.runs.object_storage import ObjectStorage, known_bucket, open_bucket
from partdistillation.settings import as_url

_URL, _MARKS = "url", "marks"
_STAGE = "manifest.json"
"""In a folder of rows, which are brought here one by one."""
_LAST = (_STAGE, "sha256.json", "training.json")
"""What says of a folder that it is whole: goes to the bucket after all else."""
AT_ONCE = 16
"""Requests that are made at the same time, where there are many."""
SECONDS_TO_SETTLE = 10.0
"""Within which what was put into a bucket may not be seen there yet: until then this machine knows better."""
_LEFT_THERE = ("checkpoints", "claims", "pictures", "report")
"""Folders that are brought here only when they are asked for."""


def open_mirror(url: str) -> Path:
    """The folder that mirrors a run, as the bucket has it now, but for its rows and checkpoints.

    It is in `partdistillation/runs` in `$XDG_CACHE_HOME` or `~/.cache`.

    Raises:
        InputError: the URL is of a kind that isn't known, or what it names can't be reached.
        StoreError: the store fails while it is read.
    """
    url = as_url(url)
    open_bucket(url)
    root = _home() / hashlib.sha256(url.encode()).hexdigest()[:16]
    folder = root / PurePosixPath(url).name
    folder.mkdir(parents=True, exist_ok=True)
    _replace(root / _URL, url)
    return refresh_folder(folder)


def is_mirrored(path: Path) -> bool:
    """Whether a file or folder is one of a mirror, or would be."""
    return _mirror_of(path) is not None


def url_of(path: Path) -> str | None:
    """The URL of the run of whose mirror a file or folder is; None outside mirrors."""
    mirror = _mirror_of(path)
    return mirror.url if mirror else None


def storage_at(folder: Path) -> ObjectStorage | None:
    """Where a mirror's folder truly is; None outside mirrors."""
    mirror = _mirror_of(folder)
    return mirror.storage.at(mirror.key(folder)) if mirror else None


def fetch(path: Path, *, again: bool = False) -> Path:
    """Bring a file here that isn't here (with `again`, that is damaged here); the path itself.

    As all functions here that return a path, it does nothing outside mirrors.

    Raises:
        StoreError: the store fails.
    """
    if (mirror := _mirror_of(path)) and (again or not path.exists()):
        mirror.bring(mirror.key(path), again=again)
    return path


def fetch_all(paths: Sequence[Path]) -> None:
    """Bring files here that aren't here, many at once: each takes the time of a request, however small it is.

    Raises:
        StoreError: the store fails.
    """
    if paths and is_mirrored(paths[0]):
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(fetch, paths))


def refresh(path: Path) -> Path:
    """Make a file what it is in the bucket; the path itself.

    Raises:
        StoreError: the store fails.
    """
    if mirror := _mirror_of(path):
        mirror.bring(mirror.key(path))
    return path


def refresh_folder(folder: Path) -> Path:
    """Make a folder what it is in the bucket, but for rows and for some folders in it; the path itself.

    Raises:
        StoreError: the store fails.
    """
    if mirror := _mirror_of(folder):
        mirror.bring_all(mirror.key(folder))
    return folder


@contextmanager
def mirrored(source: Path, path: Path) -> Iterator[None]:
    """Put a file or folder into the bucket, as what it will be called when it has taken its place: within.

    Killed in between, the bucket has it and this machine brings it here.

    Raises:
        StoreError: the store fails; nothing has taken its place.
    """
    mirror = _mirror_of(path)
    if mirror is None:
        yield
        return
    files = [source] if source.is_file() else sorted(filter(Path.is_file, source.rglob("*")), key=_turn)
    marks = {}
    for file in files:
        key = mirror.key(path / file.relative_to(source))
        marks[key] = mirror.storage.upload(key, file)
    yield
    for key, mark in marks.items():
        mirror.record(key, mark, put=True)


def upload(path: Path) -> None:
    """Put a file into the bucket that is written line by line, as it is now."""
    if path.is_file():
        with mirrored(path, path):
            pass


def forget(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, from the bucket; here it is still.

    Raises:
        StoreError: the store fails.
    """
    if mirror := _mirror_of(path):
        mirror.delete(mirror.key(path))


def original(text: str) -> str:
    """A message with the URLs of what it names, in place of their mirrors."""
    for name in set(re.findall(rf"{re.escape(str(_home()))}/([0-9a-f]{{16}})/", text)):
        if mirror := _open(_home() / name):
            text = text.replace(str(mirror.folder), mirror.url)
    return text


def _turn(file: Path) -> tuple[int, Path]:
    return (_LAST.index(file.name) + 1 if file.name in _LAST else 0), file


@dataclass(frozen=True)
class _Mirror:
    root: Path
    folder: Path
    url: str
    storage: ObjectStorage

    def key(self, path: Path) -> str:
        """What a file or folder is called in the bucket."""
        inside = path.absolute().relative_to(self.folder)
        return "" if inside == Path() else inside.as_posix()

    def bring(self, key: str, *, again: bool = False) -> bool:
        """Make a file what it is in the bucket; whether it is there."""
        if not again and self._is_settling(key):
            return True
        path = self.folder / key
        temporary = _temporary(self.root)
        try:
            mark = self.storage.download(key, temporary, "" if again else self._mark(key))
            if mark is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(temporary, path)  # noqa: PTH105
                self.record(key, mark)
        except FileNotFoundError:
            self._drop(key)
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def bring_all(self, folder: str) -> None:
        """Make a folder what it is in the bucket."""
        files, folders = self.storage.entries(folder)
        for name, mark in files.items():
            key = _inside(folder, name)
            if not _is_apart(name) and self._mark(key) != mark:
                self.bring(key)
        for name in folders:
            key = _inside(folder, name)
            if name not in _LEFT_THERE and not self.bring(_inside(key, _STAGE)):
                self.bring_all(key)
        self._drop_others(folder, {*files, *folders})

    def record(self, key: str, mark: str, *, put: bool = False) -> None:
        """Remember the mark of a file that has just come here, or (`put`) was put into the bucket."""
        path = self._mark_file(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, mark)
        if not put:
            os.utime(path, (0, 0))

    def delete(self, key: str) -> None:
        """Remove a file or folder from the bucket."""
        files, folders = self.storage.entries(key)
        for name in (*files, *folders):
            self.delete(_inside(key, name))
        if not files and not folders:
            self.storage.delete(key)
            self._mark_file(key).unlink(missing_ok=True)

    def _drop_others(self, folder: str, names: set[str]) -> None:
        """Remove what was in the bucket and isn't any more: a list may be late, so it is asked once more."""
        marks = self.root / _MARKS / folder
        for path in marks.iterdir() if marks.is_dir() else ():
            key = _inside(folder, path.name.removesuffix(".mark"))
            if key.rpartition("/")[2] in names:
                continue
            if path.is_file() and not self._is_there(key):
                self._drop(key)
            elif path.is_dir() and not any(map(self._is_there, self._marked(path))):
                shutil.rmtree(self.folder / key, ignore_errors=True)
                shutil.rmtree(path, ignore_errors=True)

    def _is_settling(self, key: str) -> bool:
        mark, path = self._mark_file(key), self.folder / key
        return path.exists() and mark.exists() and time.time() - mark.stat().st_mtime < SECONDS_TO_SETTLE

    def _drop(self, key: str) -> None:
        if (mark := self._mark_file(key)).exists():
            (self.folder / key).unlink(missing_ok=True)
            mark.unlink(missing_ok=True)

    def _is_there(self, key: str) -> bool:
        return self._is_settling(key) or self.storage.exists(key)

    def _marked(self, marks: Path) -> list[str]:
        files = [path.relative_to(self.root / _MARKS).as_posix() for path in marks.rglob("*.mark")]
        return [file.removesuffix(".mark") for file in files]

    def _mark(self, key: str) -> str:
        """The mark of a file, if it is here."""
        mark = self._mark_file(key)
        return mark.read_text(encoding="utf-8") if mark.is_file() and (self.folder / key).is_file() else ""

    def _mark_file(self, key: str) -> Path:
        return self.root / _MARKS / f"{key}.mark"


def _mirror_of(path: Path) -> _Mirror | None:
    """The mirror that a file or folder is mirrored by, if it is."""
    path, home = path.absolute(), _home()
    if home not in path.parents:
        return None
    name, *inside = path.relative_to(home).parts
    mirror = _open(home / name)
    if not mirror or inside[:1] != [mirror.folder.name] or any(part.startswith(".") for part in inside[1:]):
        return None
    return mirror


def _open(root: Path) -> _Mirror | None:
    try:
        url = (root / _URL).read_text(encoding="utf-8")
    except OSError:
        return None
    return _Mirror(root, root / PurePosixPath(url).name, url, known_bucket(url))


def _home() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache.resolve() / "partdistillation" / "runs"


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _is_apart(name: str) -> bool:
    """Whether a file is brought here only when it is asked for, or never."""
    return name.startswith(".") or name.endswith((".parquet", ".files.json"))


def _replace(path: Path, text: str) -> None:
    temporary = _temporary(path.parent)
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)  # noqa: PTH105


def _temporary(folder: Path) -> Path:
    return folder / f".{uuid4().hex}"
