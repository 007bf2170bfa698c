"""The studio: all of it in a browser."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from partdistillation.commands.arguments import Arguments, Command, Positional
from partdistillation.errors import ConfigError
from partdistillation.settings import Range


@dataclass(frozen=True, kw_only=True)
class StudioArguments(Arguments):
    folder: Annotated[Path, Positional("OUT")] = Path("out")
    """Folder of a run, or a folder for several of them."""
    images: Path | None = None
    """Folder of the photographs to look at; without it each run's own."""
    clicks_model: str = ""
    """SAM or SAM 2, a folder or hub name, which says what clicks on new photographs mean."""
    host: str = "127.0.0.1"
    """Address to listen at. Others than this machine's own need a token."""
    port: Annotated[int, Range(0, 65535)] = 8764
    """Port to listen at; 0 takes a free one."""
    token: str | None = None
    """What visitors must have, at least 16 characters."""
    no_browser: bool = False
    """Don't open the page in the browser."""


def studio(arguments: StudioArguments) -> None:
    """All of it in the browser: start, watch, look, name, try, judge."""
    if sys.platform == "win32":  # its runs are processes that are found again, and stopped, as POSIX has it
        raise ConfigError(
            "studio: expected Linux or macOS, found Windows; run it in WSL, or use `partdistill run`"
        )
    from partdistillation.studio.serve import serve

    serve(
        arguments.folder,
        images=arguments.images,
        clicks_model=arguments.clicks_model,
        host=arguments.host,
        port=arguments.port,
        token=arguments.token,
        browser=not arguments.no_browser,
    )


COMMANDS = (Command("studio", StudioArguments, studio),)
