"""The web application: a page a task, each with its questions in a file of its own.

A page is `index.html` with the JavaScript module of its name; whatever it shows comes from `/api`.
"""

import hashlib
import hmac
import re
from importlib import resources
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, StringConstraints

from partdistillation.errors import PartDistillationError
from partdistillation.pictures.colors import PALETTE, hex_of
from partdistillation.review.app import invalid
from partdistillation.review.guard import COOKIE, SESSION, Access, Guard, Uploads
from partdistillation.review.serve import is_loopback, names_of_this
from partdistillation.studio import exporting, looking, starting, trying, watching
from partdistillation.studio.judging import Judging
from partdistillation.studio.progress import REPORT
from partdistillation.studio.workspace import Workspace

PAGES = ("watch", "look", "try")
"""Of a run; its review is another application, below `judge/`."""
MAX_UPLOAD = 64 * 2**20
"""Bytes of a photograph."""
OPEN_PATHS = re.compile(
    rf"/|{SESSION}|/static/[a-z]+\.[a-z]+|/runs/[^/]+/({'|'.join(PAGES)}|judge/(static/[a-z]+\.[a-z]+)?|judge{SESSION})"
)
"""What may be asked for without the token: empty pages, and the places to give the token."""
UPLOADS = Uploads(re.compile(r"/api/(runs/[^/]+/try|new/photographs)/upload"), MAX_UPLOAD)

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
_OF_REPORT = re.compile(r"index\.html|images/[0-9]+\.webp")
_STATIC = re.compile(r"[a-z]+\.(js|css|svg)")


class Session(BaseModel):
    """What a page asks first."""

    model_config = ConfigDict(extra="forbid", strict=True)
    token: Annotated[str, StringConstraints(max_length=500)] | None = None


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
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(PartDistillationError, _impossible)

    @app.get("/")
    def start() -> Response:
        return _static("index.html")

    @app.get("/runs/{name}/report/{path:path}")
    def report(name: str, path: str) -> Response:
        file = workspace.out(name) / REPORT.parent / path
        if not _OF_REPORT.fullmatch(path) or not file.is_file():
            raise HTTPException(404, "no such page")
        # It says itself, by hashes, which styles and scripts it runs.
        return FileResponse(file, headers={"content-security-policy": "frame-ancestors 'none'"})

    @app.get("/runs/{name}/{page}")
    def page(name: str, page: str) -> Response:
        if page not in PAGES:
            raise HTTPException(404, "no such page")
        workspace.out(name)
        return _static("index.html")

    @app.get("/static/colors.css")
    def colors() -> Response:
        rules = (f".part-{part} {{ --part: {hex_of(part)}; }}" for part in range(len(PALETTE)))
        return Response("\n".join(rules), media_type=_TYPES["css"])

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if not _STATIC.fullmatch(name):
            raise HTTPException(404, "no such file")
        return _static(name)

    @app.post(SESSION)
    def session(asked: Session, request: Request) -> Response:
        if access and not (access.allows(request.headers) or access.accepts(asked.token or "")):
            raise HTTPException(401, "the token is missing or wrong")
        response = JSONResponse({"page": page_token})
        if access:
            response.set_cookie(COOKIE, access.cookie, httponly=True, samesite="strict", max_age=30 * 86400)
        return response

    @app.get("/api/runs")
    def runs() -> dict[str, Any]:
        return {"runs": workspace.names(), "folder": str(workspace.folder), "one": workspace.is_run}

    app.include_router(starting.routes(workspace, local=is_loopback(host)))
    app.include_router(watching.routes(workspace))
    app.include_router(trying.routes(workspace))
    app.include_router(looking.routes(workspace))
    app.include_router(exporting.routes(workspace))
    app.mount(
        "/runs/{name}/judge",
        judging.application(page_token=page_token, access=access, closed_page=lambda: _static("index.html")),
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


def _impossible(_: Request, error: Exception) -> Response:
    """What can't be done says why."""
    return JSONResponse({"detail": str(error)}, 409)


def _static(name: str) -> Response:
    file = resources.files("partdistillation.studio") / "static" / name
    if not file.is_file():
        raise HTTPException(404, "no such file")
    media_type = _TYPES[name.rpartition(".")[2]]
    return Response(file.read_bytes(), media_type=media_type, headers={"cache-control": "no-cache"})
