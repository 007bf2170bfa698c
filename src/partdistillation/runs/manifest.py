"""A stage's manifest: what its rows depend on, which shards it has, and which of them are committed.

`manifest.json` is only ever replaced whole. Between two replacements each commit appends a line to
`journal.jsonl`; opening the stage folds it into the manifest. A line that is lost or torn costs the
redoing of one shard, never a shard that is wrong: it is written after the shard is safely on disk.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from partdistillation.errors import SettingsChanged, StoreError
from partdistillation.runs.atomic import append_line, remove_file, replace_file
from partdistillation.runs.mirror import refresh
from partdistillation.runs.records import Row, parquet_schema
from partdistillation.runs.shards import Input, Shard
from partdistillation.runs.versions import versions

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

FORMAT_VERSION = 2
"""To be raised when the files' layout changes, or a stage's rows do for the same inputs and settings."""

MANIFEST = "manifest.json"
JOURNAL = "journal.jsonl"
_SHOWN = 5


@dataclass(frozen=True)
class Entry:
    """One shard: `sha256` and `size` (bytes) of its file, empty and 0 until it is committed."""

    name: str
    file: str
    rows: int
    fingerprint: str
    sha256: str = ""
    size: int = 0


@dataclass(frozen=True)
class Manifest:
    """A stage folder's contents. Everything but `sha256` and `size` is known before the first shard.

    `versions` are those of the software that made the shards, by package. They decide nothing.
    """

    format: int
    row: str
    columns: str
    settings: Mapping[str, Any]
    upstream: Mapping[str, str]
    shards: tuple[Entry, ...]
    versions: Mapping[str, str] = field(default_factory=dict)

    def dump(self) -> bytes:
        return (json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def canonical_hash(value: Json) -> str:
    """SHA-256 of a value's JSON, which doesn't depend on the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plan(
    row: type[Row], shards: Iterable[Shard[Input]], settings: Mapping[str, Json], upstream: Mapping[str, str]
) -> Manifest:
    """The manifest of a stage before its first shard.

    Raises:
        StoreError: no shards, or two of the same name.
    """
    # Through JSON and back, so that a tuple equals the list it will be read as.
    plain = json.loads(json.dumps(settings, sort_keys=True, allow_nan=False))
    columns = hashlib.sha256(str(parquet_schema(row)).encode()).hexdigest()
    manifest = Manifest(FORMAT_VERSION, row.__name__, columns, plain, dict(sorted(upstream.items())), ())
    base = canonical_hash({key: value for key, value in asdict(manifest).items() if key != "versions"})
    entries = tuple(_planned(shard, base) for shard in shards)
    if not entries or len({entry.name.lower() for entry in entries}) < len(entries):
        raise StoreError(f"expected shards with different names, found {[e.name for e in entries][:10]}")
    return replace(manifest, shards=entries, versions=versions())


def _planned(shard: Shard[Input], base: str) -> Entry:
    inputs = [_without_paths(asdict(item)) for item in shard.inputs]  # type: ignore[call-overload]
    fingerprint = canonical_hash({"stage": base, "shard": shard.name, "inputs": inputs})
    return Entry(shard.name, shard.file, len(inputs), fingerprint)


def _without_paths(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if not isinstance(value, Path)}


def load(folder: Path) -> Manifest:
    """Read a stage's manifest, with its journal.

    Raises:
        StoreError: it is missing, damaged, or of another format version.
    """
    path, journal = refresh(folder / MANIFEST), folder / JOURNAL
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(
            f"expected a stage's folder, found no {path}: run the stage that writes it, or give its folder"
        ) from None
    return parsed(folder, content, journal.read_bytes() if journal.exists() else b"")


