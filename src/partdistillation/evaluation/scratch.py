"""What an evaluation keeps of its images in a temporary file, until it knows what part ids stand for."""

import json
import sqlite3
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from partdistillation.errors import StoreError
from partdistillation.evaluation.bootstrap import WEIGHTS

_STATEMENTS = (
    "PRAGMA journal_mode = OFF",
    "CREATE TABLE images (place INTEGER PRIMARY KEY, id TEXT NOT NULL, weights BLOB NOT NULL) STRICT",
    "CREATE TABLE candidates (category TEXT NOT NULL, place INTEGER NOT NULL, ids BLOB NOT NULL, "
    "scores BLOB NOT NULL, names TEXT NOT NULL, overlaps BLOB NOT NULL) STRICT",
)


class Candidates(NamedTuple):
    """An object class's predictions and true parts in one image, before names are known."""

    ids: Int64[np.ndarray, " prediction"]
    scores: Float64[np.ndarray, " prediction"]
    names: tuple[str, ...]
    overlaps: Float64[np.ndarray, "truth prediction"]


class Scratch:
    """Images and candidates, in a nameless file of SQLite's (`TMPDIR`), which goes away with this.

    Raises:
        StoreError: there is no room for it.
    """

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", check_same_thread=False)
        weakref.finalize(self, self._connection.close)
        self._images = 0
        for statement in _STATEMENTS:
            self._execute(statement)

    def add_image(self, image_id: str, weights: Int64[np.ndarray, f"{WEIGHTS}"]) -> int:
        """Its place here: 0, 1, 2, ..."""
        drawn = weights.astype(np.uint8).tobytes()  # Poisson(1) is far from 255
        self._execute("INSERT INTO images VALUES (?, ?, ?)", self._images, image_id, drawn)
        self._images += 1
        return self._images - 1

    def add_candidates(self, category: str, place: int, candidates: Candidates) -> None:
        """Of the image at this place."""
        ids, scores, names, overlaps = candidates
        blobs = ids.tobytes(), scores.tobytes(), json.dumps(names), overlaps.tobytes()
        self._execute("INSERT INTO candidates VALUES (?, ?, ?, ?, ?, ?)", category, place, *blobs)

    def candidates(self, category: str) -> Iterator[tuple[int, Int64[np.ndarray, " weight"], Candidates]]:
        """Those of an object class, with their image's place and weights, in the order of the images."""
        self._execute("CREATE INDEX IF NOT EXISTS by_category ON candidates (category)")
        rows = self._execute(
            "SELECT place, weights, ids, scores, names, overlaps FROM candidates JOIN images USING (place) "
            "WHERE category = ? ORDER BY candidates.rowid",
            category,
        )
        for place, weights, ids, scores, listed, overlaps in rows:
            names = tuple(json.loads(listed))
            candidates = Candidates(
                np.frombuffer(ids, dtype=np.int64),
                np.frombuffer(scores, dtype=np.float64),
                names,
                np.frombuffer(overlaps, dtype=np.float64).reshape(len(names), -1 if names else len(ids) // 8),
            )
            yield place, np.frombuffer(weights, dtype=np.uint8).astype(np.int64), candidates

    def order(self) -> Int64[np.ndarray, " image"]:
        """Of the image at each place, where it comes by its id; so that nothing depends on who came first."""
        rows = self._execute("SELECT place FROM images ORDER BY id, place")
        order = np.empty(self._images, dtype=np.int64)
        order[np.fromiter((place for (place,) in rows), dtype=np.int64, count=self._images)] = np.arange(
            self._images
        )
        return order

    def weights(self, places: Int64[np.ndarray, " detection"]) -> UInt8[np.ndarray, "detection weight"]:
        """How often the images at these places count: once, then in each replicate."""
        distinct, inverse = np.unique(places, return_inverse=True)
        query = "SELECT weights FROM images WHERE place = ?"
        rows = [self._execute(query, place).fetchone()[0] for place in distinct.tolist()]
        return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, WEIGHTS)[inverse]

    def _execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise StoreError(
                f"can't keep some kilobytes of each image in the system's temporary folder ({error}): make "
                "room there, or name another folder as TMPDIR"
            ) from error
