"""What stands before every request: who may ask, from where, and how much.

A page on another site can make a reviewer's browser send requests to this server, also by a name of its own
that it lets point at 127.0.0.1 (DNS rebinding). So the Host must be the server's, the Origin of a POST this
page's, a POST must carry a header that no form can set, and nothing is shared across origins: there is no
CORS, and HEAD and OPTIONS, which the page doesn't need, are answered 405 as any method but GET and POST.
"""

import hmac
import ipaddress
import re
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 16 * 1024
"""Bytes of a request; a vote has about 300."""
PAGE_HEADER = "x-review-page"
"""Every POST has it: a browser lets no other site's form set it."""
COOKIE = "partdistill_review"
SESSION = "/api/session"
OPEN_PATHS = re.compile(rf"/|/static/[a-z]+\.[a-z]+|{SESSION}")
"""What may be asked for without the token: the empty page, and the place to give the token."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Of pages that bring none of their own."""
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Uploads(NamedTuple):
    """Where files may be sent to, as they are, and how large they may be."""

    paths: re.Pattern[str]
    most: int
    """Bytes."""


class Guard:
    """An ASGI application that lets good requests through to another, and adds headers to every answer.

    Args:
        application: what answers.
        hosts: names by which the server may be called.
        any_address: whether it may also be called by any IP address (those can't be rebound).
        page_token: what the page sends with every POST, in `PAGE_HEADER`.
        access: what the cookie, or a bearer header, must hold; None where no token is asked for.
        open_paths: what may be asked for without the token.
        uploads: what takes files; without it nothing does.
    """

    def __init__(
        self,
        application: ASGIApp,
        *,
        hosts: Collection[str],
        any_address: bool,
        page_token: str,
        access: "Access | None",
        open_paths: re.Pattern[str] = OPEN_PATHS,
        uploads: Uploads | None = None,
    ) -> None:
        self._application = application
        self._open_paths, self._uploads = open_paths, uploads
        self._hosts, self._any_address = frozenset(hosts), any_address
        self._page_token, self._access = page_token, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no web sockets: closed unanswered
        send = _with_headers(send)
        try:
            self._check(scope)
            body = await _body(receive, self._most(scope["path"]))
        except HTTPException as refused:
            answer = JSONResponse({"detail": refused.detail}, refused.status_code, refused.headers)
            await answer(scope, receive, send)
            return
        await self._application(scope, _replay(body, receive), send)

    def _check(self, scope: Scope) -> None:
        headers = _single_headers(scope)
        host = headers.get("host", "")
        name = _host_name(host)
        if name not in self._hosts and not (self._any_address and _is_address(name)):
            raise HTTPException(421, "this server isn't known by that name")
        if scope["method"] not in ("GET", "POST"):
            raise HTTPException(405, "expected GET or POST", {"allow": "GET, POST"})
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            raise HTTPException(403, "the request comes from another origin")
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin") and scope["path"] != "/":
            raise HTTPException(403, "the request comes from another site")
        if scope["method"] == "POST":
            self._check_post(scope["path"], headers)
        if (
            self._access
            and not self._open_paths.fullmatch(scope["path"])
            and not self._access.allows(headers)
        ):
            raise HTTPException(401, "the token is missing or wrong")

    def _check_post(self, path: str, headers: Mapping[str, str]) -> None:
        if "origin" not in headers:
            raise HTTPException(403, "expected the Origin of the page")
        expected = "application/octet-stream" if self._takes_file(path) else "application/json"
        if headers.get("content-type", "").partition(";")[0].strip() != expected:
            raise HTTPException(415, f"expected {expected}")
        token = headers.get(PAGE_HEADER)
        # The session's answer tells the page its token, so there only the header itself is asked for.
        if token is None or (not self._is_session(path) and not _equal(token, self._page_token)):
            raise HTTPException(403, "expected a request of the page")

    def _is_session(self, path: str) -> bool:
        return path.endswith(SESSION) and self._open_paths.fullmatch(path) is not None

    def _takes_file(self, path: str) -> bool:
        return self._uploads is not None and self._uploads.paths.fullmatch(path) is not None

    def _most(self, path: str) -> int:
        """Bytes that a request may have."""
        return self._uploads.most if self._uploads and self._takes_file(path) else MAX_BODY


class Access:
    """The token that is asked for where others can reach the server, and the cookie that stands for it."""

    def __init__(self, token: str, secret: bytes) -> None:
        self._token = token
        self.cookie = hmac.new(secret, b"access" + token.encode(), sha256).hexdigest()

    def accepts(self, token: str) -> bool:
        """Whether it is the token, in a time that doesn't tell how much of it was right."""
        return _equal(token, self._token)

    def allows(self, headers: Mapping[str, str]) -> bool:
        """Whether the request has the cookie, or the token as `Authorization: Bearer`."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.accepts(token.strip()):
            return True
        return _equal(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""), self.cookie)


def _equal(secret: str, expected: str) -> bool:
    return hmac.compare_digest(secret.encode(), expected.encode())


def _single_headers(scope: Scope) -> Headers:
    """By name; a header that must be there once, found twice, is refused rather than chosen from."""
    headers = Headers(scope=scope)
    for name in ("host", "origin", "content-type", PAGE_HEADER):
        if len(headers.getlist(name)) > 1:
            raise HTTPException(400, f"expected one {name}, found more")
    return headers


def _host_name(host: str) -> str:
    """Without the port, which is another one before a tunnel; the Origin is held to Host and port."""
    match = _HOST.fullmatch(host.lower())
    if match is None:
        raise HTTPException(421, "expected a host and a port")
    return match[1].strip("[]")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _body(receive: Receive, most: int) -> bytes:
    """The whole body, unless it is too large; then no more of it is read."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise HTTPException(400, "the request ended early")
        body += message.get("body", b"")
        if len(body) > most:
            raise HTTPException(413, f"expected at most {most:,} bytes", {"connection": "close"})
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            headers.setdefault("content-security-policy", _POLICY)
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sent
