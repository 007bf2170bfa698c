"""A COCO file taken apart into a database, of which a process reads the images that it works at.

A file of 100 MB becomes a gigabyte of Python objects, in every process that reads it. Here the file is gone
through once, an entry at a time; as a whole it is read only where something is wrong with it, to say what.
"""

import json
import os
import shutil
import sqlite3
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from partdistillation.data import foreign_formats
from partdistillation.data.coco_entries import (
    CocoCategory,
    CocoImage,
    id_key,
    notes_on,
    read_annotations,
    read_category,
    read_image,
)
from partdistillation.data.coco_stream import LISTS, Entry, entries
from partdistillation.data.paths import advice
from partdistillation.errors import InputError, StoreError
from partdistillation.runs.atomic import make_folder, replacing_file
from partdistillation.runs.digests import file_digest
from partdistillation.runs.mirror import fetch

_TABLES = (
    "CREATE TABLE notes (note TEXT NOT NULL) STRICT",
    "CREATE TABLE categories (place INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, "
    "fields TEXT NOT NULL) STRICT",
    "CREATE TABLE images (place INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, file_name TEXT NOT NULL, "
    "fields TEXT NOT NULL) STRICT",
    "CREATE TABLE annotations (place INTEGER PRIMARY KEY, image TEXT, entry TEXT NOT NULL) STRICT",
)
_INDEXES = (
    "CREATE INDEX images_by_name ON images (file_name)",
    "CREATE INDEX annotations_by_image ON annotations (image)",
)
_ORPHANS = "SELECT count(*) FROM annotations WHERE image IS NULL OR image NOT IN (SELECT key FROM images)"
_COPIED = 2**20


@dataclass(frozen=True)
class CocoDatabase:
    """What `taken_apart` makes of a file; opened when it is first asked for something."""

    path: Path

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the file isn't used."""
        return tuple(note for (note,) in self.rows("SELECT note FROM notes ORDER BY rowid"))

    @property
    def orphans(self) -> int:
        """How many annotations belong to no image."""
        (count,) = next(self.rows(_ORPHANS))
        return int(count)

    def rows(self, query: str, *values: str | int) -> Iterator[Any]:
        """What a query finds, a row at a time.

        Raises:
            StoreError: the database is damaged.
        """
        try:
            yield from self._connection.execute(query, values)
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self.path} is damaged ({error}): delete it and run the same command again"
            ) from error

    @cached_property
    def _connection(self) -> sqlite3.Connection:
        """To read what nobody changes any more: without locks, which some network disks lack."""
        fetch(self.path)
        uri = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        weakref.finalize(self, connection.close)
        return connection

    def __reduce__(self) -> tuple[type["CocoDatabase"], tuple[Path]]:
        """Another process opens it for itself."""
        return CocoDatabase, (self.path,)


def taken_apart(path: Path, folder: Path | None = None) -> CocoDatabase:
    """The database of a COCO instances file: in a folder, where it may be already, or a passing one.

    Raises:
        InputError: the file can't be used as a whole.
        StoreError: the folder can't be written.
    """
    if folder is None:
        return _passing(path)
    database = CocoDatabase(database_of(path, folder))
    if not fetch(database.path).exists():
        made = _passing(path)
        with made.path.open("rb") as file, replacing_file(make_folder(folder) / database.path.name) as write:
            while piece := file.read(_COPIED):
                write(piece)
    return database


def database_of(path: Path, folder: Path) -> Path:
    """Where `taken_apart` puts it: by the file's content, so that it is never one of another file.

    Raises:
        InputError: there is no such file.
    """
    try:
        digest = file_digest(path)
    except OSError:
        _read_document(path)  # says what is wrong
        raise
    return folder / f"annotations-{digest[:16]}.sqlite"


def _passing(path: Path) -> CocoDatabase:
    """A database that is deleted when nobody reads it any more."""
    folder = Path(tempfile.mkdtemp(prefix="partdistillation-"))
    database = CocoDatabase(folder / "coco.sqlite")
    weakref.finalize(database, _delete, folder, os.getpid())
    _make(path, database)
    return database


def _delete(folder: Path, process: int) -> None:
    if os.getpid() == process:  # and not one that was forked from it
        shutil.rmtree(folder, ignore_errors=True)


def _make(path: Path, database: CocoDatabase) -> None:
    try:
        try:
            _fill(database.path, entries(path))
        except (OSError, ValueError, RecursionError, InputError):
            whole = _read_whole(path)  # says what is wrong
            database.path.unlink()  # nothing is: a list is there twice, say
            _fill(database.path, whole)
    except sqlite3.Error as error:
        raise StoreError(
            f"can't take {path} apart in {database.path.parent} ({error}): make room there, as much as the "
            "file takes, or name another folder as TMPDIR"
        ) from error