def parsed(folder: Path, content: bytes, journal: bytes) -> Manifest:
    """The manifest of a folder, from its two files.

    Raises:
        StoreError: it is damaged, or of another format version.
    """
    path = folder / MANIFEST
    try:
        fields = json.loads(content)
        if fields["format"] == FORMAT_VERSION:
            entries = [Entry(**entry) for entry in fields["shards"]]
            return Manifest(**{**fields, "shards": tuple(_with_journal(entries, journal))})
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"expected a manifest in {path}, found something else ({error}). "
            f"Delete {folder} and run the stage again."
        ) from None
    raise StoreError(
        f"expected format version {FORMAT_VERSION} in {path}, found {fields['format']}. "
        f"Use the version of the software that wrote it, or delete {folder} and run the stage again."
    )


def save(folder: Path, manifest: Manifest) -> None:
    """Write the manifest and drop the journal, which it holds now. Killed in between, the two say the same.

    A manifest that is on disk already isn't written again.
    """
    path = folder / MANIFEST
    data = manifest.dump()
    if not path.exists() or path.read_bytes() != data:
        replace_file(path, data)
    if (folder / JOURNAL).exists():
        remove_file(folder / JOURNAL)


def record(folder: Path, entry: Entry) -> None:
    """Say that a shard is committed. Its file is on disk already."""
    append_line(folder / JOURNAL, json.dumps(asdict(entry), ensure_ascii=False).encode())


def _with_journal(entries: Sequence[Entry], journal: bytes) -> Iterator[Entry]:
    committed = {entry.name: entry for entry in _journal_entries(journal)}
    for entry in entries:
        later = committed.get(entry.name)
        yield later if later is not None and later.fingerprint == entry.fingerprint else entry


def _journal_entries(journal: bytes) -> Iterator[Entry]:
    for line in journal.splitlines(keepends=True):
        try:
            yield Entry(**json.loads(line))
        except (ValueError, TypeError):
            return  # torn by a kill: this shard and later ones are redone


def check_unchanged(folder: Path, before: Manifest, now: Manifest) -> None:
    """Refuse to mix rows of two origins in one folder.

    Raises:
        SettingsChanged: names each setting, upstream stage or shard that differs.
    """
    changes = _changes(before, now)
    if changes:
        raise SettingsChanged(
            f"{folder} was started with other settings or inputs:\n  "
            + "\n  ".join(changes)
            + f"\nGo back to the old ones, choose another --out, or delete {folder} to do this stage again."
        )


def _changes(before: Manifest, now: Manifest) -> list[str]:
    changes = differences(before.settings, now.settings)
    if before.row != now.row:
        changes.append(f"rows: were {before.row}, are now {now.row}")
    elif before.columns != now.columns:
        changes.append(f"rows: the columns of {before.row} have changed with the software's version")
    for name in sorted(before.upstream.keys() | now.upstream.keys()):
        if before.upstream.get(name) != now.upstream.get(name):
            changes.append(f"upstream {name}: its contents aren't those that this stage was started with")
    # A shard's fingerprint covers all of the above: only where they agree does it tell about the inputs.
    return changes or _input_changes(before.shards, now.shards)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two nested groups of settings, a sentence each, by their dotted names."""
    flat_before, flat_now = _flat(before), _flat(now)
    changes = []
    for key in sorted(flat_before.keys() | flat_now.keys()):
        old, new = (json.dumps(side[key]) if key in side else "not set" for side in (flat_before, flat_now))
        if old != new:
            changes.append(f"{key}: was {old}, is now {new}")
    return changes


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _input_changes(before: Sequence[Entry], now: Sequence[Entry]) -> list[str]:
    old, new = ({entry.name: entry for entry in entries} for entries in (before, now))
    changes = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            changes.append(f"inputs: shard {name} had {old[name].rows}, is gone")
        elif name not in old:
            changes.append(f"inputs: shard {name} wasn't there, has {new[name].rows} now")
        elif old[name].rows != new[name].rows:
            changes.append(f"inputs: shard {name} had {old[name].rows}, has {new[name].rows} now")
        elif old[name].fingerprint != new[name].fingerprint:
            changes.append(f"inputs: shard {name} has as many as before, but not the same ones")
    more = len(changes) - _SHOWN
    return [*changes[:_SHOWN], *([f"inputs: {more} more shards differ"] if more > 0 else [])]
