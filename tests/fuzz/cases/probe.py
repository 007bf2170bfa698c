"""Run cases in a process of their own, and print a line of JSON before and after each.

    python tests/fuzz/cases/probe.py images 17 "40 scans"      these cases, by their seeds or names
    python tests/fuzz/cases/probe.py annotations 100-200       seeds from and up to

A case that crashes the process, or hangs, is the last that was begun; its files stay in the folder that is
printed first. What seeds and names stand for is in the module of the kind.
"""

import importlib
import json
import re
import resource
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

MOST_MEMORY = 6 << 30
"""Bytes of address space beside what the process starts with: a runaway case ends here, not the machine."""


def main(kind: str, names: Sequence[str]) -> None:
    cases: Any = importlib.import_module(kind)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    say(folder=str(folder))
    limit_memory()
    for name in expanded(names):
        cases.write(folder, name)
        say(begin=name)
        reset_peak()
        before, start = peak_mb(), cpu_seconds()
        outcome = outcome_of(cases, folder)
        say(
            end=name,
            outcome=outcome,
            seconds=cpu_seconds() - start,
            megabytes=peak_mb() - before,
            child_megabytes=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10,
        )


def outcome_of(cases: Any, folder: Path) -> str:
    """The name of an exception that is expected, nothing where there is none, a traceback of any other."""
    try:
        cases.read(folder)
    except cases.EXPECTED as error:
        return type(error).__name__
    except BaseException:
        return traceback.format_exc()
    return ""


def expanded(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        seeds = re.fullmatch(r"(\d+)-(\d+)", name)
        if seeds:
            yield from map(str, range(int(seeds[1]), int(seeds[2]) + 1))
        else:
            yield name


def say(**values: object) -> None:
    print(json.dumps(values), flush=True)


def cpu_seconds() -> float:
    """Of this process and those that it has started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(times.ru_utime + times.ru_stime for times in used)


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> int:
    """The most memory of this process since `reset_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def limit_memory() -> None:
    started = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (started + MOST_MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
