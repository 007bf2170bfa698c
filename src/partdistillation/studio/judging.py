"""The reviews of a studio's runs: the review tool's own application, opened when somebody comes."""

import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from partdistillation.errors import PartDistillationError
from partdistillation.review import serve
from partdistillation.review.app import make_app
from partdistillation.review.assignment import Assignment
from partdistillation.review.guard import Access
from partdistillation.review.items import Tiles, add_runs, find_runs
from partdistillation.runs.atomic import locked, make_folder
from partdistillation.runs.verdicts import FILE
from partdistillation.studio.workspace import Workspace


class _Review(NamedTuple):
    """One that is open, and what closes it."""

    application: ASGIApp
    database: Path
    file: tuple[int, int]
    """Which file the database was when it was opened."""
    closing: ExitStack

    @property
    def is_there(self) -> bool:
        """Whether its run is where it was: who moved or removed it meanwhile would answer to nobody."""
        return _file(self.database) == self.file


class Judging:
    """The reviews that are open. When they are closed, each run's verdicts are written."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._open: dict[str, _Review] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Write what was said, and let others open the reviews."""
        with ExitStack() as all_of_them:
            for review in self._open.values():
                all_of_them.push(review.closing)
        self._open.clear()

    def application(
        self, *, page_token: str, access: Access | None, closed_page: Callable[[], Response]
    ) -> ASGIApp:
        """What answers below `/runs/NAME/judge`; with `closed_page` where its page can't be opened."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            name = scope["path_params"]["name"]
            is_page = scope["method"] == "GET" and scope["path"].endswith("/judge/")
            if access and not access.allows(Headers(scope=scope)) and (is_page or name not in self._open):
                # Nothing is opened for a stranger, who isn't told either which runs there are.
                asked = closed_page() if is_page else JSONResponse({"detail": "the token is missing"}, 401)
                await asked(scope, receive, send)
                return
            try:
                application = await run_in_threadpool(self._begin, name, page_token, access)
            except (PartDistillationError, HTTPException) as error:
                refused = closed_page() if is_page else _refused(error)
                await refused(scope, receive, send)
                return
            await application(scope, receive, send)

        return answer

    def _begin(self, name: str, page_token: str, access: Access | None) -> ASGIApp:
        with self._lock:
            review = self._open.get(name)
            if review is not None and not review.is_there:
                del self._open[name]
                review.closing.close()
                review = None
            if review is None:
                review = self._open[name] = _opened(
                    self._workspace.out(name), self._workspace.images, page_token, access
                )
            return review.application


def _refused(error: PartDistillationError | HTTPException) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"detail": error.detail}, error.status_code)
    return JSONResponse({"detail": str(error)}, 409)


def _opened(out: Path, images: Path | None, page_token: str, access: Access | None) -> _Review:
    runs = find_runs([out], images)
    folder = make_folder(out / serve.FOLDER)
    database = folder / serve.DATABASE
    with ExitStack() as opening:
        opening.enter_context(locked(folder))
        reviewed = serve.opened(database, out / FILE)
        file = _file(database)
        opening.callback(_export, out, file)
        opening.enter_context(closing(reviewed))
        photographs = add_runs(reviewed, runs, 0)
        assignment = Assignment(reviewed, tuple(photographs), 1, 0)
        tiles = Tiles(reviewed, photographs)
        review = make_app(reviewed, assignment, tiles, page_token=page_token, access=access, home="../look")
        return _Review(review, database, file, opening.pop_all())


def _export(out: Path, file: tuple[int, int]) -> None:
    """Write what was said in a review, if its run is still where it was."""
    if _file(out / serve.FOLDER / serve.DATABASE) == file:
        serve.export(out, out / FILE)


def _file(path: Path) -> tuple[int, int]:
    """Which file it is, whatever others are called so later; (0, 0) where there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino
