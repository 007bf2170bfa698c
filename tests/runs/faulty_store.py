"""A store on loopback that fails as those far away do: a proxy before a good one, whose faults are drawn.

Its faults: an error 500 before or after the request was done, a connection that is lost before the request,
after it or within the answer, an answer that takes its time, and a file that isn't seen for a while after it
was put there (by key, and in lists).
"""

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

FAULTS = ("500 before", "500 after", "lost before", "lost after", "torn", "slow")


class FaultyStore(ThreadingHTTPServer):
    """Passes requests on to `address`; a share of them, drawn with `seed`, goes wrong.

    `seen_after` is how many seconds it takes until a new file is seen.
    """

    daemon_threads = True

    def __init__(self, address: str, *, share: float, seen_after: float = 0.0, seed: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urlsplit(address).netloc
        self.share, self.seen_after = share, seen_after
        self.happened: Counter[str] = Counter()
        self.hidden: dict[str, tuple[float, bytes | None]] = {}
        self._random, self._lock = random.Random(seed), threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fault(self) -> str:
        with self._lock:
            fault = self._random.choice(FAULTS) if self._random.random() < self.share else "none"
            self.happened[fault] += 1
            return fault

    def handle_error(self, *_: object) -> None:
        """A client that was killed has hung up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyStore

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault()
        if fault in ("500 before", "refused"):
            self._send(500 if fault == "500 before" else 403, {}, b"")
            return
        if fault == "lost before":
            self._hang_up()
            return
        if fault == "slow":
            time.sleep(0.3)
        status, headers, data = self._done(body)
        if fault == "500 after":
            self._send(500, {}, b"")
        elif fault == "lost after":
            self._hang_up()
        else:
            self._send(status, headers, data, torn=fault == "torn")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer  # noqa: N815

    def _done(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """What the store behind answers, less what isn't to be seen yet."""
        server, key, now = self.server, unquote(urlsplit(self.path).path), time.monotonic()
        before = self._before(key) if self.command == "PUT" and server.seen_after else None
        status, headers, data = self._passed_on(self.command, body)
        if self.command == "PUT" and status == 200 and server.seen_after:
            server.hidden[key] = (now + server.seen_after, before)
        hidden = {name: old for name, (until, old) in server.hidden.items() if until > now}
        if self.command in ("GET", "HEAD") and key in hidden:
            old = hidden[key]
            if old is None:
                return 404, {}, b""
            return 200, {"ETag": '"old"', "Last-Modified": headers.get("Last-Modified", "")}, old
        if "list-type" in self.path:
            names = [name.encode() for name, old in hidden.items() if old is None]
            data = re.sub(
                rb"<Contents>.*?</Contents>", lambda found: _without(found, key, names), data, flags=re.S
            )
        return status, headers, data

    def _before(self, key: str) -> bytes | None:
        until, old = self.server.hidden.get(key, (0.0, None))
        if until > time.monotonic():
            return old
        status, _, data = self._passed_on("GET", b"")
        return data if status == 200 else None

    def _passed_on(self, command: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection(self.server.behind, timeout=30)
        try:
            kept = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            if command != self.command:
                kept = {"Host": self.server.behind}
            connection.request(command, self.path, body, kept)
            answer: HTTPResponse = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _send(self, status: int, headers: dict[str, str], data: bytes, *, torn: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = headers.get("Content-Length", headers.get("content-length", "0"))
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if torn else data)
        if torn:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


def _without(found: re.Match[bytes], bucket: str, names: list[bytes]) -> bytes:
    key = re.search(rb"<Key>(.*?)</Key>", found[0])
    assert key is not None
    return b"" if f"{bucket}/".encode() + key[1] in names else found[0]


@contextmanager
def faulty(address: str, *, share: float, seen_after: float = 0.0, seed: int = 0) -> Iterator[FaultyStore]:
    """A faulty store before the one at `address`, while within."""
    server = FaultyStore(address, share=share, seen_after=seen_after, seed=seed)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
