"""The files that figures are written to: .png or .pdf."""

from pathlib import Path

from partdistillation.errors import InputError
from partdistillation.runs.atomic import replace_file


def check_path(path: Path) -> None:
    """Raise InputError unless a figure can be written there; to be known before it is drawn."""
    if path.suffix.lower() not in (".png", ".pdf"):
        raise InputError(f"expected a file ending in .png or .pdf, found {path.name!r}: rename it")
    if not path.parent.is_dir():
        raise InputError(
            f"expected a folder {path.parent} to write {path.name} to, found none: make it first"
        )


def write(path: Path, content: bytes) -> Path:
    """Write a figure whole or not at all.

    Raises:
        StoreError: it can't be written there.
    """
    replace_file(path, content)
    return path
