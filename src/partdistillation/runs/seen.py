"""Which files stage 1 has read: so that later stages notice where there are others in their place.

Beside a shard of stage 1 lies `SHARD.files.json`: for every photograph that can be used, and its masks, the
size, the time of change and the SHA-256. Where size and time are as they were, so is the file taken to be;
where only the time is another, as after copying a data set, the contents decide.
"""

import hashlib
import json
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from partdistillation.errors import InputError, StoreError
from partdistillation.runs import listings, terminal
from partdistillation.runs import manifest as manifests
from partdistillation.runs.archives import place_of
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.digests import file_digest
from partdistillation.runs.mirror import fetch

_SUFFIX = ".files.json"
_LISTED = 5
_log = terminal.logger(__name__)

Kind = Literal["photographs", "masks"]


class Seen(NamedTuple):
    """A file as it was."""

    size: int
    modified: int
    """Nanoseconds since 1970."""
    sha256: str


def places(images: Path | None, masks: Path | None) -> dict[Kind, Callable[[str], Path]]:
    """From names to files, for folders that are there."""
    folders: dict[Kind, Path | None] = {"photographs": images, "masks": masks}
    return {
        kind: folder.joinpath
        for kind, folder in folders.items()
        if folder is not None and (folder.is_dir() or listings.is_folder(folder))
    }


def look(path: Path) -> Seen | None:
    """A file as it is now; None where it can't be read, which whoever needs it will say."""
    try:
        size, modified, regular = _status(path)
        if not regular:  # a pipe would be waited for
            return None
        place = None if path.is_file() else place_of(path)
        digest = hashlib.sha256(place.read()).hexdigest() if place else file_digest(path)
        return Seen(size, modified, digest)
    except (OSError, ValueError, InputError):
        return None


def _status(path: Path) -> tuple[int, int, bool]:
    """Size in bytes, time of change (an archive's of its members) in nanoseconds, whether it is a file."""
    if not path.exists() and (place := place_of(path)):
        return place.size, place.modified, True
    status = path.stat()
    return status.st_size, status.st_mtime_ns, stat.S_ISREG(status.st_mode)


def record(folder: Path, shard: str, files: Mapping[Kind, Mapping[str, Seen]]) -> None:
    """Write what the rows of a shard were made from; files by the names that they have in their folder.

    Raises:
        StoreError: the folder can't be written.
    """
    values = {kind: {name: list(seen) for name, seen in of_kind.items()} for kind, of_kind in files.items()}
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    replace_file(folder / f"{shard}{_SUFFIX}", f"{text}\n".encode())


def require_unchanged(folder: Path, places: Mapping[Kind, Callable[[str], Path]]) -> None:
    """Make sure that the files which stage 1 read are the same still, those that are there.

    Args:
        folder: stage 1's.
        places: from a file's name to where it is.

    Raises:
        InputError: some have changed; the message names them.
    """
    found = list(changes(folder, places))
    if found:
        more = f"\n  and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        raise InputError(
            f"expected the files from which {folder} was made, found others in their place:\n  "
            + "\n  ".join(found[:_LISTED])
            + f"{more}\nPut the old ones back; or choose another --out, or delete {folder} and what was made "
            "after it, to begin again with the new ones."
        )


def warn_of_changes(folder: Path, places: Mapping[Kind, Callable[[str], Path]]) -> None:
    """As `require_unchanged`, for what only shows the files: the log names them."""
    found = list(changes(folder, places)) if (folder / manifests.MANIFEST).is_file() else []
    for change in found[:_LISTED]:
        _log.warning("another file than %s was made from is shown: %s", folder, change)
    if len(found) > _LISTED:
        _log.warning("... and %d more", len(found) - _LISTED)


def changes(
    folder: Path, places: Mapping[Kind, Callable[[str], Path]], *, deep: bool = False, absent: bool = False
) -> Iterator[str]:
    """What of the files that stage 1 read has changed, a sentence each.

    `deep` compares all contents; with `absent` files that can't be got at are changes too.

    Raises:
        StoreError: what stage 1 wrote is damaged.
    """
    if not places and not absent:
        return
    records = _records(folder)
    if absent and is_recorded(folder):
        lost = (path for path in records if not path.is_file())
        yield from (f"{path} is missing: what it names can't be compared" for path in lost)
    for record in records:
        for kind, files in _read(record).items():
            if (place := places.get(kind)) is not None:
                yield from filter(None, (_change(place(name), seen, deep, absent) for name, seen in files))


def _change(path: Path, seen: Seen, deep: bool, absent: bool) -> str | None:
    try:
        size, modified, _ = _status(path)
    except (OSError, ValueError, InputError) as error:
        return f"{path}: can't be read ({error})" if absent else None
    if size != seen.size:
        return f"{path}: {size} bytes instead of {seen.size}"
    if modified == seen.modified and not deep:
        return None
    now = look(path)
    return None if now is None or now.sha256 == seen.sha256 else f"{path}: other contents of the same size"


def is_recorded(folder: Path) -> bool:
    """Whether stage 1 has written what it read; older software didn't."""
    return any(path.is_file() for path in _records(folder))


def _records(folder: Path) -> list[Path]:
    committed = (entry.name for entry in manifests.load(folder).shards if entry.sha256)
    return [folder / f"{name}{_SUFFIX}" for name in committed]


def _read(path: Path) -> dict[Kind, list[tuple[str, Seen]]]:
    try:
        values = json.loads(fetch(path).read_bytes())
        return {
            kind: [(name, Seen(*seen)) for name, seen in values.get(kind, {}).items()]
            for kind in ("photographs", "masks")
        }
    except FileNotFoundError:  # older software wrote none
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{path}: expected what stage 1 has read, found {error}. Delete this file to go on without."
        ) from error
