"""How benchmarks measure: sides by turns, medians, peak memory in a process of its own."""

import multiprocessing
import platform
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple


class Timing(NamedTuple):
    """Medians, in seconds."""

    wall: float
    cpu: float
    """Of all threads of this process."""


def compare(sides: Mapping[str, Callable[[], object]], repeats: int = 5) -> dict[str, Timing]:
    """Median time of each side, after one call to warm up.

    The sides take turns, so that what else the machine does falls on all of them alike.
    """
    taken: dict[str, list[Timing]] = {name: [] for name in sides}
    for side in sides.values():
        side()
    for _ in range(repeats):
        for name, side in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            side()
            taken[name].append(Timing(time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: Timing(*(statistics.median(values) for values in zip(*timings, strict=True)))
        for name, timings in taken.items()
    }


def peak_memory(prepare: Callable[..., Callable[[], object]], *arguments: object) -> float:
    """MiB that a call takes at most, in a fresh process, over what the process held before the call.

    `prepare(*arguments)`, defined at a module's top level, makes the inputs, imports and compiles what is
    needed, and returns the call that is measured.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_growth, (prepare, arguments))


def _growth(prepare: Callable[..., Callable[[], object]], arguments: tuple[object, ...]) -> float:
    call = prepare(*arguments)
    before = highest = _resident()
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.002):
            highest = max(highest, _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return highest - before


def _resident() -> float:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def machine() -> str:
    """What the numbers were taken on, in a line."""
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "transformers", "numba"))
    return f"{_processor()}, Python {platform.python_version()}, {packages}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    return f"{len(names)} x {names[0]}" if names else platform.processor()
