"""Where the time and the memory of a command go, step by step: `partdistill ... --profile`.

Code says what it does with `with span("encode"):`, which costs nothing to speak of while nobody asks. Steps
lie in one another, in the order in which they are entered; those of a name in the same place are added up.
"""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.table import Table

from partdistillation.runs.console import PlainConsole
from partdistillation.runs.notes import read_note, write_note

FILE = "profile.json"
"""In a run's folder: the last profile of each stage."""

Place = tuple[str, ...]
"""Names of a step and of those around it, outermost first."""
T = TypeVar("T")

_MIB = 2**20


@dataclass
class Cost:
    """What the calls of a step took, of all of them together."""

    calls: int = 0
    wall: float = 0.0
    """Seconds."""
    cpu: float = 0.0
    """Seconds, of all threads of the process."""
    memory: float = 0.0
    """MiB: the most that the process held at any time within the step."""
    gpu_memory: float = 0.0
    """The same of PyTorch's memory on the GPU."""

    def add(self, other: "Cost") -> None:
        """Add calls and times; of memory, keep the larger."""
        self.calls += other.calls
        self.wall += other.wall
        self.cpu += other.cpu
        self.see(other.memory, other.gpu_memory)

    def see(self, memory: float, gpu_memory: float) -> None:
        self.memory = max(self.memory, memory)
        self.gpu_memory = max(self.gpu_memory, gpu_memory)


Costs = dict[Place, Cost]


@dataclass
class Profile:
    """Costs by place, in the order in which places were first entered."""

    costs: Costs = field(default_factory=dict)
    _open: list[Cost] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.local = field(default_factory=threading.local)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        around: Place = getattr(self._thread, "place", ())
        self._thread.place = place = (*around, name)
        with self._lock:
            total = self.costs.setdefault(place, Cost())
        entered = Cost(calls=1)
        _wait_for_gpu()
        self._look()
        with self._lock:
            self._open.append(entered)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            _wait_for_gpu()
            entered.wall, entered.cpu = time.perf_counter() - wall, time.process_time() - cpu
            self._look()
            self._thread.place = around
            with self._lock:
                self._open[:] = [cost for cost in self._open if cost is not entered]
                total.add(entered)

    def merge(self, costs: Mapping[Place, Cost]) -> None:
        """Add what another process has recorded."""
        with self._lock:
            for place, cost in costs.items():
                self.costs.setdefault(place, Cost()).add(cost)

    def take(self) -> Costs:
        """What was recorded since the last call, outside any step."""
        taken, self.costs = self.costs, {}
        return taken

    def _look(self) -> None:
        """Tell the open steps how much memory there was since the last look."""
        memory, gpu_memory = _peak_memory(), _peak_gpu_memory()
        with self._lock:
            for cost in self._open:
                cost.see(memory, gpu_memory)

    def rows(self, around: Place = ()) -> Iterator[tuple[Place, Cost]]:
        """Places with their costs, each followed by those within; what no step covers is called "other"."""
        inside = {place: cost for place, cost in self.costs.items() if place[:-1] == around}
        for place, cost in inside.items():
            yield place, cost
            yield from self.rows(place)
        if around and inside:
            whole = self.costs[around]
            other = Cost(
                wall=whole.wall - sum(cost.wall for cost in inside.values()),
                cpu=whole.cpu - sum(cost.cpu for cost in inside.values()),
            )
            if other.wall > 0.005 * whole.wall:
                yield (*around, "other"), other

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """By outermost step: its own row (named "") and those within (named "loss/matcher", say)."""
        stages: dict[str, list[dict[str, Any]]] = {}
        for (stage, *names), cost in self.rows():
            row = {
                "step": "/".join(names),
                "calls": cost.calls,
                "wall_seconds": round(cost.wall, 4),
                "cpu_seconds": round(cost.cpu, 4),
                "peak_mib": round(cost.memory, 1),
                "gpu_peak_mib": round(cost.gpu_memory, 1),
            }
            stages.setdefault(stage, []).append(row)
        return stages

    def table(self, elapsed: float) -> Table:
        """For people to read. `elapsed`: seconds of the whole command."""
        table = Table(
            caption=f"{elapsed:.1f} s in all. Times of processes side by side are added up; "
            "memory is the most that one of them held.",
            caption_justify="left",
        )
        gpu = any(cost.gpu_memory for cost in self.costs.values())
        table.add_column("step")
        for name in ("calls", "wall s", "CPU s", "share", "peak MiB", *(["GPU MiB"] if gpu else [])):
            table.add_column(name, justify="right")
        for place, cost in self.rows():
            whole = self.costs[place[:1]].wall
            cells = [
                str(cost.calls or ""),
                f"{cost.wall:.2f}",
                f"{cost.cpu:.2f}",
                f"{cost.wall / whole:.1%}" if whole else "",
                f"{cost.memory:,.0f}" if cost.memory else "",
                *([f"{cost.gpu_memory:,.0f}" if cost.gpu_memory else ""] if gpu else []),
            ]
            table.add_row("  " * (len(place) - 1) + place[-1], *cells)
        return table


