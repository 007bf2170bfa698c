"""The flags of a class of arguments: their names, what they take, and their help."""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from partdistillation.commands.arguments import Command, Positional, Written
from partdistillation.settings import Form, Settings

_METAVARS: Mapping[object, str] = {
    int: "INT",
    float: "NUMBER",
    bool: "true|false",
    str: "TEXT",
    Path: "PATH",
}


@dataclass(frozen=True)
class Flag:
    """A value on the command line."""

    place: tuple[str, ...]
    """The fields that lead to it: settings, ranking, num_parts."""
    hint: object
    """Its type."""
    text: str
    """Its help."""
    default: object
    """MISSING where it must be given."""
    group: str = ""
    """Help of the section of settings that it is in."""

    @property
    def name(self) -> str:
        """As it is written: `--ranking.num-parts`, or the metavar of a value without a flag."""
        if self.positional:
            return self.metavar
        return "--" + ".".join(self.place[1:] or self.place).replace("_", "-")

    @property
    def positional(self) -> bool:
        """Whether it stands without a flag."""
        return isinstance(self._written, Positional)

    @property
    def bare(self) -> bool:
        """Whether it takes no value; settings, which may be true in a file, always take one."""
        return self.hint is bool and len(self.place) == 1

    @property
    def metavar(self) -> str:
        """What its value is called."""
        name = self._written.metavar if self._written else "|".join(self.choices)
        return (name or _METAVARS[plain(self.words[0])]) + (" ..." if self.nargs == "*" else "")

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it may be."""
        extras = getattr(self.hint, "__metadata__", ())
        if form := next((extra for extra in extras if isinstance(extra, Form)), None):
            return form.words
        kind = plain(self.words[0])
        return tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()

    @property
    def words(self) -> tuple[object, ...]:
        """The types of its words; the last is Ellipsis where more of the first may follow."""
        kind = plain(self.hint)
        return get_args(kind) if get_origin(kind) is tuple else (self.hint,)

    @property
    def nargs(self) -> int | str | None:
        """What it takes, as argparse calls it; whether a value is missing is not argparse's business."""
        if self.words[-1] is Ellipsis:
            return "*"
        if self.positional:
            return "?"
        return len(self.words) if len(self.words) > 1 else None

    @property
    def call(self) -> str:
        """How it is given: with its default, or what there is to fill in."""
        if self.positional or self.bare:
            return self.name
        empty = self.default in (MISSING, None, "", ())
        return f"{self.name} {self.metavar if empty else _text(self.default)}"

    @property
    def help(self) -> str:
        """What it means, and what else it may be."""
        required = " (required)" if self.default is MISSING else ""
        return self.text + required + (f" [{'|'.join(self.choices)}]" if self.choices else "")

    @property
    def _written(self) -> Written | None:
        extras = getattr(self.hint, "__metadata__", ())
        return next((extra for extra in extras if isinstance(extra, Written)), None)


def flags(
    kind: type, values: Mapping[str, object], place: tuple[str, ...] = (), group: str = ""
) -> Iterator[Flag]:
    """The flags of a class of arguments or settings; defaults are those in `values`, else the class's."""
    hints = get_type_hints(kind, include_extras=True)
    for name, text in _texts(kind).items():
        default = values.get(name, _defaults(kind)[name])
        if isinstance(default, Settings):
            yield from flags(type(default), vars(default), (*place, name), text)
        else:
            yield Flag((*place, name), hints[name], text, default, group)


@cache
def _texts(kind: type) -> dict[str, str]:
    """The docstrings of a dataclass's fields, its own before inherited ones."""
    names = {entry.name for entry in fields(kind)}
    docstrings: dict[str, str] = {}
    for base in filter(is_dataclass, kind.__mro__):
        for name, text in _docstrings(base.__module__).get(base.__qualname__, {}).items():
            docstrings.setdefault(name, text)
    return {name: text for name, text in docstrings.items() if name in names}


@cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """By class and attribute: read from the file, as Python throws away what stands below an attribute."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {
        node.name: {
            ast.unparse(attribute.target): _docstring(below)
            for attribute, below in zip_longest(node.body, node.body[1:])
            if isinstance(attribute, ast.AnnAssign)
        }
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }


def _docstring(statement: ast.stmt | None) -> str:
    """The text, in one line, where a statement is nothing else."""
    match statement:
        case ast.Expr(value=ast.Constant(value=str() as text)):
            return " ".join(text.split())
        case _:
            return ""


@cache
def _defaults(kind: type) -> dict[str, object]:
    return {
        entry.name: entry.default if entry.default_factory is MISSING else entry.default_factory()
        for entry in fields(kind)
    }


def plain(hint: object) -> Any:
    """A type without its annotations, and without None."""
    if get_origin(hint) is Annotated:
        return plain(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return next(plain(option) for option in get_args(hint) if option is not type(None))
    return hint


def _text(value: object) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, tuple):
        return " ".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def is_own(flag: Flag, command: Command) -> bool:
    """Whether a command reads it; others are taken too, as one file or line may have the settings of all."""
    match flag.place:
        case ("inputs", name):
            return name in ("out", *command.inputs)
        case ("settings", name, *_):
            return name in command.settings
        case _:
            return True
