"""A COCO file taken apart into a database, of which a process reads the images that it works at.

A file of 100 MB becomes a gigabyte of Python objects, in every process that reads it. Here the file is gone
through once, an entry at a time. What an image's annotations come to is what `coco.read_instances` says.
"""

import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from functools import cached_property, lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from partdistillation.data.coco import (
    Annotations,
    CocoAnnotation,
    CocoCategory,
    CocoDataset,
    CocoImage,
    inputs_of,
    notes_on,
    read_annotations,
    read_document,
    read_instances,
    with_parts_alone,
)
from partdistillation.data.coco_entries import id_key, read_category, read_image
from partdistillation.data.coco_stream import LISTS, Entry, entries
from partdistillation.data.images import ImageInput
from partdistillation.errors import InputError, StoreError
from partdistillation.runs import terminal
from partdistillation.runs.atomic import make_folder, replacing_file
from partdistillation.runs.digests import file_digest
from partdistillation.runs.mirror import fetch
from partdistillation.settings import at_home

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
_COPIED = 2**20

_log = terminal.logger(__name__)


@dataclass(frozen=True)
class StoredCoco:
    """A COCO file whose entries are read from its database when they are asked for; made by `take_apart`."""

    path: Path
    """The COCO file itself, by which it is called."""
    database: Path
    object_class: str = ""
    """Of all categories, if it isn't empty: what `read_parts` calls so."""

    @cached_property
    def categories(self) -> tuple[CocoCategory, ...]:
        """In the file's order."""
        rows = self._rows("SELECT fields FROM categories ORDER BY place")
        categories = (CocoCategory(*json.loads(fields)) for (fields,) in rows)
        if not self.object_class:
            return tuple(categories)
        return tuple(replace(category, supercategory=self.object_class) for category in categories)

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the file isn't used."""
        return tuple(note for (note,) in self._rows("SELECT note FROM notes ORDER BY rowid"))

    def images(self) -> Iterator[CocoImage]:
        """In the file's order."""
        for (fields,) in self._rows("SELECT fields FROM images ORDER BY place"):
            yield CocoImage(*json.loads(fields))

    def inputs(self, images_dir: Path) -> list[ImageInput]:
        """As `CocoDataset.inputs`."""
        return inputs_of(self.images(), images_dir, self.path)

    def log_notes(self) -> None:
        """Say in the log what of the file isn't used."""
        for note in self.notes:
            _log.warning("%s: %s", self.path, note)

    def find(self, image: ImageInput) -> CocoImage | None:
        """The entry of an image: by its id where the file name agrees, else by its file name."""
        entry = self.image(image.image_id)
        if entry is not None and entry.file_name == image.file_name:
            return entry
        return self._image("file_name = ? AND file_name != ''", image.file_name)

    def image(self, key: str) -> CocoImage | None:
        """The entry of an image by its id, as a string."""
        return self._image("key = ?", key)

    def annotations_of(self, image: CocoImage) -> tuple[tuple[CocoAnnotation, ...], tuple[str, ...]]:
        """The annotations of an image, in the file's order, and why others were left out."""
        key = str(image.id)
        rows = self._rows("SELECT place, entry FROM annotations WHERE image = ? ORDER BY place", key)
        read = self._read(image, rows)
        return read.usable.get(key, ()), read.unusable.get(key, ())

    @cached_property
    def _categories(self) -> dict[str, CocoCategory]:
        return {str(category.id): category for category in self.categories}

    @property
    def orphans(self) -> int:
        """How many annotations belong to no entry of `images`."""
        (count,) = next(
            self._rows(
                "SELECT count(*) FROM annotations "
                "WHERE image IS NULL OR image NOT IN (SELECT key FROM images)"
            )
        )
        return int(count)

    def count_notes(self) -> tuple[str, ...]:
        """`notes`, for the one place that writes them."""
        crowds = repeated = 0
        rows = self._rows(
            "SELECT images.fields, annotations.place, entry FROM annotations "
            "JOIN images ON images.key = annotations.image ORDER BY image, annotations.place"
        )
        for fields, of_image in groupby(rows, key=itemgetter(0)):
            image = CocoImage(*json.loads(fields))
            read = self._read(image, ((place, text) for _, place, text in of_image))
            crowds, repeated = crowds + read.crowds, repeated + read.repeated
        return notes_on(self.orphans, crowds, repeated)

    def _read(self, image: CocoImage, rows: Iterable[tuple[int, str]]) -> Annotations:
        placed = ((place, json.loads(text)) for place, text in rows)
        return read_annotations(placed, {str(image.id): image}, self._categories)

    def _image(self, condition: str, value: str) -> CocoImage | None:
        rows = self._rows(f"SELECT fields FROM images WHERE {condition} ORDER BY place DESC LIMIT 1", value)
        return next((CocoImage(*json.loads(fields)) for (fields,) in rows), None)

    def _rows(self, query: str, *values: str) -> Iterator[Any]:
        try:
            yield from _connection(self.database).execute(query, values)
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self.database} is damaged ({error}): delete it and run the same command again"
            ) from error


