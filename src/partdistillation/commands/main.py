"""The command line: which command a line names, and what is printed when it fails. No torch here."""

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from partdistillation.commands import data, doctor, experiments, figures, judge, results, run, studio
from partdistillation.commands.arguments import (
    Arguments,
    Command,
    ProfiledArguments,
    StageArguments,
    TrainingArguments,
)
from partdistillation.commands.help import command_help, overview
from partdistillation.commands.parsing import parse, read
from partdistillation.errors import ConfigError, PartDistillationError
from partdistillation.runs.mirror import original
from partdistillation.runs.terminal import say
from partdistillation.settings import nearest

GROUPS = {
    "the method": run.COMMANDS,
    "in the browser": studio.COMMANDS,
    "judging parts": judge.COMMANDS,
    "experiments": experiments.COMMANDS,
    "figures": figures.COMMANDS,
    "results in other tools": results.COMMANDS,
    "data and models": data.COMMANDS,
    "trouble": doctor.COMMANDS,
}
COMMANDS = {command.name: command for commands in GROUPS.values() for command in commands}


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 (an error that the message explains) or 130 (stopped)."""
    args = list(sys.argv[1:] if args is None else args)
    try:
        _dispatch(args)
    except PartDistillationError as error:
        if "--debug" in args:
            say(traceback.format_exc(), end="", stderr=True)
        say(f"partdistill: {original(str(error))}", stderr=True)
        return 2
    except BrokenPipeError:  # as in `partdistill run --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # of a file of the user's; those that are written here say more
        if "--debug" in args:
            say(traceback.format_exc(), end="", stderr=True)
        say(f"partdistill: {_of_the_system(error)}", stderr=True)
        return 2
    except KeyboardInterrupt:
        say("stopped; run the same command again to go on", stderr=True)
        return 130
    return 0


def _of_the_system(error: OSError) -> str:
    place = "a file" if error.filename is None else error.filename
    return (
        f"{place}: expected to be able to read or write it, found {error.strerror or error}. What is done so "
        "far is kept: check the path, its permissions and the room on the disk, then run the same command "
        "again."
    )


def _dispatch(args: Sequence[str]) -> None:
    words = [word for word in args if word not in ("-h", "--help")]
    words = words[1:] if words[:1] == ["help"] else words
    if not words:
        say(overview(GROUPS))
    elif words[0] == "--version":
        from partdistillation import __version__

        say(f"partdistill {__version__}")
    elif len(words) < len(args):
        _help(words)
    else:
        _run(words)


def _run(words: Sequence[str]) -> None:
    command, args = _named(words)
    arguments = parse(command, args)
    _require_device(arguments)
    with _profile(arguments), _watched(arguments):
        command.function(arguments)


def _require_device(arguments: Arguments) -> None:
    """Say at once that a device isn't there; what is always there needs no look, nor torch."""
    inputs = arguments.inputs if isinstance(arguments, StageArguments) else arguments
    device = getattr(inputs, "device", "auto")
    if device not in ("auto", "cpu"):
        from partdistillation.models.devices import choose_device

        choose_device(device)


def _help(words: Sequence[str]) -> None:
    """Print a command's help, with the defaults that the flags lead to."""
    family = _family(words[0])
    if family and len(words) == 1:
        say(overview({words[0]: family}))
        return
    command, args = _named(words)
    values, _ = read(command, args)
    say(command_help(command, command.arguments.start(values)))


def _named(args: Sequence[str]) -> tuple[Command, Sequence[str]]:
    """The command that the first words name, and the others."""
    words = 1 if args[0] in COMMANDS else 2
    name = " ".join(args[:words])
    if name not in COMMANDS:
        raise ConfigError(_unknown(args))
    return COMMANDS[name], args[words:]


def _unknown(args: Sequence[str]) -> str:
    if family := _family(args[0]):
        commands = " or ".join(f"`partdistill {command.name}`" for command in family)
        return f"expected {commands}, found {repr(args[1]) if args[1:] else 'nothing'} after {args[0]}"
    return f"expected a command, found {args[0]!r}.{nearest(args[0], COMMANDS) or ' See `partdistill help`.'}"


def _family(word: str) -> list[Command]:
    """The commands of two words that begin with this one."""
    return [command for command in COMMANDS.values() if command.name.startswith(f"{word} ")]


def _profile(arguments: Arguments) -> AbstractContextManager[None]:
    if not (isinstance(arguments, ProfiledArguments) and arguments.profile):
        return nullcontext()
    from partdistillation.runs import profiling

    return profiling.shown(arguments.folder)


def _watched(arguments: Arguments) -> AbstractContextManager[None]:
    if not (isinstance(arguments, TrainingArguments) and arguments.log):
        return nullcontext()
    from partdistillation.training.trackers import watched_by

    return watched_by(arguments.log)
