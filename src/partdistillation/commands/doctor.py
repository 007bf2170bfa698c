"""`partdistill doctor`: what a bug report needs, and whether a run's or a data set's files are whole."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

from partdistillation.commands.arguments import Arguments, Command, Written
from partdistillation.errors import InputError, StoreError

PACKAGES = ("partdistillation", "torch", "transformers", "numpy", "scipy", "scikit-learn", "numba", "pyarrow")
GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class DoctorArguments(Arguments):
    out: Path | None = None
    """Folder of a run whose files are to be verified."""
    deep: bool = False
    """Compare the contents of the run's photographs and masks too, not only their size and time."""
    dataset: Annotated[tuple[str, Path] | None, Written("NAME DIR")] = None
    """Part data set (docs/part-datasets.md), and the folder of the copy to check, instead."""


def doctor(arguments: DoctorArguments) -> None:
    """Print versions, device, memory; verify a run's files or a data set."""
    if arguments.dataset is None:
        run(arguments.out, deep=arguments.deep)
    else:
        check_dataset(*arguments.dataset)


def run(out: Path | None, *, deep: bool = False) -> None:
    """Print versions, device, threads, memory and disk; verify the stages and models in `out`.

    Raises:
        StoreError: a stage or a model of `out` isn't whole, or its photographs and masks aren't those that it
            was made from (raised after everything has been printed).
    """
    from rich.table import Table

    from partdistillation.runs.console import PlainConsole

    table = Table(show_header=False, box=None)
    for name, value in (*_software(), *_machine(out or Path())):
        table.add_row(name, value)
    PlainConsole().print(table)
    if out is None:
        return
    from partdistillation.commands.whole import verified

    console, whole = PlainConsole(), dict[str, bool]()
    for check in verified(out, deep=deep):  # printed at once: a data set's contents take minutes
        whole[check.name] = check.show(console)
    if not whole:
        console.print(
            f"{out}: nothing was checked, as no stage and no model is in it", style="yellow", soft_wrap=True
        )
    broken = [name for name, good in whole.items() if not good]
    if broken:
        raise StoreError(
            f"{out}: expected whole stages, found missing or damaged files in {', '.join(broken)}: "
            "run the command that made them again"
        )


def check_dataset(name: str, root: Path) -> None:
    """Print what there is to say about a copy of a part data set (docs/part-datasets.md).

    Raises:
        InputError: no such data set or folder; or the copy has problems (raised after all are printed).
    """
    from rich.table import Table

    from partdistillation.datasets.prepare import findings
    from partdistillation.runs.console import PlainConsole, words

    console = PlainConsole()
    problems = 0
    for severity, text in findings(name, root):  # printed one by one: all take minutes
        style = {"ok": "green", "note": "yellow", "problem": "red"}[severity]
        table = Table(show_header=False, box=None)
        table.add_column(no_wrap=True, min_width=len("problem"))
        table.add_column(overflow="fold")
        table.add_row(words(severity, style), words(text))
        console.print(table)
        problems += severity == "problem"
    if problems:
        raise InputError(f"{root}: expected a whole copy of {name}, found {problems} problems, listed above")


def _software() -> Iterator[tuple[str, str]]:
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "not installed"


def _machine(out: Path) -> Iterator[tuple[str, str]]:
    import torch  # about a second: only when its answer is asked for

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        yield "device", f"{torch.cuda.get_device_name()}, {free / GIB:.0f} of {total / GIB:.0f} GiB free"
    elif torch.backends.mps.is_available():
        yield "device", "mps (Apple's GPU)"
    else:
        yield "device", "cpu (no CUDA device that this build of torch can use)"
    yield "threads", f"{torch.get_num_threads()} for torch, {os.cpu_count()} cores"
    yield "memory", _memory()
    existing = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    disk = shutil.disk_usage(existing)
    yield "disk", f"{disk.free / GIB:.1f} of {disk.total / GIB:.1f} GiB free at {existing}"


def _memory() -> str:
    """Free and total memory, from the kernel (Linux), else the total alone."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        kib = {line.split(":")[0]: int(line.split()[1]) for line in meminfo.read_text().splitlines()}
        return f"{kib['MemAvailable'] / 1024**2:.1f} of {kib['MemTotal'] / 1024**2:.1f} GiB free"
    if not hasattr(os, "sysconf"):
        return "not told by this system"
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / GIB:.1f} GiB"


COMMANDS = (Command("doctor", DoctorArguments, doctor),)
