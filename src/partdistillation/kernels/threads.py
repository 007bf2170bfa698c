"""Threads for compiled kernels that let go of the interpreter's lock."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def in_threads(work: Callable[[int, int], None], count: int) -> None:
    """Call `work(begin, end)` for ranges that cover 0 ... `count` - 1, one for each of PyTorch's threads."""
    threads = max(min(torch.get_num_threads(), count), 1)
    if threads == 1:
        work(0, count)
        return
    ends = [count * (part + 1) // threads for part in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, [0, *ends[:-1]], ends))
