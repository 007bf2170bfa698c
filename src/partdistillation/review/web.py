"""What web applications of this package have in common: what they are sent, and what they answer."""

import re
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, StringConstraints

from partdistillation.review.guard import COOKIE, Access

_STATIC = re.compile(r"[a-z]+\.(js|css|svg)")
_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
_A_MONTH = 30 * 86400


class Body(BaseModel):
    """The JSON of a POST: the fields that are expected, of their types, and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Empty(Body):
    """Of a question that needs no more than its address."""


class Session(Body):
    """What a page asks first."""

    token: Annotated[str, StringConstraints(max_length=500)] | None = None


def new_app() -> FastAPI:
    """An application that says what is wrong with a question."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


def begun(asked: Session, request: Request, access: Access | None, answer: Mapping[str, Any]) -> Response:
    """The answer to whoever has the token, with the cookie that stands for it from then on.

    Raises:
        HTTPException: the token is missing or wrong.
    """
    response = JSONResponse(dict(answer))
    if access:
        if not (access.allows(request.headers) or access.accepts(asked.token or "")):
            raise HTTPException(401, "the token is missing or wrong")
        response.set_cookie(COOKIE, access.cookie, httponly=True, samesite="strict", max_age=_A_MONTH)
    return response


def page(package: str) -> Response:
    """The `index.html` of a package's folder `static`."""
    return _file(package, "index.html")


def static_file(package: str, name: str) -> Response:
    """What the page of a package needs, from the same folder.

    Raises:
        HTTPException: there is none of this name.
    """
    if not _STATIC.fullmatch(name) or not (_folder(package) / name).is_file():
        raise HTTPException(404, "no such file")
    return _file(package, name)


def _file(package: str, name: str) -> Response:
    media_type = _TYPES[name.rpartition(".")[2]]
    data = (_folder(package) / name).read_bytes()
    return Response(data, media_type=media_type, headers={"cache-control": "no-cache"})


def _folder(package: str) -> Traversable:
    return resources.files(package) / "static"


async def _invalid(_: Request, error: Exception) -> Response:
    """What is wrong, without repeating what was sent."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(step) for step in first["loc"])
    return JSONResponse({"detail": f"{place}: {first['msg']}"}, 422)
