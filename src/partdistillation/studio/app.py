"""The web application: a page a task, each with its questions in a file of its own.

A page is `index.html` with the JavaScript module of its name; whatever it shows comes from `/api`.
"""

import hashlib
import hmac
import re
from typing import Any

from fastapi import HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from partdistillation.errors import PartDistillationError
from partdistillation.pictures.colors import PALETTE, hex_of
from partdistillation.review import web
from partdistillation.review.guard import SESSION, Access, Guard, Uploads
from partdistillation.review.serve import is_loopback, names_of_this
from partdistillation.review.web import Session
from partdistillation.status.stages import REPORT
from partdistillation.studio import exporting, looking, starting, trying, watching
from partdistillation.studio.judging import Judging
from partdistillation.studio.uploaded import MAX_UPLOAD
from partdistillation.studio.workspace import Workspace

PAGES = ("watch", "look", "try")
"""Of a run; its review is another application, below `judge/`."""
OPEN_PATHS = re.compile(
    rf"/|{SESSION}|/static/[a-z]+\.[a-z]+|/runs/[^/]+/({'|'.join(PAGES)}|judge/(static/[a-z]+\.[a-z]+)?|judge{SESSION})"
)
"""What may be asked for without the token: empty pages, and the places to give the token."""
UPLOADS = Uploads(re.compile(r"/api/(runs/[^/]+/try|new/photographs)/upload"), MAX_UPLOAD)

_PACKAGE = "partdistillation.studio"
_OF_REPORT = re.compile(r"index\.html|images/[0-9]+\.webp")


def make_application(workspace: Workspace, judging: Judging, *, host: str, token: str | None) -> Guard:
    """What answers requests, behind a guard.

    Args:
        workspace: the runs.
        judging: the reviews of these, which the caller closes.
        host: the address that the server listens at.
        token: what visitors must have; needed where `host` isn't loopback.
    """
    access = Access(token, workspace.secret) if token else None
    page_token = hmac.new(workspace.secret, b"page token", hashlib.sha256).hexdigest()[:24]
    app = web.new_app()
    app.add_exception_handler(PartDistillationError, _impossible)

    @app.get("/")
    def start() -> Response:
        return _page()

    @app.get("/runs/{name}/report/{path:path}")
    def report(name: str, path: str) -> Response:
        file = workspace.out(name) / REPORT.parent / path
        if not _OF_REPORT.fullmatch(path) or not file.is_file():
            raise HTTPException(404, "no such page")
        # It says itself, by hashes, which styles and scripts it runs.
        return FileResponse(file, headers={"content-security-policy": "frame-ancestors 'none'"})

    @app.get("/runs/{name}/{page}")
    def page(name: str, page: str, request: Request) -> Response:
        if page not in PAGES:
            raise HTTPException(404, "no such page")
        answer = _page()
        told = access is None or access.allows(request.headers)  # a stranger isn't, which runs there are
        if told and name not in workspace.names():  # which the page says when it asks for more
            answer.status_code = 404
        return answer

    @app.get("/static/colors.css")
    def colors() -> Response:
        rules = (f".part-{part} {{ --part: {hex_of(part)}; }}" for part in range(len(PALETTE)))
        return Response("\n".join(rules), media_type="text/css; charset=utf-8")

    @app.get("/static/tokens.css")
    def tokens() -> Response:
        return web.static_file("partdistillation.review", "tokens.css")

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        return web.static_file(_PACKAGE, name)

    @app.post(SESSION)
    def session(asked: Session, request: Request) -> Response:
        return web.begun(asked, request, access, {"page": page_token})

    @app.get("/api/runs")
    def runs() -> dict[str, Any]:
        return {"runs": workspace.names(), "single": workspace.is_run}

    app.include_router(starting.routes(workspace, local=is_loopback(host)))
    app.include_router(watching.routes(workspace))
    app.include_router(trying.routes(workspace))
    app.include_router(looking.routes(workspace))
    app.include_router(exporting.routes(workspace))
    app.mount(
        "/runs/{name}/judge",
        judging.application(page_token=page_token, access=access, closed_page=_page),
    )
    return Guard(
        app,
        hosts=names_of_this(host),
        any_address=not is_loopback(host),
        page_token=page_token,
        access=access,
        open_paths=OPEN_PATHS,
        uploads=UPLOADS,
    )


def _page() -> Response:
    """Any: which it is, its script reads from the address."""
    return web.page(_PACKAGE)


def _impossible(_: Request, error: Exception) -> Response:
    """What can't be done says why."""
    return JSONResponse({"detail": str(error)}, 409)