@lru_cache(maxsize=4)
def _connection(database: Path) -> sqlite3.Connection:
    """To read what nobody changes any more, so that no locks are needed, which some network disks lack."""
    fetch(database)
    uri = f"{database.absolute().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, check_same_thread=False)


def take_apart(path: Path, folder: Path) -> StoredCoco:
    """Write the database of a COCO instances file into a folder, if it isn't there.

    Raises:
        InputError: as `coco.read_instances`.
        StoreError: the folder can't be written.
    """
    path = at_home(path)
    stored = StoredCoco(path, database_of(path, folder))
    if not fetch(stored.database).exists():
        with tempfile.TemporaryDirectory() as name:
            made = _make(path, Path(name)).database
            with made.open("rb") as file, replacing_file(make_folder(folder) / stored.database.name) as write:
                while piece := file.read(_COPIED):
                    write(piece)
    return stored


def read_stored_parts(path: Path, folder: Path, object_class: str = "") -> CocoDataset:
    """As `coco.read_parts`, but an image's annotations are read from `folder` when they are asked for."""
    stored = replace(take_apart(path, folder), object_class=object_class)
    dataset = CocoDataset(
        path=stored.path,
        images=tuple(stored.images()),
        categories=stored.categories,
        annotations=_ByImage(stored, 0),
        unusable=_ByImage(stored, 1),
        notes=stored.notes,
        orphans=stored.orphans,
    )
    return dataset if object_class else with_parts_alone(dataset)


class _ByImage(Mapping[str, Any]):
    """What `StoredCoco.annotations_of` says first or second, of the images of which it says anything."""

    def __init__(self, stored: StoredCoco, place: int) -> None:
        self._stored, self._place = stored, place

    def __getitem__(self, key: str) -> Any:
        image = self._stored.image(key)
        values = () if image is None else self._stored.annotations_of(image)[self._place]
        if not values:
            raise KeyError(key)
        return values

    def __iter__(self) -> Iterator[str]:
        return (str(image.id) for image in self._stored.images() if str(image.id) in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def database_of(path: Path, folder: Path) -> Path:
    """Where `take_apart` puts it: by the file's content, so that it is never one of another file.

    Raises:
        InputError: there is no such file.
    """
    try:
        digest = file_digest(path)
    except OSError:
        read_document(path)  # says what is wrong
        raise
    return folder / f"annotations-{digest[:16]}.sqlite"


def check(path: Path) -> None:
    """Make sure that a COCO instances file can be used as a whole.

    Raises:
        InputError: as `coco.read_instances`.
    """
    with tempfile.TemporaryDirectory() as name:
        _make(at_home(path), Path(name))


def _make(path: Path, folder: Path) -> StoredCoco:
    stored = StoredCoco(path, folder / "coco.sqlite")
    try:
        try:
            _fill(stored.database, entries(path))
        except (OSError, ValueError, RecursionError, InputError):
            read_instances(path)  # says what is wrong
            stored.database.unlink()  # nothing is: a list is there twice, say
            document = read_document(path)
            whole = ((key, entry) for key in LISTS for entry in document[key])
            _fill(stored.database, (Entry(key, entry, json.dumps(entry)) for key, entry in whole))
        with closing(sqlite3.connect(stored.database)) as connection, connection:
            connection.executemany("INSERT INTO notes VALUES (?)", [(note,) for note in stored.count_notes()])
    except sqlite3.Error as error:
        raise StoreError(
            f"can't take {path} apart in {folder} ({error}): make room there, as much as the file takes, or "
            "name another folder as TMPDIR"
        ) from error
    return stored


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
