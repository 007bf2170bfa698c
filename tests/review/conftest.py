"""Small runs to review: drawn rectangles as objects and parts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from partdistillation.functional.masks import box, encode
from partdistillation.review.collages import PartSample, Tile
from partdistillation.review.store import ReviewStore
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow

from .browser import DESKTOP, TIMEOUT, Visit, Visits, Watch, chromium, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WriteStage = Callable[[Path, Sequence[Any]], Path]
MakeRun = Callable[..., Path]

HOSTILE = "<img src=x onerror=alert(1)>\"'&‮"


class Clock:
    """Stands still until told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[ReviewStore]:
    found = ReviewStore(tmp_path / "review.sqlite", clock)
    yield found
    found.close()


def sample(category: str, part: int, tiles: int = 3) -> PartSample:
    shown = (Tile(f"{i}", f"{i}.png", 0, 8, 8, (0.0, 0.0, 4.0, 4.0), (b"0",)) for i in range(tiles))
    return PartSample(category, part, tuple(shown), tiles)


def fill(store: ReviewStore, *categories: str, parts: int = 2, run: str = "run") -> int:
    """Puts a run with so many parts of each class into the database."""
    identity = store.add_run(run, f"fingerprint of {run}")
    store.add_items(identity, [sample(name, part) for name in categories for part in range(parts)])
    return identity


@pytest.fixture
def make_run(tmp_path: Path, write_stage: WriteStage) -> MakeRun:
    """Writes a run's folder: `images` photographs, each with one object of every class and its parts."""

    def make(
        name: str = "out", categories: Sequence[str] = ("car", HOSTILE), parts: int = 3, images: int = 4
    ) -> Path:
        out = tmp_path / name
        (out / "photos").mkdir(parents=True)
        pairs = [_rows(f"{i}", categories, parts) for i in range(images)]
        for row, _ in pairs:
            Image.new("RGB", (40, 40), (90, 120, 150)).save(out / "photos" / row.file_name)
        write_stage(out / "objects", [row for row, _ in pairs])
        write_stage(out / "parts", [row for _, row in pairs])
        return out

    return make


def _rows(image_id: str, categories: Sequence[str], parts: int) -> tuple[ObjectRow, PartRow]:
    whole = np.ones((40, 40), dtype=bool)
    stripes = [np.zeros((40, 40), dtype=bool) for _ in range(parts)]
    for place, stripe in enumerate(stripes):
        stripe[3 * place : 3 * place + 3] = True
    name = f"{image_id}.png"
    objects = tuple(
        Object(i, category, 0.9, 1600, box(whole), encode(whole)) for i, category in enumerate(categories)
    )
    found = tuple(Part(k, 0.9, 0.8, int(mask.sum()), encode(mask)) for k, mask in enumerate(stripes))
    its = tuple(ObjectParts(i, category, found) for i, category in enumerate(categories))
    return (
        ObjectRow(image_id, name, 40, 40, "ok", "", objects),
        PartRow(image_id, name, 40, 40, "ok", "", its),
    )


@pytest.fixture(scope="module")  # not longer: Playwright's event loop is in the way of others' in this thread
def browser() -> "Iterator[Browser]":
    """Chromium; the test is skipped where there is none."""
    with chromium() as found:
        yield found


@pytest.fixture
def visit(browser: "Browser") -> Iterator[Visits]:
    """Serves runs and opens a page there; the test fails where the page had a problem.

    `visit(run, ..., at=None, verdicts=1, **options)`: `at` is the address if something serves them already.
    """
    with ExitStack() as stack:
        watches: list[Watch] = []

        def make(*runs: Path, at: str | None = None, verdicts: int = 1, **options: Any) -> Visit:
            address = at or stack.enter_context(served(*runs, verdicts=verdicts))
            context = stack.enter_context(browser.new_context(**{**DESKTOP, **options}))
            context.set_default_timeout(TIMEOUT)
            watches.append(Watch(context, address))
            return Visit(runs[0], address, context.new_page(), watches[-1])

        yield make
        assert [problem for watch in watches for problem in watch.problems] == []
