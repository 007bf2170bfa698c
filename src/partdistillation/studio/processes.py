"""Commands as processes of their own: they go on without the server, and it finds them again.

A process is known by its number and the instant it was started, since numbers are given again. How it ended
is read from what it said last, as nobody may have been there when it did.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from partdistillation.errors import StoreError
from partdistillation.runs.atomic import appending, locked, make_folder
from partdistillation.runs.notes import read_note, write_note
from partdistillation.runs.terminal import printable

Ended = Literal["finished", "stopped", "failed"]
LOG = "log.txt"
NOTE = "process.json"

_LOCK = ".start.lock"
_MOST_READ = 64 * 1024
"""Bytes of the end of a log."""
_STOPPED = "stopped; run the same command again"
_EXPLAINED = "partdistill: "
_PROC = Path("/proc")


class Command:
    """A command of this software that runs for a folder, or did, or is to.

    Args:
        folder: for its note and its log.
        last_words: how the last line of one that has succeeded begins.
    """

    def __init__(self, folder: Path, last_words: str = "Open ") -> None:
        self.folder, self._last_words = folder, last_words

    @property
    def note(self) -> dict[str, object]:
        """What is known of its last start: `pid`, `started`, `argv`, `begun`, `log`, `stopping`."""
        return read_note(self.folder / NOTE)

    def start(self, arguments: Sequence[str]) -> None:
        """Start `python -m partdistillation ARGUMENTS`, in a session of its own.

        Raises:
            StoreError: it runs already, or the folder can't be written.
        """
        with locked(make_folder(self.folder), name=_LOCK, wait=True):
            if self.is_alive():
                raise StoreError("it is going on already: watch it, or stop it first")
            argv = [sys.executable, "-m", "partdistillation", *arguments]
            log = self.folder / LOG
            with appending(log) as output:
                said_before = os.fstat(output).st_size
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # neither Ctrl-C nor the end of the terminal reaches it
                )
            note = {
                "pid": process.pid,
                "started": started(process.pid),
                "argv": argv,
                "begun": time.time(),
                "log": said_before,
                "stopping": False,
            }
            write_note(self.folder / NOTE, note)
            threading.Thread(target=process.wait, daemon=True).start()  # or it would stay as a zombie

    def is_alive(self) -> bool:
        """Whether the process that was started last runs."""
        note = self.note
        pid = note.get("pid")
        return isinstance(pid, int) and pid > 1 and bool(mark := started(pid)) and mark == note.get("started")

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C does; if it was asked before, end it and its workers at once.

        Raises:
            StoreError: the folder can't be written.
        """
        with locked(make_folder(self.folder), name=_LOCK, wait=True):
            note = self.note
            pid = note.get("pid")
            if not self.is_alive() or not isinstance(pid, int):
                return
            write_note(self.folder / NOTE, note | {"stopping": True})
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.killpg(pid, signal.SIGKILL if note.get("stopping") else signal.SIGINT)

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to end."""
        return bool(self.note.get("stopping"))

    def ended(self) -> Ended:
        """How one ended that has been started, and runs no more."""
        last = (self.said() or [""])[-1]
        if last.startswith(self._last_words):
            return "finished"
        return "stopped" if self.is_stopping or last.startswith(_STOPPED) else "failed"

    def said(self) -> list[str]:
        """The last lines that it printed since it was started, nothing in them that a terminal obeys."""
        first = self.note.get("log")
        try:
            with (self.folder / LOG).open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(first if isinstance(first, int) else 0, size - _MOST_READ))
                text = log.read(_MOST_READ).decode("utf-8", "replace")
        except OSError:
            return []
        return [line for line in map(printable, text.splitlines()) if line.strip()]

    def why(self) -> str:
        """Why one failed, for whoever started it."""
        said = self.said()
        explained = [place for place, line in enumerate(said) if line.startswith(_EXPLAINED)]
        if explained:
            return "\n".join(said[explained[-1] :]).removeprefix(_EXPLAINED)
        if any(line.startswith("Traceback ") for line in said):
            return f"The software made a mistake: {said[-1]}"
        return (
            "It ended without a word. Mostly the system was out of memory and stopped it, or the machine was "
            "switched off. Nothing that was done is lost: go on, perhaps with fewer other programs open."
        )


def started(pid: int) -> str:
    """When a process was started, as the system tells it; empty where there is none that runs."""
    if (_PROC / "self/stat").is_file():
        try:
            fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        state, *numbers = fields.rpartition(")")[2].split()  # before it stands a name that may hold anything
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return "" if state in "ZX" else f"{boot} {numbers[18]}"
    listed = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, instant = listed.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else instant.strip()
