"""A studio that answers, small runs to look at, and a browser."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from partdistillation import config
from partdistillation.config import Inputs
from partdistillation.functional.masks import box, encode
from partdistillation.recipes import SMALL
from partdistillation.review.guard import PAGE_HEADER
from partdistillation.review.serve import listening
from partdistillation.runs.records import (
    Object,
    ObjectParts,
    ObjectProposals,
    ObjectRow,
    ObjectSegments,
    Part,
    PartRow,
    Proposal,
    ProposalRow,
    Segment,
    SegmentRow,
)
from partdistillation.stages import part_classes
from partdistillation.studio.app import make_application
from partdistillation.studio.judging import Judging
from partdistillation.studio.workspace import Workspace

from ..review.browser import DESKTOP, TIMEOUT, Watch, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WriteStage = Callable[[Path, Sequence[Any]], Path]
MakeRun = Callable[..., Path]
Open = Callable[..., "Page"]
SIDE = 40
HOSTILE = "<img src=x onerror=alert(1)>\"'&‮"


@pytest.fixture
def make_run(tmp_path: Path, write_stage: WriteStage) -> MakeRun:
    """Writes a run's folder below `runs`: photographs, each with an object of every class, in stripes.

    `make_run(name="cars", categories=("car", HOSTILE), parts=3, images=4)`. Part k is rows 3k to 3k + 2.
    """

    def make(
        name: str = "cars", categories: Sequence[str] = ("car", HOSTILE), parts: int = 3, images: int = 4
    ) -> Path:
        out, photos = tmp_path / "runs" / name, tmp_path / "photos"
        out.mkdir(parents=True)
        photos.mkdir(exist_ok=True)
        for number in range(images):
            Image.new("RGB", (SIDE, SIDE), (90 + number, 120, 150)).save(photos / f"{number}.png")
        stages = zip(*(_rows(str(number), categories, parts) for number in range(images)), strict=True)
        for folder, rows in zip(("objects", "segments", "features", "parts"), stages, strict=True):
            write_stage(out / folder, rows)
        centroids = np.eye(parts, 8, dtype=np.float32)
        part_classes.write(out / part_classes.FOLDER, dict.fromkeys(categories, centroids), {}, {})
        inputs = Inputs(out=out, images=photos)
        (out / config.CONFIG_FILE).write_text(config.to_yaml(SMALL, inputs), encoding="utf-8")
        return out

    return make


def _rows(
    image_id: str, categories: Sequence[str], parts: int
) -> tuple[ObjectRow, SegmentRow, ProposalRow, PartRow]:
    whole = np.ones((SIDE, SIDE), dtype=bool)
    stripes = [np.zeros((SIDE, SIDE), dtype=bool) for _ in range(parts)]
    for place, stripe in enumerate(stripes):
        stripe[3 * place : 3 * place + 3] = True
    areas, masks = [int(stripe.sum()) for stripe in stripes], [encode(stripe) for stripe in stripes]
    numbered = list(enumerate(categories))
    row = ObjectRow(
        image_id, f"{image_id}.png", SIDE, SIDE, "ok", "",
        tuple(Object(i, name, 0.9, SIDE * SIDE, box(whole), encode(whole)) for i, name in numbered),
    )  # fmt: skip
    segments = tuple(map(Segment, areas, masks))
    features = np.eye(parts, 8, dtype=np.float16)
    proposals = tuple(
        Proposal(k, 0.8, areas[k] / SIDE**2, areas[k], masks[k], features[k]) for k in range(parts)
    )
    labelled = tuple(Part(k, 0.9, 0.8, areas[k], masks[k]) for k in range(parts))
    return (
        row,
        row.to(SegmentRow, [ObjectSegments(i, segments) for i, _ in numbered]),
        row.to(ProposalRow, [ObjectProposals(i, name, proposals) for i, name in numbered]),
        row.to(PartRow, [ObjectParts(i, name, labelled) for i, name in numbered]),
    )


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A client of the studio of the folder `runs`, past the first question: what it sends is the page's."""
    workspace = Workspace(tmp_path / "runs")
    with closing(Judging(workspace)) as judging:
        application = make_application(workspace, judging, host="127.0.0.1", token=None)
        client = TestClient(application, base_url="http://127.0.0.1:8764")
        client.headers |= {"origin": "http://127.0.0.1:8764", PAGE_HEADER: "not known yet"}
        client.headers[PAGE_HEADER] = client.post("/api/session", json={}).json()["page"]
        yield client


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a studio, which a thread serves."""
    import uvicorn

    workspace = Workspace(folder)
    with listening("127.0.0.1", 0) as listener, closing(Judging(workspace)) as judging:
        application = make_application(workspace, judging, host="127.0.0.1", token=None)
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=30)


@pytest.fixture(scope="module")  # not longer: Playwright's event loop is in the way of others' in this thread
def browser() -> "Iterator[Browser]":
    """Chromium; the test is skipped where there is none."""
    with chromium() as started:
        yield started


@pytest.fixture
def watches() -> list[Watch]:
    """What watches the pages that a test has opened, in their order."""
    return []


@pytest.fixture
def open_page(browser: "Browser", tmp_path: Path, watches: list[Watch]) -> Iterator[Open]:
    """Serves the folder `runs` and opens a page there; the test fails where the page had a problem.

    `open_page("/runs/cars/look", problem="", **options)`: `problem` is a pattern of one that is expected; the
    options are a browser context's.
    """
    with ExitStack() as stack:
        address = stack.enter_context(served(tmp_path / "runs"))

        def open_at(path: str, problem: str = "", **options: Any) -> "Page":
            context = stack.enter_context(browser.new_context(**{**DESKTOP, **options}))
            context.set_default_timeout(TIMEOUT)
            watches.append(Watch(context, address))
            page = context.new_page()
            page.goto(address + path)
            if problem:
                watches[-1].expect(page, problem)
            return page

        yield open_at
        assert [problem for watch in watches for problem in watch.problems] == []
