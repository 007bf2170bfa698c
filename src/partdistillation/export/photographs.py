"""The photographs beside an export: copied into it, linked to, or read by the other tool where they are."""

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from partdistillation.data.paths import advice, is_file
from partdistillation.errors import InputError
from partdistillation.runs import listings
from partdistillation.runs.archives import place_of, read_bytes
from partdistillation.runs.atomic import make_folder, replace_file

IMAGES = "images"
"""Folder of the photographs in an export that holds them."""


@dataclass(frozen=True)
class Photographs:
    """What an export does with photographs."""

    folder: Path
    """Where they are."""
    use: Literal["copied", "linked", "read", "none"]

    def put(self, file_name: str, export: Path) -> None:
        """Do it with one of them. Done again, nothing changes.

        Raises:
            InputError: it isn't there, or in an archive where the other tool can't read it.
        """
        source, target = self.folder / file_name, export / IMAGES / file_name
        match self.use:
            case "copied":
                make_folder(target.parent)
                replace_file(target, _content(source))
            case "linked":
                if not is_file(source):
                    raise InputError(f"{source}: expected a photograph, found none; {advice(source)}")
                _require_file(source)
                make_folder(target.parent)
                # Not one to the folder: readers that resolve it would look for labels in there.
                with suppress(FileExistsError):
                    os.symlink(source, target)  # noqa: PTH211
            case "read":
                _require_file(source)

    def fetched(self, file_names: Iterable[str]) -> AbstractContextManager[None]:
        """Within, those of a bucket that are copied are in memory."""
        if self.use != "copied":
            return nullcontext()
        return listings.fetched(map(self.folder.joinpath, file_names))


def _content(source: Path) -> bytes:
    try:
        return read_bytes(source)
    except OSError as error:
        raise InputError(
            f"{source}: expected a photograph to copy, found {error.strerror}; {advice(source)}"
        ) from error


def _require_file(source: Path) -> None:
    if place_of(source) is not None:
        raise InputError(
            f"{source}: expected a file for the other tool to read, found a photograph in an archive; "
            "give --copy-images"
        )
