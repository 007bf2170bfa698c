"""A function over many tasks on actors: processes of a Ray cluster's machines, with a GPU each.

An actor has one task at a time, so that a death is that task's: Ray Data, which gives actors tasks in
advance, counts it as one of those that wait too, and drops them (docs/decisions/0016-ray.md).
"""

import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from partdistillation.config import RayCluster
from partdistillation.errors import PartDistillationError, StoreError
from partdistillation.runs import terminal
from partdistillation.runs.claims import MAX_DEATHS
from partdistillation.runs.ray_cluster import connect
from partdistillation.runs.workers import ONE_THREAD, TaskFailedError, portable

T = TypeVar("T")
U = TypeVar("U")

_SECONDS_TO_BEGIN = 60.0

_log = terminal.logger(__name__)


class DeadlyTasksError(PartDistillationError):
    """Of each of some `tasks` (keys) too many actors died; all others are done."""

    def __init__(self, tasks: Sequence[int]) -> None:
        super().__init__(tasks)
        self.tasks = tasks


def map_on_actors(
    make: Callable[[], Callable[[T], U]],
    tasks: Callable[[int], T],
    keys: Iterable[int],
    workers: int,
    cluster: RayCluster,
) -> Generator[tuple[int, U], None, None]:
    """Yield (key, function(task)) as they are done. Each actor calls `make`, which must be picklable, once.

    A task whose actor dies is another's, up to `MAX_DEATHS` times. Actors for which the cluster has no room
    yet join when it has.

    Args:
        make: called in the folder that this process is in, which all machines must see.
        tasks: a task by its key.
        keys: of all tasks; each is asked for when an actor has nothing to do.
        workers: how many actors.
        cluster: where.

    Raises:
        ConfigError: the cluster can't be used.
        TaskFailedError: the function raised. What `make` raises is raised as it is.
        DeadlyTasksError: after all others, of those tasks at which too many actors died.
        PartDistillationError: actors die while they `make` the function.
    """
    pool = _Pool(connect(cluster, workers), make, tasks, keys, cluster)
    try:
        for _ in range(workers):
            pool.hire()
        yield from pool.results()
    finally:
        pool.end()


class _Actor(Generic[T, U]):
    """What is done in a process of the cluster."""

    def __init__(self, folder: Path, make: list[Any]) -> None:
        self._folder, self._make = folder, make
        self._work: Callable[[T], U]

    def prepare(self) -> tuple[None, Exception | None]:
        """Make the function; what that raises is returned, as an actor that raises in its `__init__` dies."""
        import ray

        os.environ.update(ONE_THREAD)  # before what is fetched here loads its libraries
        try:
            os.chdir(self._folder)
        except OSError:
            return None, StoreError(
                f"{socket.gethostname()}, of the Ray cluster: expected to see the folder {self._folder} "
                "there too, found none: start the command in a folder that all machines see"
            )
        try:
            self._work = ray.get(self._make[0])()
        except Exception as error:
            return None, portable(error)
        return None, None

    def work(self, task: T) -> tuple[U | None, Exception | None]:
        """The function's value, or what it raised."""
        try:
            return self._work(task), None
        except Exception as error:
            return None, portable(error)


class _Pool(Generic[T, U]):
    """Actors by what they are asked: to prepare themselves (key None), or to do a task."""

    def __init__(
        self,
        ray: ModuleType,
        make: Callable[[], Callable[[T], U]],
        tasks: Callable[[int], T],
        keys: Iterable[int],
        cluster: RayCluster,
    ) -> None:
        has_gpus = cluster.gpus and ray.cluster_resources().get("GPU", 0) >= 1
        self._ray = ray
        self._actor = ray.remote(num_cpus=1, num_gpus=int(has_gpus))(_Actor)
        self._make = [ray.put(make)]  # in a list, or it would be fetched before the actor can prepare for it
        self._tasks, self._keys, self._again = tasks, iter(keys), deque[int]()
        self._all_given = False
        self._asked: dict[Any, tuple[Any, int | None]] = {}
        self._deaths: Counter[int | None] = Counter()

    def hire(self) -> None:
        """Start an actor, as soon as the cluster has room."""
        actor = self._actor.remote(Path.cwd(), self._make)
        self._asked[actor.prepare.remote()] = (actor, None)

    def results(self) -> Generator[tuple[int, U], None, None]:
        """The values, as they are done."""
        patience: float | None = _SECONDS_TO_BEGIN
        while self._at_work() or self._again or not self._all_given:
            ready, _ = self._ray.wait(list(self._asked), timeout=patience)
            if not ready and not self._at_work():
                _log.warning("no worker of the Ray cluster is ready yet; of what it has %s", self._room())
                patience = None
            for answer in ready:
                actor, key = self._asked.pop(answer)
                try:
                    value, error = self._ray.get(answer)
                except self._ray.exceptions.RayError as death:
                    self._bury(actor, key, death)
                    continue
                if error is not None:
                    raise error if key is None else TaskFailedError(key) from error
                self._ask(actor)
                if key is None:
                    self._deaths[None] = 0
                else:
                    yield key, value
        if deadly := [key for key, count in self._deaths.items() if key is not None and count >= MAX_DEATHS]:
            raise DeadlyTasksError(sorted(deadly))

    def end(self) -> None:
        """Let all of them go, also those that are at work."""
        for actor, _ in self._asked.values():
            self._ray.kill(actor)

    def _ask(self, actor: Any) -> None:
        key = self._again.popleft() if self._again else next(self._keys, None)
        if key is None:
            self._all_given = True
            self._ray.kill(actor)  # another may need its room
        else:
            self._asked[actor.work.remote(self._tasks(key))] = (actor, key)

    def _bury(self, actor: Any, key: int | None, death: Exception) -> None:
        self._ray.kill(actor)  # it may only seem dead
        self._deaths[key] += 1
        cause = str(death).splitlines()[0]
        if self._deaths[key] < MAX_DEATHS:
            _log.warning("a worker died: %s What it was at is done again.", cause)
            if key is not None:
                self._again.append(key)
        elif key is None:
            raise PartDistillationError(
                f"{MAX_DEATHS} workers of the Ray cluster died one after the other before they could begin: "
                f"{cause} (memory?)"
            )
        self.hire()

    def _at_work(self) -> bool:
        return any(key is not None for _, key in self._asked.values())

    def _room(self) -> str:
        """What the cluster has, and how much of it nobody uses."""
        there, free = self._ray.cluster_resources(), self._ray.available_resources()
        kinds = (kind for kind in ("CPU", "GPU") if kind in there)
        return ", ".join(f"{free.get(kind, 0):g} of {there[kind]:g} {kind}s are free" for kind in kinds)
