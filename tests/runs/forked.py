"""Functions of tests in processes of their own, as several commands."""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence


def begin(target: Callable[..., object], *args: object, **options: object) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=target, args=args, kwargs=options)
    process.start()
    return process  # type: ignore[return-value]


def ended(processes: Sequence[multiprocessing.Process]) -> Iterator[int | None]:
    """Their exit codes, as they end."""
    for process in processes:
        process.join(60)
        yield process.exitcode


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
