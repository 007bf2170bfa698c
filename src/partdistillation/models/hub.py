"""The hub that published models come from, where it can't be reached."""

import os
from functools import lru_cache
from pathlib import Path

from huggingface_hub import constants, get_session

from partdistillation.models.sources import BUILTIN

SECONDS = 10.0
"""So long it is waited for an answer, once a process."""


@lru_cache(maxsize=1)
def try_once() -> None:
    """Forbid the hub to this process and those that it starts, where it doesn't answer.

    Its library would try again for half a minute, file by file, and take what it has kept only then.
    """
    if constants.HF_HUB_OFFLINE:
        return
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception:  # every library of requests has its own
        constants.HF_HUB_OFFLINE = True
        os.environ["HF_HUB_OFFLINE"] = "1"


def not_there(source: str | Path, error: Exception) -> str:
    """What to say of a model that is neither a folder nor can be had from the hub."""
    if constants.HF_HUB_OFFLINE:
        why = "the hub can't be reached (or HF_HUB_OFFLINE forbids it) and none of that name was kept before"
    else:
        why = f"the hub has none of that name that can be read ({str(error).splitlines()[0]})"
    return (
        f"{source}: expected a model directory or the name of a published model, found neither: no folder "
        f"{Path(source).absolute()}, and {why}. Check the path or the name. Without the hub a folder works, "
        f"or `{BUILTIN}part-shapes` for a try."
    )
