"""A process that looks at photographs, apart from the server: it may die, and another takes its place."""

import os
import shutil
import signal
import tempfile
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from partdistillation.errors import InputError, PartDistillationError
from partdistillation.runs.atomic import make_folder
from partdistillation.runs.workers import WorkerContext, WorkerProcess
from partdistillation.studio.questions import Question

A = TypeVar("A")

MOST_WAITING = 8
"""Questions that are asked at a time; whoever comes then is told to come again."""
SECONDS = 600
"""For one answer."""


class Busy(PartDistillationError):
    """Too many questions are waiting."""


class Ended(PartDistillationError):
    """The process ended before it had answered."""


class Worker:
    """Answers one question at a time in a process that begins with the first, and ends with this one.

    Args:
        folder: private, for what must be a file while it is looked at. It is emptied now, whenever a process
            ends, and at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: WorkerProcess | None = None
        self._connection: Connection[Any, Any] | None = None
        self._alone = threading.Lock()
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._empty()

    @property
    def pid(self) -> int | None:
        """Of the process, where there is one."""
        return self._process.pid if self._process else None

    def ask(self, question: Question[A]) -> A:
        """The answer of `answering.Answering`.

        Raises:
            PartDistillationError: what the process raised; `Busy` or `Ended`.
        """
        if not self._waiting.acquire(blocking=False):
            raise Busy(f"{MOST_WAITING} photographs are waiting already: try again in a moment")
        try:
            with self._alone:
                answer = self._answer(question)
        finally:
            self._waiting.release()
        if isinstance(answer, Exception):
            raise answer
        answered: A = answer
        return answered

    def close(self) -> None:
        """End the process, and empty the folder."""
        if self._process is not None and self._connection is not None:
            self._connection.close()
            self._process.kill()
            self._process.join()
            self._process = None
        self._empty(again=False)

    def _answer(self, question: object) -> Any:
        try:
            connection = self._opened()
            connection.send(question)
            if not connection.poll(SECONDS):
                raise self._ended(f"it took more than {SECONDS} seconds")
            return connection.recv()
        except (EOFError, ConnectionError):
            raise self._ended("") from None

    def _opened(self) -> "Connection[Any, Any]":
        if self._process is None or self._connection is None or not self._process.is_alive():
            context = WorkerContext()
            self._connection, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self._folder), daemon=True)
            process.start()
            self._process = process
            theirs.close()  # so that the pipe ends when the process does
        return self._connection

    def _ended(self, reason: str) -> Ended:
        assert self._process is not None
        self._process.kill()
        self._process.join()
        code = self._process.exitcode or 0
        reason = reason or (signal.Signals(-code).name if code < 0 else f"exit code {code}")
        self._process = None
        self._empty()
        return Ended(
            f"the process that looks at photographs ended ({reason}; SIGKILL is mostly the system running "
            "out of memory). Another begins with the next photograph: try again, or a smaller one"
        )

    def _empty(self, *, again: bool = True) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        if again:
            make_folder(self._folder).chmod(0o700)


def _serve(connection: "Connection[Any, Any]", folder: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the server ends this one
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a run may go on beside it, on the same cores
    tempfile.tempdir = str(folder)  # whatever lies there is removed, however this ends
    answering: Any = None
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        try:
            if answering is None:
                from partdistillation.studio.answering import Answering  # here alone torch is imported

                answering = Answering()
            answer = answering(question)
        except PartDistillationError as error:
            answer = error
        except MemoryError:
            answer = InputError("expected a photograph that fits in memory, found a larger one: shrink it")
        except Exception as error:  # what one photograph does must not end the others'
            answer = PartDistillationError(f"it can't be looked at: {type(error).__name__}: {error}")
        try:
            connection.send(answer)
        except ConnectionError:
            return
