"""What is judged, who judges, and what they said, in the database of a review.

Ids that leave the server (of items, pages, tiles) are keyed hashes: they tell neither the run that something
is from nor the order in it, and can't be guessed.
"""

import json
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from time import time
from typing import Any, NamedTuple

from partdistillation.errors import StoreError
from partdistillation.review.collages import PartSample, Tile
from partdistillation.review.database import Database
from partdistillation.review.votes import COLUMNS, Receipt, State, Vote, columns_of, state_of
from partdistillation.runs.verdicts import Verdict

_COLUMNS_OF_VERDICT = ", ".join(f"verdicts.{column}" for column in COLUMNS.split(", "))


class Item(NamedTuple):
    """A part class to judge."""

    id: int
    key: str
    page: str
    """The items of a run's object class have the same; they are judged together."""
    run: int
    category: str
    part: int
    available: int
    """Images that show the part class in the run, of which its tiles are a few."""
    tiles: tuple[str, ...]


class ChangedElsewhereError(Exception):
    """The client wanted to undo a version that isn't the current one any more."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.state = state


class ReviewStore(Database):
    """What a review knows. `clock` tells the time in seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time) -> None:
        super().__init__(path)
        self.clock = clock

    # ------------------------------------------------------------------ what is judged

    def add_run(self, name: str, fingerprint: str) -> int:
        """The id of a run, added if it is new; one that is known by its fingerprint gets the name.

        Raises:
            StoreError: verdicts are stored about other parts of a run with this name.
        """
        with self.transaction() as connection:
            others = connection.execute(
                "SELECT fingerprint FROM runs WHERE name = ? AND fingerprint <> ?", (name, fingerprint)
            ).fetchone()
            if others:
                raise StoreError(
                    f"{self.path} holds a review of other parts of {name!r} (or other collages: another "
                    f"seed): expected {others[0]}, found {fingerprint}. Move its folder away to keep it and "
                    "start another."
                )
            (identity,) = connection.execute(
                "INSERT INTO runs VALUES (NULL, ?, ?, 0) "
                "ON CONFLICT (fingerprint) DO UPDATE SET name = excluded.name RETURNING id",
                (name, fingerprint),
            ).fetchone()
        return int(identity)

    def is_complete(self, run: int) -> bool:
        """Whether all part classes of a run were added."""
        return self.query("SELECT complete FROM runs WHERE id = ?", run) == [(1,)]

    def add_items(self, run: int, samples: Iterable[PartSample]) -> None:
        """Add part classes, all or none, each with what its tiles show."""
        with self.transaction() as connection:
            for sample in samples:
                self._add_item(connection, run, sample)
            connection.execute("UPDATE runs SET complete = 1 WHERE id = ?", (run,))

    def _add_item(self, connection: sqlite3.Connection, run: int, sample: PartSample) -> None:
        key, page = self.key("item", run, *sample[:2]), self.key("page", run, sample.category)
        added = connection.execute(
            "INSERT INTO items VALUES (NULL, ?, ?, ?, ?, ?, ?)",
            (key, page, run, *sample[:2], sample.available),
        )
        connection.executemany(
            "INSERT INTO tiles VALUES (?, ?, ?, ?)",
            [
                (self.key("tile", key, position), added.lastrowid, position, _tile_text(tile))
                for position, tile in enumerate(sample.tiles)
            ],
        )

    def tiles_beside(self, key: str) -> dict[str, Tile]:
        """By id, the tiles of the part class that the one with this id belongs to; empty if there is none."""
        rows = self.query(
            "SELECT key, shows FROM tiles "
            "WHERE item = (SELECT item FROM tiles WHERE key = ?) ORDER BY position",
            key,
        )
        return {tile: _tile(shows) for tile, shows in rows}

    def run_of_tile(self, key: str) -> int:
        """The run that a tile is of."""
        ((run,),) = self.query(
            "SELECT run FROM items JOIN tiles ON tiles.item = items.id WHERE tiles.key = ?", key
        )
        return int(run)

    def item(self, key: str) -> Item | None:
        """The item with an outside id."""
        items = self._items("key = ?", key)
        return items[0] if items else None

    def page(self, key: str) -> list[Item]:
        """The items of a page, by part id."""
        return self._items("page = ?", key)

    def _items(self, condition: str, value: str) -> list[Item]:
        rows = self.query(
            "SELECT items.id, items.key, page, run, category, part, available, tiles.key "
            "FROM items JOIN tiles ON tiles.item = items.id "
            f"WHERE items.{condition} ORDER BY part, position",
            value,
        )
        tiles: dict[tuple[Any, ...], list[str]] = {}
        for row in rows:
            tiles.setdefault(row[:-1], []).append(row[-1])
        return [Item._make([*fields, tuple(keys)]) for fields, keys in tiles.items()]

    def answers(self, runs: Sequence[int]) -> list[tuple[int, Vote]]:
        """All reviewers' votes about the items of runs, by the items' ids."""
        marks = ", ".join("?" * len(runs))
        rows = self.query(
            f"SELECT item, {_COLUMNS_OF_VERDICT} FROM verdicts "
            f"JOIN items ON items.id = item WHERE action IS NOT NULL AND run IN ({marks})",
            *runs,
        )
        states = ((item, state_of([tuple(state)])) for item, *state in rows)
        return [(item, state.vote) for item, state in states if state.vote is not None]

    def verdicts(self, runs: Sequence[int] | None = None) -> list[Verdict]:
        """What all reviewers said last about the part classes of runs (None: of all).

        In the order of run, class, part and reviewer.
        """
        condition = "" if runs is None else f"AND run IN ({', '.join(map(str, runs))}) "
        rows = self.query(
            f"SELECT reviewers.name, runs.name, category, part, {_COLUMNS_OF_VERDICT} "
            "FROM verdicts JOIN items ON items.id = item JOIN runs ON runs.id = run "
            "JOIN reviewers ON reviewers.id = reviewer "
            f"WHERE action IS NOT NULL {condition}ORDER BY runs.name, category, part, reviewers.name"
        )
        return [_verdict(row) for row in rows]

    # ------------------------------------------------------------------ who judges

    def reviewer(self, name: str) -> int:
        """The id of the reviewer with this name, case and spaces aside; added if there is none."""
        tidied = tidy(name)
        key = unicodedata.normalize("NFKC", tidied).casefold()
        if known := self.query("SELECT id FROM reviewers WHERE key = ?", key):
            return int(known[0][0])
        with self.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO reviewers VALUES (NULL, ?, ?)", (key, tidied))
        return self.reviewer(name)

    def names_by(self, reviewer: int) -> list[str]:
        """The names that a reviewer gave to parts, latest first: to be offered again."""
        rows = self.query(
            "SELECT name FROM verdicts WHERE reviewer = ? AND action = 'judged' AND name <> '' "
            "GROUP BY name ORDER BY max(changed) DESC LIMIT 100",
            reviewer,
        )
        return [name for (name,) in rows]

    # ------------------------------------------------------------------ votes

    def state(self, reviewer: int, item: int) -> State:
        """What a reviewer said last about an item."""
        return state_of(
            self.query(f"SELECT {COLUMNS} FROM verdicts WHERE reviewer = ? AND item = ?", reviewer, item)
        )

    def vote(self, reviewer: int, item: int, vote: Vote, *, request: str, base: int) -> Receipt:
        """Store an answer; it is on the disk when this returns. The last one counts, the others are history.

        Args:
            reviewer: who says it.
            item: about what.
            vote: what.
            request: the client's id of this request; the same again changes nothing.
            base: the version that the client knew. If it isn't the current one, the vote is stored all the
                same, and the receipt says what it replaced.
        """
        with self.transaction() as connection:
            current = self.state(reviewer, item)
            if (done := self._done(reviewer, item, request)) is not None:
                return Receipt(current, self._missed(reviewer, item, done, base))
            (changed,) = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM history").fetchone()
            state = State(current.version + 1, current.version, changed, vote)
            self._write(connection, reviewer, item, state, request)
            return Receipt(state, self._missed(reviewer, item, state.version, base))

    def undo(self, reviewer: int, item: int, *, request: str, base: int) -> State:
        """Go back to what the reviewer had said before; again, to what was before that.

        Raises:
            ChangedElsewhereError: the current version isn't `base`, or there is nothing to go back from.
        """
        with self.transaction() as connection:
            current = self.state(reviewer, item)
            if self._done(reviewer, item, request) is not None:
                return current
            if current.version != base or current.vote is None:
                raise ChangedElsewhereError(current)
            before = self._version(reviewer, item, current.parent)
            state = before._replace(version=current.version + 1)
            self._write(connection, reviewer, item, state, request)
            return state

    def _done(self, reviewer: int, item: int, request: str) -> int | None:
        """The version that a request made, if it came before."""
        rows = self.query(
            "SELECT version FROM history WHERE reviewer = ? AND item = ? AND request = ?",
            reviewer,
            item,
            request,
        )
        return int(rows[0][0]) if rows else None

    def _missed(self, reviewer: int, item: int, version: int, base: int) -> State | None:
        return self._version(reviewer, item, version - 1) if base < version - 1 else None

    def _version(self, reviewer: int, item: int, version: int) -> State:
        return state_of(
            self.query(
                f"SELECT {COLUMNS} FROM history WHERE reviewer = ? AND item = ? AND version = ?",
                reviewer,
                item,
                version,
            )
        )

    def _write(
        self, connection: sqlite3.Connection, reviewer: int, item: int, state: State, request: str
    ) -> None:
        values = (reviewer, item, *state[:3], *columns_of(state.vote))
        marks = ", ".join("?" * len(values))
        connection.execute(f"INSERT OR REPLACE INTO verdicts VALUES ({marks})", values)
        connection.execute(
            f"INSERT INTO history VALUES (NULL, {marks}, ?, ?)", (*values, request, self.clock())
        )


