"""Who works at what, among workers that know nothing of each other but a storage that all of them see.

A claim is a file that its holder created, which no other can do, and goes on writing to: a new number every
few seconds. Whoever wants the same watches that number by a clock of their own (clocks of machines differ):
if it stands still for long, the holder is dead or stopped, and the next claim, numbered one higher, may be
created: again by one alone. A stopped holder that wakes has lost its claim and may go on all the same with a
shard: what it was to commit is there, or it commits what its successor would have, and the successor finds
that there. A training, which goes on from files that it replaces, it must leave at once.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

from partdistillation.config import Inputs
from partdistillation.errors import PartDistillationError, StoreError
from partdistillation.runs.atomic import locked, make_folder
from partdistillation.runs.mirror import refresh_folder
from partdistillation.runs.storage import Storage, storage_of
from partdistillation.runs.terminal import say

FOLDER = "claims"
SECONDS_BETWEEN_LOOKS = 2.0
"""At what others are at."""
MAX_DEATHS = 3
"""Holders of one task that die: then it is left, and named."""


@dataclass
class _Watched:
    """A claim of somebody else's, as it was when it last changed."""

    content: bytes | None
    since: float


class Claims:
    """The claims of one worker, in a storage's folder `claims`; within `with`, signs of life are given.

    Args:
        storage: what the workers share.
        clock: tells the time in seconds; only differences count.
        when_lost: called with a task that others took over, as this worker stood still; on another thread.
    """

    heartbeat = 10.0
    """Seconds between two signs of life."""
    patience = 60.0
    """Seconds without one after which another's claim may be taken over."""

    def __init__(
        self,
        storage: Storage,
        clock: Callable[[], float] = time.monotonic,
        when_lost: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._storage, self._clock, self._when_lost = storage, clock, when_lost
        self.worker = f"{socket.gethostname()}, process {os.getpid()}, {uuid4().hex[:8]}"
        self._held: dict[str, str] = {}
        self._watched: dict[str, _Watched] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._beats = 0
        self._signed = clock()

    def __enter__(self) -> "Claims":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give back what is held, so that others needn't wait."""
        self._end.set()
        self._thread.join()
        for key in self._held.values():
            self._storage.delete(key)

    def take(self, task: str) -> bool:
        """Try to get a task; False where somebody alive has it, or too many have died of it."""
        latest = self._latest(task)
        if latest is None:
            return self._create(task, 1)
        if self.deaths(task) >= MAX_DEATHS or not self._is_stale(_key(task, latest)):
            return False
        return self._create(task, latest + 1)

    def release(self, task: str) -> None:
        """Forget a task that is done, with the claims of those who died of it."""
        with self._lock:  # or a sign of life comes after the end
            self._held.pop(task, None)
            for number in sorted(self._numbers(task)):  # the one that counts last
                self._storage.delete(_key(task, number))

    def abandon(self, task: str) -> None:
        """Give no more signs of life for a task, as if this worker had died of it."""
        with self._lock:
            self._held.pop(task, None)

    def deaths(self, task: str) -> int:
        """How many holders of a task seem to have died, as far as this worker has watched."""
        latest = self._latest(task)
        if latest is None:
            return 0
        return latest - 1 + self._is_stale(_key(task, latest))

    def deadly(self) -> set[str]:
        """The tasks of which too many have died."""
        tasks = {name.rpartition(".")[0] for name in self._storage.names(FOLDER)}
        return {task for task in tasks if self.deaths(task) >= MAX_DEATHS}

    def _create(self, task: str, number: int) -> bool:
        key = _key(task, number)
        if not self._storage.create(key, self._sign()):
            return False
        with self._lock:
            self._held[task] = key
            self._signed = self._clock()
        return True

    def _is_stale(self, key: str) -> bool:
        """Whether another's claim hasn't changed for long. To be asked again and again."""
        content, now = self._storage.read(key), self._clock()
        before = self._watched.get(key)
        if before is None or before.content != content:
            self._watched[key] = _Watched(content, now)
            return False
        return now - before.since > self.patience

    def _latest(self, task: str) -> int | None:
        return max(self._numbers(task), default=None)

    def _numbers(self, task: str) -> list[int]:
        prefix = f"{task}."
        names = (name for name in self._storage.names(FOLDER) if name.startswith(prefix))
        return [int(end) for name in names if (end := name.removeprefix(prefix)).isdecimal()]

    def _sign(self) -> bytes:
        self._beats += 1
        return f"{self.worker}\n{self._beats}\n".encode()

    def _beat(self) -> None:
        while not self._end.wait(self.heartbeat):
            with self._lock:
                stood_still = self._clock() - self._signed > self.patience / 2
                for task, key in tuple(self._held.items()):
                    with suppress(PartDistillationError, OSError):  # the disk may be back in time
                        if self._is_lost(task, key, stood_still):
                            del self._held[task]
                            self._when_lost(task)
                        else:
                            self._storage.write(key, self._sign())
                            self._signed = self._clock()

    def _is_lost(self, task: str, key: str, stood_still: bool) -> bool:
        """Whether another has taken over: its claim is there, or it is done and has removed both.

        Only long after it was written a claim that isn't seen is gone: some stores show files late.
        """
        number = int(key.rpartition(".")[2])
        if any(later > number for later in self._numbers(task)):
            return True
        return stood_still and not self._storage.exists(key)


@contextmanager
def by_one(inputs: Inputs, task: str, *, done: Callable[[], bool]) -> Iterator[None]:
    """With the engine "shared", let one worker do what can't be divided, while the others wait for it.

    Whatever is within is to go on from what there is, and to do nothing where all is `done`.

    Raises:
        PartDistillationError: too many workers died of it.
    """
    if inputs.engine != "shared":
        yield
        return

    def is_done() -> bool:
        refresh_folder(inputs.out)
        return done()

    with ExitStack() as stack:
        claims = stack.enter_context(Claims(storage_of(inputs.out), when_lost=_leave))
        while not is_done() and not claims.take(task):
            if claims.deaths(task) >= MAX_DEATHS:
                raise PartDistillationError(
                    f"{task}: {MAX_DEATHS} workers died, or were stopped, one after the other at it. Look at "
                    f"their messages, delete {inputs.out / FOLDER} and run the same command again"
                )
            time.sleep(SECONDS_BETWEEN_LOOKS)
        _lock(stack, inputs.out, task)
        yield
        claims.release(task)


def _lock(stack: ExitStack, out: Path, task: str) -> None:
    """Wait for a holder of before that is stopped, where locks reach it: it can't be told to stop writing."""
    lock = partial(locked, make_folder(out), name=f".{task}.lock")
    try:
        stack.enter_context(lock())
    except StoreError:
        say(f"{task}: another worker at it stands still, and is waited for", stderr=True)
        stack.enter_context(lock(wait=True))


def _leave(task: str) -> None:
    """End this process, which is safe at any instant: another goes on with the files that it writes."""
    say(
        f"partdistill: {task}: another worker has taken over, as this one stood still: expected signs of "
        f"life within {Claims.patience:.0f} seconds. Run the same command again to help with the rest",
        stderr=True,
    )
    os._exit(2)


def _key(task: str, number: int) -> str:
    return f"{FOLDER}/{task}.{number}"
