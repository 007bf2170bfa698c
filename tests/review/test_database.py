"""The database of a review: on the disk, all or nothing, and of this version."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from partdistillation.errors import StoreError
from partdistillation.review.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(tmp_path / "review.sqlite")) as opened:
        yield opened


def test_every_commit_waits_for_the_disk(database: Database) -> None:
    assert database.query("PRAGMA journal_mode") == [("wal",)]
    assert database.query("PRAGMA synchronous") == [(2,)]  # FULL


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError), database.transaction() as connection:
        connection.executemany("INSERT INTO reviewers VALUES (1, 'a', 'a')", [(), ()])
    assert database.query("SELECT count(*) FROM reviewers") == [(0,)]


@pytest.mark.parametrize("content", [b"no database at all", b""])
def test_another_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "review.sqlite"
    path.write_bytes(content)
    if content:
        with pytest.raises(StoreError, match="expected the database of a review"):
            Database(path)
    else:  # what a kill leaves that came before the first write
        Database(path).close()


def test_another_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE meta (key TEXT, value TEXT)")
        connection.execute("INSERT INTO meta VALUES ('layout', '0')")
    with pytest.raises(StoreError, match="another version"):
        Database(path)
