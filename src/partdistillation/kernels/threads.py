"""Threads for compiled kernels that let go of the interpreter's lock."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def in_threads(work: Callable[[int, int], None], count: int, threads: int) -> None:
    """Call `work(begin, end)` for ranges that cover 0 ... `count` - 1, at most one range a thread."""
    threads = max(min(threads, count), 1)
    if threads == 1:
        work(0, count)
        return
    ends = [count * (part + 1) // threads for part in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, [0, *ends[:-1]], ends))
