"""The hub that published models come from: where it can't be reached, which commit, all files of a model."""

import os
from functools import lru_cache
from pathlib import Path

from huggingface_hub import constants, get_session, hf_hub_download, snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from partdistillation.errors import CheckpointError

SECONDS = 10.0
"""So long it is waited for an answer, once a process."""
FILES = ("*.json", "*.onnx", "*.safetensors")
"""What is downloaded of a model: nothing that could run code when it is loaded."""
_BLOBS = "blobs"
"""Folder of the hub's cache, beside `snapshots`, that the files of a snapshot are links into."""


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
    if problem := misnamed(str(source).partition("@")[0]):
        why = f"it can't be a published model's name ({problem})"
    elif constants.HF_HUB_OFFLINE:
        why = "the hub can't be reached (or HF_HUB_OFFLINE forbids it) and none of that name was kept before"
    else:
        said = str(error).partition("\n")[0]
        why = f"the hub has none of that name that can be read ({said})"
    return (
        f"{source}: expected a model directory or the name of a published model, found neither: no folder "
        f"{Path(source).absolute()}, and {why}. Check the path or the name. Without the hub a folder works, "
        "or `builtin:part-shapes` for a try."
    )


def misnamed(name: str) -> str:
    """Why the hub can't have a model of that name; empty where it could."""
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        return str(error)
    return "" if name.count("/") == 1 else f"expected owner/name, found {name!r}"


def commit(name: str) -> str:
    """The commit hash of a published model, as it is on the hub, or in its cache where that can't be reached.

    Raises:
        CheckpointError: there is no such model.
    """
    try_once()
    try:
        return Path(hf_hub_download(name, "config.json")).parent.name
    except Exception as error:  # the hub client has many, and its library of requests has others
        raise CheckpointError(not_there(name, error)) from error


def snapshot(name: str, revision: str | None = None) -> Path:
    """The folder with all `FILES` of a published model, downloaded if need be; its name is the commit hash.

    Args:
        name: owner/name.
        revision: a branch, a tag or a commit hash; by default the newest commit.

    Raises:
        CheckpointError: there is no such model or revision, or its folder holds links to files elsewhere.
    """
    source = name if revision is None else f"{name}@{revision}"
    try_once()
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except Exception as error:  # as above
        raise CheckpointError(not_there(source, error)) from error
    _require_own(folder)
    return folder


def _require_own(folder: Path) -> None:
    """Refuse links that lead out of a model's part of the cache, whose own links lead to its blobs."""
    blobs = (folder.parents[1] / _BLOBS).resolve()
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(blobs):
            raise CheckpointError(
                f"{path}: expected a file, found a link to {path.resolve()}, which isn't of this model and "
                f"isn't followed; delete {folder} and load the model again"
            )
