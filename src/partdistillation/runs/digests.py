"""SHA-256 of a model's files in a file beside them, so that what is damaged or missing is noticed when read.

A model folder without it is read all the same: those that others publish have none.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partdistillation.errors import CheckpointError
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.versions import versions

FILE = "sha256.json"
TRAINING = "training.json"
"""In a folder of checkpoints and in a trained model's: what it was trained from."""
_PATTERNS = ("*.json", "*.onnx", "*.safetensors")


def model_files(folder: Path) -> list[Path]:
    """The files that make a model: its JSON, safetensors and ONNX files, in order. Not its card."""
    files = (path for pattern in _PATTERNS for path in folder.glob(pattern))
    return sorted(path for path in files if path.name != FILE)


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_digests(
    folder: Path, files: Mapping[str, str] | None = None, *, made_with: Mapping[str, str] | None = None
) -> None:
    """Write what the files of a folder are, and the versions of the software that made them.

    Args:
        folder: where they are.
        files: SHA-256 by file name, where known; else of all files of a model.
        made_with: the versions, if not those of this process.

    Raises:
        StoreError: the folder can't be written.
    """
    if files is None:
        files = {path.name: file_digest(path) for path in model_files(folder)}
    values = {"files": dict(sorted(files.items())), "versions": dict(made_with or versions())}
    replace_file(folder / FILE, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())


def recorded(folder: Path) -> dict[str, str] | None:
    """SHA-256 by file name, as written beside them; None where nothing is.

    Raises:
        CheckpointError: what is written there can't be read.
    """
    values = _read(folder)
    return None if values is None else dict(values["files"])


def recorded_versions(folder: Path) -> dict[str, str]:
    """By package, the versions that the files were made with, as far as it is known.

    Raises:
        CheckpointError: what is written there can't be read.
    """
    values = _read(folder)
    return {} if values is None else dict(values["versions"])


def problems(folder: Path, *, absent: bool = True) -> list[str]:
    """What is damaged (or, with `absent`, missing) in a folder, by the SHA-256 beside its files, if any."""
    try:
        files = recorded(folder) or {}
    except CheckpointError as error:
        return [str(error)]
    found = (
        _problem(folder / name, digest)
        for name, digest in files.items()
        if absent or (folder / name).is_file()
    )
    return [problem for problem in found if problem]


def require_whole(folder: Path) -> None:
    """Make sure that nothing of a folder is damaged or missing.

    Raises:
        CheckpointError: something is; the message names it.
    """
    if found := problems(folder):
        raise CheckpointError(
            f"{'; '.join(found)}. Copy {folder} again from where it is whole; if it is a run's, delete it "
            f"and run the same command again; if you changed a file on purpose, delete {folder / FILE}."
        )


def _problem(path: Path, digest: str) -> str | None:
    if not path.is_file():
        return f"{path} is missing"
    if file_digest(path) != digest:
        return f"{path} is damaged: its SHA-256 isn't the one in {FILE}"
    return None


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / FILE
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not all(_are_texts(values.get(key)) for key in ("files", "versions")):
        raise CheckpointError(f"{path} is damaged: expected the SHA-256 of the files beside it")
    return values


def _are_texts(values: object) -> bool:
    return isinstance(values, dict) and all(isinstance(value, str) for value in values.values())
