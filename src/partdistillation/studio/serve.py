"""The command: a server for a folder of runs, and a browser that looks at it."""

import threading
import webbrowser
from contextlib import closing
from pathlib import Path

from partdistillation.errors import ConfigError, to_install
from partdistillation.review.serve import (
    announce,
    check_access,
    is_loopback,
    listening,
    terminated_as_interrupted,
)
from partdistillation.runs.atomic import locked, make_folder

_LOCK = ".studio.lock"


def serve(
    folder: Path,
    *,
    images: Path | None = None,
    clicks_model: str = "",
    host: str,
    port: int,
    token: str | None,
    browser: bool,
) -> None:
    """Serve the studio of a folder until Ctrl-C. Runs that it started go on without it.

    Args:
        folder: of a run, or of several.
        images: folder of the photographs to look at; without it each run's own.
        clicks_model: SAM or SAM 2, a folder or published, which says what clicks mean.
        host: address to listen at.
        port: 0 takes a free one.
        token: what visitors must have; needed where `host` isn't loopback.
        browser: open the page, where this machine alone can reach it.

    Raises:
        ConfigError: no token where one is needed, FastAPI isn't installed, or the port is taken.
        CheckpointError: there is no such model for clicks.
        StoreError: the folder can't be written, or another studio is there.
    """
    check_access(host, token)
    if clicks_model:
        from partdistillation.models.sources import resolve

        resolve(clicks_model)  # or a wrong path is told at the first click
    try:
        import uvicorn

        from partdistillation.studio.app import make_application
        from partdistillation.studio.judging import Judging
        from partdistillation.studio.workspace import Workspace
    except ImportError as error:
        raise ConfigError(
            f"the studio needs FastAPI and uvicorn (found: {error}): {to_install('review')}"
        ) from error

    with (
        locked(make_folder(folder), name=_LOCK),
        listening(host, port) as listener,
        terminated_as_interrupted(),
        closing(Judging(workspace := Workspace(folder, images, clicks_model))) as judging,
    ):
        application = make_application(workspace, judging, host=host, token=token)
        settings = uvicorn.Config(application, log_level="warning", access_log=False, server_header=False)
        address = announce(listener, host, token, "Studio")
        if browser and is_loopback(host):
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        uvicorn.Server(settings).run(sockets=[listener])
