"""Random changes of files, each decided by a generator's seed."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    0.5,
    1.0,
    10**9,
    10**30,
    -(10**30),
    1e308,
    float("nan"),
    float("inf"),
    "",
    "0",
    "..",
    "\x00",
    "\ud800",
    "a" * 300,
    "\u202eabc",
    "=1+1",
    [],
    {},
    [[]],
    [0] * 7,
    [[0, 0, 1, 1]],
    {"size": [10**9, 10**9], "counts": "0"},
)
_WORDS = [number.to_bytes(4) for number in (0, 1, 1 << 24, 2**31 - 1, 2**31, 2**32 - 129, 2**32 - 1)]


def changed_bytes(data: bytes, rng: Rng) -> bytes:
    """The data after one to four changes, such as a flipped bit or a block that comes twice."""
    for _ in range(rng.integers(1, 5)):
        change = _CHANGES[rng.integers(len(_CHANGES))]
        data = change(data, rng) or data
    return data


def _flip(data: bytes, rng: Rng) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        changed[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(changed)


def _flip_early(data: bytes, rng: Rng) -> bytes:
    return _flip(data[:200], rng) + data[200:]


def _overwrite(data: bytes, rng: Rng) -> bytes:
    place, word = rng.integers(min(len(data), 400)), _WORDS[rng.integers(len(_WORDS))]
    return data[:place] + word + data[place + len(word) :]


def _cut(data: bytes, rng: Rng) -> bytes:
    return data[: rng.integers(len(data))]


def _cut_keeping_the_end(data: bytes, rng: Rng) -> bytes:
    return data[: rng.integers(len(data))] + data[-2:]


def _block(data: bytes, rng: Rng) -> tuple[int, int]:
    start = int(rng.integers(len(data)))
    return start, start + int(rng.integers(1, 1 + max(1, len(data) // 4)))


def _remove(data: bytes, rng: Rng) -> bytes:
    start, end = _block(data, rng)
    return data[:start] + data[end:]


def _repeat(data: bytes, rng: Rng) -> bytes:
    start, end = _block(data, rng)
    return data[:end] + data[start:end] * int(rng.integers(1, 20)) + data[end:]


def _random(data: bytes, rng: Rng) -> bytes:
    start, end = _block(data, rng)
    return data[:start] + rng.bytes(min(end, len(data)) - start) + data[end:]


_CHANGES: tuple[Callable[[bytes, Rng], bytes], ...] = (
    _flip,
    _flip_early,
    _overwrite,
    _cut,
    _cut_keeping_the_end,
    _remove,
    _repeat,
    _random,
)


def changed_document(document: Any, rng: Rng) -> Any:
    """A JSON document after one to three changes of values anywhere in it."""
    document = copy.deepcopy(document)
    for _ in range(rng.integers(1, 4)):
        holders = list(_holders(document))
        if not holders:
            return document
        _change(holders[rng.integers(len(holders))], rng)
    return document


def _holders(value: Any) -> Any:
    """All lists and objects in a document that hold something."""
    if isinstance(value, dict | list) and value:
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _holders(inner)


def _change(holder: Any, rng: Rng) -> None:
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    key, other = keys[rng.integers(len(keys))], keys[rng.integers(len(keys))]
    match rng.integers(6):
        case 0:
            del holder[key]
        case 1:
            holder[key] = holder[other]
        case 2 if isinstance(holder, list):
            holder.extend(copy.deepcopy(holder[key]) for _ in range(rng.integers(1, 20)))
        case 3:
            holder[key] = str(holder[key])[:100]
        case _:
            holder[key] = copy.deepcopy(HOSTILE[rng.integers(len(HOSTILE))])
