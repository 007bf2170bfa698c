"""The database of a review: SQLite, in which what was acknowledged is on the disk.

Every write is one transaction in WAL mode with `synchronous=FULL`, so it survives the process and the power.
`verdicts` has one row a reviewer and item; `history` has every version of it, among them the undone ones, and
the client's id of the request that made it: the same request again changes nothing.
"""

import hashlib
import hmac
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from partdistillation.errors import StoreError

LAYOUT = "1"
"""Version of the tables below."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, fingerprint TEXT NOT NULL UNIQUE,
    complete INTEGER NOT NULL
) STRICT;
CREATE TABLE items (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, page TEXT NOT NULL,
    run INTEGER NOT NULL REFERENCES runs, category TEXT NOT NULL, part INTEGER NOT NULL,
    available INTEGER NOT NULL,
    UNIQUE (category, run, part)
) STRICT;
CREATE INDEX items_of_page ON items (page);
CREATE TABLE tiles (
    key TEXT PRIMARY KEY, item INTEGER NOT NULL REFERENCES items, position INTEGER NOT NULL,
    shows TEXT NOT NULL,
    UNIQUE (item, position)
) STRICT;
CREATE TABLE reviewers (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL) STRICT;
CREATE TABLE assignments (
    reviewer INTEGER NOT NULL REFERENCES reviewers, category TEXT NOT NULL,
    place INTEGER NOT NULL, expires REAL NOT NULL,
    PRIMARY KEY (category, reviewer)
) STRICT, WITHOUT ROWID;
CREATE TABLE verdicts (
    reviewer INTEGER NOT NULL REFERENCES reviewers, item INTEGER NOT NULL REFERENCES items,
    version INTEGER NOT NULL, parent INTEGER NOT NULL, changed INTEGER NOT NULL,
    action TEXT, marks TEXT, duplicate_of INTEGER, merged_into INTEGER, name TEXT,
    PRIMARY KEY (item, reviewer)
) STRICT, WITHOUT ROWID;
CREATE TABLE history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    reviewer INTEGER NOT NULL REFERENCES reviewers, item INTEGER NOT NULL REFERENCES items,
    version INTEGER NOT NULL, parent INTEGER NOT NULL, changed INTEGER NOT NULL,
    action TEXT, marks TEXT, duplicate_of INTEGER, merged_into INTEGER, name TEXT,
    request TEXT NOT NULL, at REAL NOT NULL,
    UNIQUE (reviewer, item, version), UNIQUE (reviewer, item, request)
) STRICT;
"""
# `parent` is the version that undo goes back to (0: none yet); `changed` numbers answers in time: what undo
# brings back has its old number, so that undo again goes on to the answer before it.


class Database:
    """A review's tables. Its methods may be called from any thread.

    Raises:
        StoreError: the file isn't the database of a review, or one of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            self._connection = _connect(path)
            ((secret,),) = self.query("SELECT value FROM meta WHERE key = 'secret'")
            self.secret = bytes.fromhex(secret)
            if (problems := self.query("PRAGMA integrity_check(1)")) != [("ok",)]:
                raise sqlite3.DatabaseError(f"a damaged one ({problems[0][0]})")
        except (sqlite3.Error, ValueError) as error:
            raise StoreError(f"{path}: expected the database of a review, found {error}") from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone; afterwards all is on the disk, or nothing."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a SELECT."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def page_token(self) -> str:
        """What proves that a request is the page's; the same after a restart, so nobody notices one."""
        return self.key("page token")

    def key(self, *words: object) -> str:
        """An id for the outside: of the same words always the same, telling nothing about them."""
        message = json.dumps(words, default=str).encode()
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()[:24]


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN IMMEDIATE")
    if not connection.execute("SELECT 1 FROM sqlite_schema").fetchall():
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        rows = {"layout": LAYOUT, "secret": secrets.token_hex(32)}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
    stored = connection.execute("SELECT value FROM meta WHERE key = 'layout'").fetchone()
    connection.commit()
    if stored != (LAYOUT,):
        raise sqlite3.DatabaseError(
            f"layout {stored} instead of {LAYOUT}, of another version of the software"
        )
    return connection
