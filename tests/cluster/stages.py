"""A small stage that workers on hosts write, and what there is of it."""

import hashlib
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hosts import Host, Process

WORKER = Path(__file__).with_name("worker.py")


def begin(host: Host, *options: str, out: str = "", environment: Mapping[str, str] | None = None) -> Process:
    """A worker at a stage: in the folder `out` of the host's disk, or at a URL."""
    command = [sys.executable, str(WORKER), out or str(host.disk / "out"), "shared", *options]
    return host.start(command, environment)


def ends(workers: Sequence[Process]) -> list[int]:
    """Exit codes; all that was said where one isn't 0 or a kill."""
    ended = [worker.end() for worker in workers]
    assert all(code in {0, -signal.SIGKILL} for code, _ in ended), ended
    return [code for code, _ in ended]


def contents(out: Path) -> dict[str, str]:
    """SHA-256 by file, of all that a stage's readers see."""
    files = [path for path in sorted(out.iterdir()) if path.is_file() and not path.name.startswith(".")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def claimed(out: Path) -> dict[str, str]:
    """Who holds a claim, by the claim's name."""
    paths = (out / "claims").iterdir() if (out / "claims").is_dir() else ()
    held = {}
    for path in paths:
        if not path.name.startswith("."):
            try:
                held[path.name] = path.read_text().splitlines()[0]
            except FileNotFoundError:  # given back just now
                continue
    return held


def holds(out: Path, host: str) -> bool:
    """Whether a worker of a host holds a claim."""
    return any(holder.startswith(f"{host},") for holder in claimed(out).values())
