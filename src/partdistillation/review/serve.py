"""The command: from folders of runs to a server, or to a file of verdicts."""

import ipaddress
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from partdistillation.errors import ConfigError, StoreError, to_install
from partdistillation.review.assignment import Assignment
from partdistillation.review.items import Tiles, add_runs, find_runs
from partdistillation.review.store import ReviewStore, export_verdicts, has_content, judged
from partdistillation.runs.atomic import locked, make_folder, remove_file, replace_file
from partdistillation.runs.terminal import say
from partdistillation.runs.verdicts import FILE, Verdict, read_verdicts, write_verdicts

if TYPE_CHECKING:
    from partdistillation.review.guard import Guard

FOLDER = "review"
DATABASE = "review.sqlite"
MIN_TOKEN = 16

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
    folders: Sequence[Path],
    *,
    images: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    verdicts: int = 1,
    seed: int = 0,
) -> None:
    """Serve the review of runs until Ctrl-C. What is said is kept in the first one's folder `review`.

    When the server starts and when it ends, all verdicts are written to `review/verdicts.jsonl` too, for the
    commands that go on with them.

    Args:
        folders: the runs; several are compared, and the page doesn't tell which is which.
        images: folder of the photographs; without it each run's own.
        host: address to listen at.
        port: 0 takes a free one.
        token: what reviewers must have; needed where `host` isn't loopback.
        verdicts: how many each part is to get.
        seed: decides the images that are shown, and the order of classes.

    Raises:
        ConfigError: no token where one is needed, FastAPI isn't installed, or the port is taken.
        InputError: there is nothing to review.
        StoreError: the folder holds a review of other parts, or another server writes to it.
    """
    check_access(host, token)
    try:
        import uvicorn
    except ImportError as error:
        raise ConfigError(
            f"the review needs FastAPI and uvicorn (found: {error}): {to_install('review')}"
        ) from error

    runs = find_runs(folders, images)
    folder = make_folder(folders[0] / FOLDER)
    with (
        locked(folder),
        listening(host, port) as listener,
        terminated_as_interrupted(),
        closing(opened(folder / DATABASE, folders[0] / FILE)) as reviewed,
    ):
        ids = add_runs(reviewed, runs, seed)
        application = make_application(reviewed, ids, host=host, token=token, verdicts=verdicts, seed=seed)
        settings = uvicorn.Config(application, log_level="warning", access_log=False, server_header=False)
        announce(listener, host, token)
        export(folders[0], folders[0] / FILE)
        try:
            uvicorn.Server(settings).run(sockets=[listener])
        finally:
            export(folders[0], folders[0] / FILE)


def make_application(
    reviewed: ReviewStore,
    images: Mapping[int, Path],
    *,
    host: str,
    token: str | None,
    verdicts: int,
    seed: int,
) -> "Guard":
    """What answers requests. `images`: photographs by a run's id in the database; the rest as in `serve`."""
    from partdistillation.review.app import make_app
    from partdistillation.review.guard import Access, Guard

    access = Access(token, reviewed.secret) if token else None
    page_token = reviewed.page_token()
    app = make_app(
        reviewed,
        Assignment(reviewed, tuple(images), verdicts, seed),
        Tiles(reviewed, images),
        page_token=page_token,
        access=access,
    )
    return Guard(
        app,
        hosts=names_of_this(host),
        any_address=not is_loopback(host),
        page_token=page_token,
        access=access,
    )


def export(folder: Path, path: Path) -> int:
    """Write what the reviewers of a run said to a file of JSON lines; how many verdicts they are.

    Where the file has more verdicts, because reviewers took some back, it is kept as `*.before.jsonl`.
    Without verdicts there is no file.

    Raises:
        StoreError: there was no review, or the file has verdicts of which its database knows nothing.
    """
    database = folder / FOLDER / DATABASE
    verdicts = export_verdicts(database)
    before = _verdicts_of(path)
    if unknown := {_about(verdict) for verdict in before} - judged(database):
        raise StoreError(
            f"{path}: expected verdicts that {database} knows, found {len(unknown)} that it doesn't, such as "
            f"{min(unknown)}: they would be lost. Move the file away to keep it, then run the same "
            "command again."
        )
    if len(verdicts) < len(before):
        replace_file(path.with_suffix(f".before{path.suffix}"), path.read_bytes())
    if verdicts:
        write_verdicts(path, verdicts)
    elif before:
        remove_file(path)
    return len(verdicts)


def opened(database: Path, verdicts: Path) -> ReviewStore:
    """The database of a review, a new one where there was none.

    Raises:
        StoreError: it is damaged, or it is missing although there are verdicts.
    """
    if not has_content(database) and (known := len(_verdicts_of(verdicts))):
        raise StoreError(
            f"expected the database {database} from which {verdicts} was written, found none: its {known} "
            "verdicts would be lost. Put it back; or move the file with the verdicts away to begin a new one."
        )
    return ReviewStore(database)


def _verdicts_of(path: Path) -> list[Verdict]:
    return read_verdicts(path) if path.exists() else []


def _about(verdict: Verdict) -> tuple[str, str, int]:
    """Who said it, and about what; not of which run, whose name may have changed."""
    return verdict.reviewer, verdict.category, verdict.part


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """What ends services (SIGTERM) ends the review as Ctrl-C does: with its verdicts written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_access(host: str, token: str | None) -> None:
    """Raise ConfigError where others could reach the review without a token, or guess it."""
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host}: others can reach this address, so reviewers need a token. Say, for example, "
            f"--token {secrets.token_urlsafe(MIN_TOKEN)}"
        )
    if token is not None and len(token) < MIN_TOKEN:
        raise ConfigError(f"--token: expected at least {MIN_TOKEN} characters, found {len(token)}")


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def names_of_this(host: str) -> set[str]:
    """Names by which a server that listens at an address may be called."""
    if is_loopback(host):
        return {*_LOOPBACK, host.lower()}
    return {*_LOOPBACK, host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; before anything else is done, so that a port that is taken is known at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(f"can't listen at {host}, port {port}: {error}. Choose another --port") from error
    return listener


def announce(listener: socket.socket, host: str, token: str | None, what: str = "Review") -> str:
    """Say where to open the page, and how safe that is; the address."""
    port = listener.getsockname()[1]
    called = socket.gethostname() if host in ("0.0.0.0", "::") else host
    name = f"[{called}]" if ":" in called else called
    if not is_loopback(host):
        say(
            f"warning: {host} can be reached by others. Whoever has the token may see the pictures and "
            "answer; what is sent isn't encrypted. Safer: listen at 127.0.0.1, and others come by `ssh -L`.",
            stderr=True,
        )
    # A fragment isn't sent to the server and so is in no log.
    address = f"http://{name}:{port}/{f'#token={token}' if token else ''}"
    say(f"{what} at {address}  (Ctrl-C ends it)")
    return address