def _fill(database: Path, some: Iterable[Entry]) -> None:
    places: Counter[str] = Counter()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = OFF")
        for statement in _TABLES:
            connection.execute(statement)
        for key, entry, text in some:
            _add(connection, key, places[key], entry, text)
            places[key] += 1
        for statement in _INDEXES:
            connection.execute(statement)
        connection.executemany("INSERT INTO notes VALUES (?)", [(note,) for note in _notes(connection)])


def _add(connection: sqlite3.Connection, key: str, place: int, entry: object, text: str) -> None:
    match key:
        case "images":
            image = read_image(entry, place)
            row = (place, str(image.id), image.file_name, json.dumps(astuple(image)))
            _add_once(connection, key, row)
        case "categories":
            category = read_category(entry, place)
            _add_once(connection, key, (place, str(category.id), json.dumps(astuple(category))))
        case _:
            image_key = _image_key(entry) if isinstance(entry, dict) else None
            connection.execute("INSERT INTO annotations VALUES (?, ?, ?)", (place, image_key, text))


def _image_key(entry: dict[str, object]) -> str | None:
    """None for what can't be text, which no image has as its id."""
    key = id_key(entry.get("image_id"))
    try:
        key.encode()
    except UnicodeEncodeError:
        return None
    return key


def _add_once(connection: sqlite3.Connection, table: str, row: tuple[int | str, ...]) -> None:
    """An entry that is repeated as it is counts once."""
    marks = ", ".join("?" * len(row))
    added = connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row).rowcount
    if not added:
        (fields,) = connection.execute(f"SELECT fields FROM {table} WHERE key = ?", (row[1],)).fetchone()
        if fields != row[-1]:
            raise ValueError(f"expected unique ids in `{table}`, found {row[1]} twice")


def _notes(connection: sqlite3.Connection) -> tuple[str, ...]:
    rows = connection.execute("SELECT key, fields FROM categories")
    categories = {key: CocoCategory(*json.loads(fields)) for key, fields in rows}
    crowds = repeated = 0
    rows = connection.execute(
        "SELECT images.key, fields, annotations.place, entry FROM annotations "
        "JOIN images ON images.key = annotations.image ORDER BY image, annotations.place"
    )
    for (key, fields), of_image in groupby(rows, key=itemgetter(0, 1)):
        image = CocoImage(*json.loads(fields))
        placed = ((place, json.loads(text)) for *_, place, text in of_image)
        read = read_annotations(placed, {key: image}, categories)
        crowds, repeated = crowds + read.crowds, repeated + read.repeated
    (orphans,) = connection.execute(_ORPHANS).fetchone()
    return notes_on(orphans, crowds, repeated)


# ---------------------------------------------------------------------- the whole file


def _read_whole(path: Path) -> list[Entry]:
    """All entries.

    Raises:
        InputError: the file can't be used as a whole.
    """
    document = _read_document(path)
    try:
        _require_unique("categories", [read_category(e, i) for i, e in enumerate(document["categories"])])
        _require_unique("images", [read_image(e, i) for i, e in enumerate(document["images"])])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return [Entry(key, entry, json.dumps(entry)) for key in LISTS for entry in document[key]]


def _read_document(path: Path) -> Mapping[str, list[object]]:
    """The JSON with its three lists.

    Raises:
        InputError: it is something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(
            f"{path}: expected a COCO JSON file, found {error.strerror}; {advice(path)}"
        ) from error
    # JSON and UTF-8 errors are ValueErrors; a nesting of thousands of brackets is a RecursionError.
    except (ValueError, RecursionError) as error:
        known = _ending(foreign_formats.of_file(path))
        raise InputError(
            f"{path}: expected JSON in UTF-8, found a file that isn't ({error}){known}"
        ) from error
    known = _ending(foreign_formats.of_document(document))
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise InputError(f"{path}: expected a JSON object with `images`, found a {kind}{known}")
    for key in LISTS:
        if not isinstance(document.get(key), list):
            kind = type(document[key]).__name__ if key in document else "nothing"
            raise InputError(f"{path}: expected a list `{key}` as in COCO instances, found {kind}{known}")
    return {key: document[key] for key in LISTS}


def _ending(known: str) -> str:
    return f": {known}" if known else ""


_Entry = TypeVar("_Entry", CocoImage, CocoCategory)


def _require_unique(key: str, some: Sequence[_Entry]) -> None:
    """An entry that is repeated as it is counts once."""
    by_id: dict[str, _Entry] = {}
    for index, entry in enumerate(some):
        if by_id.setdefault(str(entry.id), entry) != entry:
            raise InputError(
                f"expected unique ids in `{key}`, found {entry.id!r} twice ({key}[{index}]) for different "
                "entries; its annotations can't be told apart: give every entry its own id"
            )
