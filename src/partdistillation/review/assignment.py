"""Who judges what: reviewers get object classes, each in an order of their own, until parts have N verdicts.

The unit is an object class with all its parts, of all the runs that are compared: whether a part is new is a
question about the class, and methods are compared fairly where the same people judge the same classes. The
order of classes, and of the runs within one, is drawn anew for every reviewer.

A class is reserved for a while, so that several reviewers don't judge the same one in vain; the reservation
of someone who went away lapses. "I can't say" is no verdict: somebody else is asked.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

from partdistillation.review.store import ReviewStore

RESERVED_SECONDS = 30 * 60.0
PAUSE_SECONDS = 5 * 60.0
"""A reviewer who answers nothing for longer than this isn't looking."""
_ENOUGH_GAPS = 10
"""Times from answer to answer by which the next ones are foretold."""

# How many others (than reviewer ?1) are counted on for an item: those who gave a verdict, and those who have
# its class reserved (at the time ?2).
_CLAIMS = """
    (SELECT count(*) FROM verdicts
     WHERE verdicts.item = items.id AND reviewer <> ?1 AND action IN ('judged', 'rejected'))
  + (SELECT count(*) FROM assignments
     WHERE assignments.category = items.category AND reviewer <> ?1 AND expires > ?2
     AND NOT EXISTS (SELECT 1 FROM verdicts WHERE verdicts.item = items.id
                     AND verdicts.reviewer = assignments.reviewer AND action IS NOT NULL))
"""


class Progress(NamedTuple):
    """How far the review has come."""

    parts: int
    """Part classes to judge."""
    finished: int
    """Those that have their N verdicts."""
    yours: int
    """Those that this reviewer answered, skips among them."""
    reviewers: int
    """Who answered anything."""


class Assignment:
    """Gives out pages: a page is the parts of an object class as one run found them.

    Args:
        store: where assignments are kept.
        runs: the runs that are judged.
        verdicts: how many each part is to get.
        seed: decides, with the reviewer's id, the order of classes.
    """

    def __init__(self, store: ReviewStore, runs: Sequence[int], verdicts: int, seed: int) -> None:
        self._store, self._verdicts, self._seed = store, verdicts, seed
        self.runs = tuple(runs)
        self._runs = f"({', '.join(map(str, runs))})"
        rows = store.query(
            f"SELECT DISTINCT category, page FROM items WHERE run IN {self._runs} ORDER BY category, run"
        )
        self._pages: dict[str, list[str]] = {}
        for category, page in rows:
            self._pages.setdefault(category, []).append(page)
        self.parts: dict[str, int] = dict(
            store.query(f"SELECT category, count(*) FROM items WHERE run IN {self._runs} GROUP BY category")
        )
        """By object class, how many part classes are judged."""

    def has_page(self, page: str, category: str) -> bool:
        """Whether the page is of a run that is judged now."""
        return page in self._pages.get(category, ())

    def pages(self, reviewer: int, category: str) -> list[str]:
        """The pages of a class in the order in which this reviewer sees them."""
        return sorted(self._pages.get(category, ()), key=self._place_for(reviewer))

    def seen(self, reviewer: int) -> list[str]:
        """The pages that a reviewer got up to now, in order."""
        return [page for category in self._categories(reviewer) for page in self.pages(reviewer, category)]

    def resume(self, reviewer: int) -> str | None:
        """Where a reviewer goes on: their first page that still wants an answer, or a new one."""
        answered, wanted = self._answered(reviewer), self._wanted(reviewer)
        for category in self._categories(reviewer):
            left = [page for page in self.pages(reviewer, category) if page not in answered]
            if left and category in wanted:
                self.renew(reviewer, category)
                return left[0]
        return self.new(reviewer)

    def new(self, reviewer: int, after: str | None = None) -> str | None:
        """The first page of the next class for a reviewer, which is reserved; None where nothing is left.

        Args:
            reviewer: who gets it.
            after: the page that was their last one. If there is one after it by now, because they asked twice
                at once, it is that.
        """
        with self._store.transaction() as connection:  # nobody else gets it in between
            if after is not None:
                seen = self.seen(reviewer)
                if later := seen[seen.index(after) + 1 :]:
                    return later[0]
            free = self._wanted(reviewer).difference(self._categories(reviewer))
            if not free:
                return None
            category = min(free, key=self._place_for(reviewer))
            connection.execute(
                "INSERT INTO assignments SELECT ?1, ?2, count(*), ?3 FROM assignments WHERE reviewer = ?1",
                (reviewer, category, self._store.clock() + RESERVED_SECONDS),
            )
        return self.pages(reviewer, category)[0]

    def renew(self, reviewer: int, category: str) -> None:
        """Keep a class reserved: its reviewer is still there."""
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE assignments SET expires = ? WHERE reviewer = ? AND category = ?",
                (self._store.clock() + RESERVED_SECONDS, reviewer, category),
            )

    def progress(self, reviewer: int) -> Progress:
        """How far everybody, and this reviewer, has come."""
        query = self._store.query
        counts = query(
            "SELECT (SELECT count(*) FROM verdicts WHERE item = items.id "
            f"AND action IN ('judged', 'rejected')) FROM items WHERE run IN {self._runs}"
        )
        ((yours, reviewers),) = query(
            "SELECT count(CASE WHEN reviewer = ? THEN 1 END), count(DISTINCT reviewer) FROM verdicts "
            f"JOIN items ON items.id = item WHERE action IS NOT NULL AND run IN {self._runs}",
            reviewer,
        )
        finished = sum(count >= self._verdicts for (count,) in counts)
        return Progress(len(counts), finished, yours, reviewers)

    def pace(self) -> float | None:
        """Seconds from an answer to the next, as reviewers took them lately; None before there are enough."""
        rows = self._store.query(
            "SELECT gap FROM (SELECT history.id AS id, "
            "at - lag(at) OVER (PARTITION BY reviewer ORDER BY history.id) AS gap "
            f"FROM history JOIN items ON items.id = item WHERE version = 1 AND run IN {self._runs}) "
            "WHERE gap <= ? ORDER BY id DESC LIMIT 1000",
            PAUSE_SECONDS,
        )
        return median(gap for (gap,) in rows) if len(rows) >= _ENOUGH_GAPS else None

    def _place_for(self, reviewer: int) -> Callable[[str], bytes]:
        def place(name: str) -> bytes:
            words = json.dumps([self._seed, reviewer, name]).encode()
            return hashlib.sha256(words).digest()

        return place

    def _categories(self, reviewer: int) -> Iterator[str]:
        rows = self._store.query(
            "SELECT category FROM assignments WHERE reviewer = ? ORDER BY place", reviewer
        )
        return (category for (category,) in rows if category in self._pages)

    def _wanted(self, reviewer: int) -> set[str]:
        """Classes with a part that lacks verdicts, were all others to give theirs who have it reserved."""
        rows = self._store.query(
            f"SELECT DISTINCT category FROM items WHERE run IN {self._runs} AND {_CLAIMS} < ?3",
            reviewer,
            self._store.clock(),
            self._verdicts,
        )
        return {category for (category,) in rows}

    def _answered(self, reviewer: int) -> set[str]:
        """Pages on which a reviewer has answered everything."""
        rows = self._store.query(
            "SELECT page FROM assignments JOIN items USING (category) "
            "LEFT JOIN verdicts ON verdicts.item = items.id AND verdicts.reviewer = ?1 "
            f"WHERE assignments.reviewer = ?1 AND run IN {self._runs} "
            "GROUP BY page HAVING count(*) = count(action)",
            reviewer,
        )
        return {page for (page,) in rows}