_profile: Profile | None = None
_helping = False
_NOTHING = nullcontext()


def span(name: str) -> AbstractContextManager[None]:
    """Count what happens within as `name`, if a profile is being made."""
    return _NOTHING if _profile is None else _profile.span(name)


def span_each(name: str, items: Iterable[T]) -> Iterator[T]:
    """`items`; waiting for each of them counts as `name`."""
    iterator = iter(items)
    nothing = object()
    while True:
        with span(name):
            item: Any = next(iterator, nothing)
        if item is nothing:
            return
        yield item


@contextmanager
def profiled() -> Iterator[Profile]:
    """Make a profile of what happens within."""
    global _profile
    before, _profile = _profile, Profile()
    try:
        yield _profile
    finally:
        _profile = before


@contextmanager
def shown(folder: Path) -> Iterator[None]:
    """Make a profile of what happens within, print it at the end, and write it to `folder/profile.json`.

    Also if what happens is stopped, or fails. Of torchrun's processes the first one tells of itself.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        yield
        return
    start = time.perf_counter()
    with profiled() as profile:
        try:
            yield
        finally:
            if profile.costs:
                PlainConsole().print(profile.table(time.perf_counter() - start))
                write(profile, folder)


def write(profile: Profile, folder: Path) -> Path:
    """Write `profile.json`, in which other stages' profiles stay."""
    path = folder / FILE
    return write_note(path, read_note(path) | profile.to_dict())


# ---------------------------------------------------------------------- several processes


def owner() -> int | None:
    """The process in which a profile is being made, for workers to `help`."""
    return None if _profile is None else os.getpid()


def help_with(owner: int | None) -> None:
    """In a worker process of `owner`: record steps here too, for `hand_over`."""
    global _profile, _helping
    if owner not in (None, os.getpid()) and not _helping:
        _profile, _helping = Profile(), True


def hand_over() -> Costs:
    """What a worker has recorded since the last call; elsewhere nothing."""
    return _profile.take() if _helping and _profile is not None else {}


def merge(costs: Mapping[Place, Cost]) -> None:
    """Add what a worker has handed over."""
    if _profile is not None:
        _profile.merge(costs)


# ---------------------------------------------------------------------- memory


def _peak_memory() -> float:
    """MiB held at most since the last call; or, where that is not told, since the start, or 0."""
    with suppress(OSError, ValueError):  # Linux
        status = Path("/proc/self/status").read_text()
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (_MIB if sys.platform == "darwin" else 1024)


def _peak_gpu_memory() -> float:
    torch = _torch_on_gpu()
    if torch is None:
        return 0.0
    peak = float(torch.cuda.max_memory_allocated()) / _MIB
    torch.cuda.reset_peak_memory_stats()
    return peak


def _wait_for_gpu() -> None:
    """Work is handed to a GPU and done later: wait, so that it counts where it belongs."""
    torch = _torch_on_gpu()
    if torch is not None:
        torch.cuda.synchronize()


def _torch_on_gpu() -> Any:
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None
