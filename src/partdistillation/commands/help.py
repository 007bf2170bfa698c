"""What `--help` prints: of all commands a line each, of a command its own flags and settings."""

from collections.abc import Iterable, Mapping, Sequence
from shutil import get_terminal_size
from textwrap import fill

from partdistillation.commands.arguments import Command
from partdistillation.commands.flags import Flag, flags, is_own
from partdistillation.commands.parsing import usage
from partdistillation.config import Recipe
from partdistillation.settings import Settings

_COLUMN = 38
"""Where the text beside a flag begins."""


def overview(groups: Mapping[str, Sequence[Command]]) -> str:
    """All commands, a line each."""
    width = max(len(command.name) for commands in groups.values() for command in commands)
    blocks = (
        [f"{title}:", *(f"  {command.name:{width}} {command.function.__doc__}" for command in commands)]
        for title, commands in groups.items()
    )
    return "\n\n".join(
        [
            "usage: partdistill COMMAND [options]",
            "From photographs and object class names to labelled parts, and a model that segments them.",
            *map("\n".join, blocks),
            "`partdistill COMMAND --help` lists its options, `partdistill --version` prints the version.",
        ]
    )


def command_help(command: Command, start: Mapping[str, Settings]) -> str:
    """A command's own flags, with the defaults that `start` has."""
    own = [flag for flag in flags(command.arguments, start) if is_own(flag, command)]
    own.sort(key=lambda flag: not flag.positional)
    more = ["All other settings can be given too: `partdistill settings` lists them."] if start else []
    text = str(command.function.__doc__)
    return "\n\n".join([f"usage: {usage(command)}", text, *_blocks(own), *more])


def settings_help(recipe: Recipe) -> str:
    """All settings, by section."""
    return "\n\n".join(_blocks(flags(Recipe, vars(recipe), ("settings",))))


def _blocks(entries: Iterable[Flag]) -> list[str]:
    """A block for each section of settings, and one for what is in none."""
    blocks: dict[str, list[str]] = {}
    for flag in entries:
        title = flag.group.rstrip(".") or "options, with their defaults"
        blocks.setdefault(title, [f"{title}:"]).append(_entry(flag))
    return list(map("\n".join, blocks.values()))


def _entry(flag: Flag) -> str:
    """A flag and, beside it or below, its text."""
    call, indent = f"  {flag.call}", " " * _COLUMN
    width = get_terminal_size().columns
    text = fill(flag.help, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    return f"{call:{_COLUMN}}{text[_COLUMN:]}" if len(call) < _COLUMN else f"{call}\n{text}"
