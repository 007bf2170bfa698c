"""The reviews of a studio's runs: the review tool's own application, opened when somebody comes."""

import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from starlette.concurrency import run_in_threadpool
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


class Judging:
    """The reviews that are open. When they are closed, each run's verdicts are written."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._open: dict[str, ASGIApp] = {}
        self._stack = ExitStack()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Write what was said, and let others open the reviews."""
        self._stack.close()

    def application(
        self, *, page_token: str, access: Access | None, closed_page: Callable[[], Response]
    ) -> ASGIApp:
        """What answers below `/runs/NAME/judge`; with `closed_page` where its page can't be opened."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            name = scope["path_params"]["name"]
            try:
                await run_in_threadpool(self._begin, name, page_token, access)
            except PartDistillationError as error:
                is_page = scope["method"] == "GET" and scope["path"].endswith("/judge/")
                refused = closed_page() if is_page else JSONResponse({"detail": str(error)}, 409)
                await refused(scope, receive, send)
                return
            await self._open[name](scope, receive, send)

        return answer

    def _begin(self, name: str, page_token: str, access: Access | None) -> None:
        with self._lock:
            if name not in self._open:
                out = self._workspace.out(name)
                self._open[name] = self._review(out, page_token, access)

    def _review(self, out: Path, page_token: str, access: Access | None) -> ASGIApp:
        runs = find_runs([out], self._workspace.images)
        folder = make_folder(out / serve.FOLDER)
        with ExitStack() as opening:
            opening.enter_context(locked(folder))
            opening.callback(serve.export, out, out / FILE)
            reviewed = opening.enter_context(closing(serve.opened(folder / serve.DATABASE, out / FILE)))
            images = add_runs(reviewed, runs, 0)
            assignment = Assignment(reviewed, tuple(images), 1, 0)
            review = make_app(
                reviewed,
                assignment,
                Tiles(reviewed, images),
                page_token=page_token,
                access=access,
                home="../look",
            )
            self._stack.enter_context(opening.pop_all())
            return review
