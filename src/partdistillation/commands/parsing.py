"""From a command line to a command's arguments; what can't be used is a ConfigError, worded as any other."""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING
from itertools import repeat
from pathlib import Path
from typing import Any

from partdistillation.commands.arguments import Arguments, Command
from partdistillation.commands.flags import Flag, flags, is_own, plain
from partdistillation.errors import ConfigError
from partdistillation.runs.mirror import is_mirrored, open_mirror
from partdistillation.settings import as_url, at_home, check, is_url, nearest

_OF_RUNS = {
    "out",
    "folder",
    "run",
    "runs",
    "model",
    "part_model",
    "predictions",
    "against",
    "reviewed",
    "others",
}
"""What may be a URL, and is a folder of files that this software wrote, or will."""


def parse(command: Command, args: Sequence[str]) -> Arguments:
    """The command's arguments.

    Raises:
        ConfigError: a flag that isn't there, a value that is missing or can't be used.
    """
    values, rest = read(command, args)
    known = tuple(flags(command.arguments, {}))
    if rest:
        raise ConfigError(_surplus(command, rest, known))
    missing = [flag.name for flag in known if flag.default is MISSING and flag.place[0] not in values]
    if missing:
        raise ConfigError(
            f"expected {' and '.join(missing)}, found none: see `partdistill {command.name} --help`"
        )
    start = command.arguments.start(values)
    changed = {name: settings.updated(values.get(name, {})) for name, settings in start.items()}
    return command.arguments(**{**values, **changed})


def read(command: Command, args: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The values of the flags, nested as the fields are, and the words that belong to none."""
    known = {".".join(flag.place): flag for flag in flags(command.arguments, {})}
    parser = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False, argument_default=argparse.SUPPRESS
    )
    for flag in known.values():
        _add(parser, flag)
    try:
        words, rest = parser.parse_known_intermixed_args([*_spelled(args, known.values())])
    except argparse.ArgumentError as error:
        flag = next(flag for flag in known.values() if flag.name == error.argument_name)
        raise ConfigError(_misfit(flag)) from error
    values = _values(words, known)
    inputs = values.get("inputs", {})
    mirrored = "out" in inputs and is_mirrored(inputs["out"])  # then others may be at it, on other machines
    if mirrored and inputs.setdefault("engine", "shared") == "processes":
        raise ConfigError("--engine: expected none with a URL for --out, found processes: leave it out")
    return values, rest


def _values(words: argparse.Namespace, known: Mapping[str, Flag]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for place, texts in vars(words).items():
        section = values
        for name in known[place].place[:-1]:
            section = section.setdefault(name, {})
        section[known[place].place[-1]] = _value(known[place], texts)
    return values


def _misfit(flag: Flag) -> str:
    """What to say of a flag with fewer words than it takes, or with one where it takes none."""
    if flag.bare:
        return f"{flag.name}: expected no value, found one"
    return f"{flag.name}: expected {flag.metavar}, found {'none' if flag.nargs is None else 'less'}"


def _add(parser: argparse.ArgumentParser, flag: Flag) -> None:
    place = ".".join(flag.place)
    if flag.positional:
        parser.add_argument(place, nargs=flag.nargs)
    elif flag.bare:
        parser.add_argument(flag.name, dest=place, action="store_true")
    else:
        parser.add_argument(flag.name, dest=place, nargs=flag.nargs)


def usage(command: Command) -> str:
    """How the command is called: its values without flags."""
    positional = [flag for flag in flags(command.arguments, {}) if flag.positional]
    words = [flag.name if flag.default is MISSING else f"[{flag.name}]" for flag in positional]
    return " ".join(["partdistill", command.name, *words, "[options]"])


def _spelled(args: Sequence[str], known: Iterable[Flag]) -> Iterator[str]:
    """Flags may be written with _ in place of -."""
    names = {flag.name for flag in known}
    for word in args:
        name, equals, value = word.partition("=")
        dashed = name.replace("_", "-")
        yield f"{dashed}{equals}{value}" if dashed in names else word


def _surplus(command: Command, rest: Sequence[str], known: Sequence[Flag]) -> str:
    """What to say of words that belong to no flag."""
    word = next((word for word in rest if word.startswith("-")), rest[0]).partition("=")[0]
    if not word.startswith("-"):
        return f"expected `{usage(command)}`, found {word!r} besides"
    own = [flag.name for flag in known if is_own(flag, command)]
    sections = [name for name in own if name.endswith(f".{word.strip('-')}")]  # --k for --segments.k
    if sections:
        hint = f" Did you mean {' or '.join(map(repr, sections))}?"
    else:
        hint = nearest(word, [flag.name for flag in known]) or f" See `partdistill {command.name} --help`."
    return f"expected a flag of `partdistill {command.name}`, found {word!r}.{hint}"


def _value(flag: Flag, texts: str | list[str] | bool) -> object:
    if isinstance(texts, bool):
        return texts
    words = texts if isinstance(texts, list) else [texts]
    kinds = repeat(flag.words[0]) if flag.nargs == "*" else flag.words
    values = tuple(
        _here(flag, _word(flag.name, kind, word)) for kind, word in zip(kinds, words, strict=False)
    )
    return values if len(flag.words) > 1 else values[0]


def _here(flag: Flag, value: object) -> object:
    """The value; of the URL of a run or model, or of what is to be one, the folder that mirrors it."""
    if isinstance(value, Path) and flag.place[-1] in _OF_RUNS and is_url(value):
        return open_mirror(as_url(value))
    return value


def _word(name: str, hint: object, word: str) -> object:
    """A word as a value of that type; of another type as it is, which the check refuses."""
    kind = plain(hint)
    value: object = word
    if kind is bool:
        value = {"true": True, "false": False}.get(word.lower(), word)
    elif kind in (int, float, Path):
        with suppress(ValueError):
            value = kind(word)
    if isinstance(value, Path):
        value = at_home(value)
    check(name, hint, value)
    return value
