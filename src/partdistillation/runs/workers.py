"""A function over many tasks on processes of their own.

Not `concurrent.futures`: its workers wait forever when their parent is killed, holding memory (or a GPU),
and when one of them dies it doesn't say at which task. Here a worker ends when its parent does: also while
it loads its libraries, or computes what nobody will ask for.
"""

import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import parent_process
from threading import Thread
from typing import Any, Generic, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from partdistillation.errors import PartDistillationError

T = TypeVar("T")
U = TypeVar("U")

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
"""Variables that tell libraries, when they are loaded, to compute on one thread."""

_SECONDS_BETWEEN_LOOKS = 0.5


class WorkerProcess(SpawnProcess):
    """A process that ends when the one that started it does, however that ends."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The new process unpickles this first; what it is to do, which may import PyTorch, comes after.
        return _begun, (os.getpid(),), self.__dict__


class WorkerContext(SpawnContext):
    """Starts processes afresh: a fork would copy locks that torch's and pyarrow's threads hold."""

    Process = WorkerProcess


def _begun(parent: int) -> WorkerProcess:
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    return WorkerProcess.__new__(WorkerProcess)


def _end_with(parent: int) -> None:
    """Wait for the end of the parent, whose place another process takes then; end at once, in any task."""
    if sys.platform == "win32":  # where none takes it
        while (starter := parent_process()) is None:  # until this process has all that it needs
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        starter.join()
        os.kill(os.getpid(), signal.SIGTERM)  # at once, as SIGKILL elsewhere
    else:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), signal.SIGKILL)


class WorkerDiedError(PartDistillationError):
    """A worker process ended in the middle of a task; `task` is its key."""

    def __init__(self, task: int, exit_code: int | None) -> None:
        super().__init__(task, exit_code)
        self.task = task
        self.exit_code = exit_code


class TaskFailedError(Exception):
    """The function raised: the cause is its exception, `task` the task's key."""

    def __init__(self, task: int) -> None:
        super().__init__(task)
        self.task = task


def map_here(
    make: Callable[[], Callable[[T], U]], tasks: Iterable[tuple[int, T]]
) -> Generator[tuple[int, U], None, None]:
    """As `map_on_processes`, in this process and in order.

    Raises:
        TaskFailedError: the function raised.
    """
    work = make()
    for key, task in tasks:
        try:
            value = work(task)
        except Exception as error:
            raise TaskFailedError(key) from error
        yield key, value


def map_on_processes(
    make: Callable[[], Callable[[T], U]], tasks: Iterable[tuple[int, T]], workers: int
) -> Generator[tuple[int, U], None, None]:
    """Yield (key, function(task)) as they are done. Each process calls `make`, which must be picklable, once.

    Every process computes on one thread. At most one task a process is taken from `tasks` ahead of time.

    Raises:
        TaskFailedError: the function raised.
        WorkerDiedError: a process was killed or exited.
    """
    queue = iter(tasks)
    with _one_thread_variables():
        pool = [_Worker(make) for _ in range(workers)]
    try:
        busy: dict[object, _Worker[T, U]] = {
            worker.connection: worker for worker in pool if worker.give(queue)
        }
        while busy:
            for connection in wait([worker.connection for worker in busy.values()]):
                worker = busy.pop(connection)
                done = worker.result()
                if worker.give(queue):
                    busy[worker.connection] = worker
                yield done
    finally:
        for worker in pool:
            worker.stop()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: sums over several come out differently, and processes would crowd each other."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    with threadpool_limits(1):
        if torch:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


@contextmanager
def _one_thread_variables() -> Iterator[None]:
    """A process started within is told before it loads any library."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Worker(Generic[T, U]):
    def __init__(self, make: Callable[[], Callable[[T], U]]) -> None:
        context = WorkerContext()
        self.connection, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(child, make), daemon=True)
        self._process.start()
        child.close()  # so that the pipe ends when the process does
        self._key: int | None = None

    def give(self, queue: Iterator[tuple[int, T]]) -> bool:
        for key, task in queue:
            self._key = key
            with suppress(ConnectionError):  # it has died: `result` says so
                self.connection.send(task)
            return True
        return False

    def result(self) -> tuple[int, U]:
        assert self._key is not None
        try:
            value, error = self.connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise WorkerDiedError(self._key, self._process.exitcode) from None
        if error is not None:
            raise TaskFailedError(self._key) from error
        key, self._key = self._key, None
        return key, value

    def stop(self) -> None:
        self.connection.close()
        if self._key is not None:  # in the middle of a task that nobody waits for
            self._process.kill()
        self._process.join()


def _serve(connection: "Connection[Any, Any]", make: Callable[[], Callable[[Any], Any]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent stops its workers
    work = None
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            work = work or make()
            reply: tuple[Any, Exception | None] = (work(task), None)
        except Exception as error:  # it is the parent's to raise
            reply = (None, portable(error))
        try:
            connection.send(reply)
        except ConnectionError:
            return


def portable(error: Exception) -> Exception:
    """The exception, with its traceback as a note: a pipe carries no traceback, and not every exception."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception's own pickling may raise anything
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"In the worker process:\n{text}")
    return error