def _tile_text(tile: Tile) -> str:
    values = tile._asdict() | {"masks": [rle.decode("ascii") for rle in tile.masks]}
    return json.dumps(values)


def _tile(text: str) -> Tile:
    values = json.loads(text)
    masks = tuple(rle.encode("ascii") for rle in values["masks"])
    return Tile(**values | {"box": tuple(values["box"]), "masks": masks})


def tidy(text: str) -> str:
    """A name as it is stored: composed characters, single spaces, nothing invisible that isn't a space."""
    visible = (" " if character.isspace() else character for character in unicodedata.normalize("NFC", text))
    printable = (character for character in visible if unicodedata.category(character) != "Cc")
    return " ".join("".join(printable).split())


def export_verdicts(database: Path) -> list[Verdict]:
    """What all reviewers said last about every part class, in the order of run, class, part and reviewer.

    May be called while the review goes on.

    Raises:
        StoreError: there is no such database.
    """
    with _existing(database) as store:
        return store.verdicts()


def judged(database: Path) -> set[tuple[str, str, int]]:
    """What was ever judged, taken back or not: reviewer, object class and part.

    Raises:
        StoreError: there is no such database.
    """
    with _existing(database) as store:
        rows = store.query(
            "SELECT DISTINCT reviewers.name, category, part FROM history "
            "JOIN items ON items.id = item JOIN reviewers ON reviewers.id = reviewer"
        )
    return {(reviewer, category, int(part)) for reviewer, category, part in rows}


def has_content(database: Path) -> bool:
    """Whether there is a database, and not an empty file in its place."""
    return database.is_file() and database.stat().st_size > 0


def _existing(database: Path) -> closing[ReviewStore]:
    if not has_content(database):
        raise StoreError(
            f"expected the database of a review at {database}, found none: run `partdistill review`"
        )
    return closing(ReviewStore(database))


def _verdict(row: Sequence[Any]) -> Verdict:
    reviewer, run, category, part, *state = row
    vote = state_of([tuple(state)]).vote
    assert vote is not None
    return Verdict(reviewer=reviewer, run=run, category=category, part=part, **vote._asdict())
