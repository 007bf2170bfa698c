"""The object classes of a run as a text file: one class a line, `name`, `name<TAB>prompt` or
`name<TAB>prompt<TAB>folder`. Empty lines, and lines that start with `#`, are skipped.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from partdistillation.errors import InputError
from partdistillation.runs import terminal
from partdistillation.runs.atomic import replace_file

_log = terminal.logger(__name__)

COMMENT = "#"
_BYTE_ORDER_MARK = "\ufeff"
"""No more to be seen than a space; of a file's first line it would be lost."""
_COLUMNS = ("name", "prompt", "folder")


class ClassEntry(NamedTuple):
    """One object class."""

    name: str
    """Unique in its list; the category of the objects that are found."""
    prompt: str
    """What a text model reads. Two classes may share it: both birds and machines are a "crane"."""
    folder: str
    """The folder of this class in a folder of images: "n02012849" in ImageNet-21K."""


@dataclass(frozen=True)
class ClassList:
    """Object classes in their order: that of a text model's columns, and of the file.

    Raises:
        InputError: a class has no name, prompt or folder, one that the file can't hold, or the name or folder
            of another class.
    """

    entries: tuple[ClassEntry, ...]

    def __post_init__(self) -> None:
        names: dict[str, int] = {}
        folders: dict[str, int] = {}
        for number, entry in enumerate(self.entries, start=1):
            if problem := _problem(entry, names, folders, "class"):
                raise InputError(f"class {number}: {problem}")
            names[entry.name] = folders[entry.folder] = number

    def of_folder(self, folder: str) -> ClassEntry | None:
        """The class whose images are in a folder of this name; None where there is none."""
        return self._by_folder.get(folder)

    @cached_property
    def _by_folder(self) -> dict[str, ClassEntry]:
        return {entry.folder: entry for entry in self.entries}


def read_class_list(path: Path) -> ClassList:
    """Read a class list. Prompt and folder are the name where they are left out.

    Raises:
        InputError: the file can't be read, holds no class, or a line (which the message names) can't be used.
    """
    entries: list[ClassEntry] = []
    names: dict[str, int] = {}
    folders: dict[str, int] = {}
    for number, line in content_lines(path):
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) > len(_COLUMNS):
            raise InputError(
                f"{path}, line {number}: expected at most {len(_COLUMNS)} columns between tabs "
                f"({', '.join(_COLUMNS)}), found {len(cells)}"
            )
        name, prompt, folder = cells + [""] * (len(_COLUMNS) - len(cells))
        entry = ClassEntry(name, prompt or name, folder or name)
        if problem := _problem(entry, names, folders, "line"):
            raise InputError(f"{path}, line {number}: {problem}")
        names[entry.name] = folders[entry.folder] = number
        entries.append(entry)
    if not entries:
        raise InputError(f"{path}: expected object classes, one a line, found none")
    if len(entries) > 1 and all(";" in entry.name for entry in entries):
        _log.warning("%s: all names have semicolons, such as %r; columns have tabs between them", path, name)
    return ClassList(tuple(entries))


def write_class_list(path: Path, classes: ClassList, *, comment: str = "") -> None:
    """Write a class list that `read_class_list` reads as the same; `comment` stands above it, line by line.

    Raises:
        StoreError: the file can't be written. What was there is left as it was.
    """
    lines = [f"{COMMENT} {line}".rstrip() for line in comment.splitlines()]
    lines += [_line(entry) for entry in classes.entries]
    replace_file(path, "".join(f"{line}\n" for line in lines).encode())


def content_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are neither empty nor a comment, with their numbers from 1.

    Raises:
        InputError: the file can't be read, or isn't UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected text in UTF-8, found byte {error.start} to be something else"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: expected a text file, one class a line: {error.strerror}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith(COMMENT):
            yield number, line.rstrip("\r")


def folders_or_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The names of a folder's folders, or the `content_lines` of a file, numbered.

    Raises:
        InputError: as `content_lines`.
    """
    if not path.is_dir():
        return content_lines(path)
    names = (entry.name for entry in os.scandir(path) if entry.is_dir())
    return enumerate(sorted(name for name in names if name.strip() and not name.startswith(".")), start=1)


def _of_another_layout(name: str) -> str:
    """What a name is of other files that list classes, and what to do; empty for one of a class list."""
    if re.match(r"n\d{8}[ ,]", name):
        return f"{name!r:.60} of ImageNet's list; `partdistill classes --names` makes a class list of it"
    if re.match(r"[\[{]\s*[\"']", name):
        return f"{name!r:.60}, which is JSON; write one class a line"
    return ""


def _problem(entry: ClassEntry, names: dict[str, int], folders: dict[str, int], unit: str) -> str | None:
    """What is wrong with a class after those with these names and folders (with their places in `unit`s)."""
    if foreign := _of_another_layout(entry.name):
        return f"expected a class (name, prompt, folder), found {foreign}"
    for column, value in zip(_COLUMNS, entry, strict=True):
        if not value:
            return f"expected a {column}, found nothing"
        if value != value.strip().strip(_BYTE_ORDER_MARK) or any(mark in value for mark in "\t\n\r"):
            return f"expected a {column} of one line without tabs or outer spaces, found {value!r}"
    if entry.name.startswith(COMMENT):
        return f"expected a name that doesn't start with {COMMENT!r} (a comment), found {entry.name!r}"
    if entry.name in names:
        return f"expected every name once, found {entry.name!r} again ({unit} {names[entry.name]} has it)"
    if entry.folder in folders:
        return (
            f"expected every folder once, found {entry.folder!r} again ({unit} {folders[entry.folder]} "
            "has it): one of the two classes needs a folder of its own, in the third column"
        )
    return None


def _line(entry: ClassEntry) -> str:
    if entry.folder != entry.name:
        return "\t".join(entry)
    return entry.name if entry.prompt == entry.name else f"{entry.name}\t{entry.prompt}"
