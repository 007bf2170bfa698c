"""COCO's run-length encoding: the lengths of alternating runs of False and True down a mask's columns.

The first run is False (and may be empty). Compressed, the lengths are packed into ASCII characters. They are
checked before a mask is made of them: pycocotools reads uninitialized memory where they fall short.
"""

from numbers import Integral

import numpy as np
from jaxtyping import Bool, Int64

from partdistillation.errors import InputError

# 7 characters of 5 bits hold any run length below 2^34; longer numbers would only overflow.
_MOST_CHARACTERS = 7


def unpack(counts: bytes) -> Int64[np.ndarray, " runs"]:
    """Run lengths from their compressed form, as they are: they may be negative.

    A number is a sequence of characters, least significant first: code - 48 holds 5 bits of it and, as 6th
    bit, that another character follows; the 5th bit of the last character is the sign. From the fourth run
    on, the number is the difference from the last run but one.
    """
    codes = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    if len(codes) == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise InputError(
            f"Expected compressed run lengths (characters '0' to 'o', the last of them '0' to 'O'), "
            f"found {counts[:40]!r}{'...' if len(counts) > 40 else ''}."
        )
    last = np.flatnonzero(codes & 32 == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > _MOST_CHARACTERS:
        raise InputError(
            f"Expected run lengths of at most {_MOST_CHARACTERS} characters, found one of {lengths.max()}."
        )
    place = np.arange(len(codes)) - np.repeat(first, lengths)
    runs = np.add.reduceat((codes & 31) << (5 * place), first)
    runs -= np.where(codes[last] & 16, np.int64(1) << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def parse(counts: object) -> Int64[np.ndarray, " runs"]:
    """Run lengths from any form of COCO's `counts`: compressed (str or bytes) or plain (a list of integers,
    which may be spelled 12.0).

    Raises:
        InputError: `counts` is nothing of the kind.
    """
    match counts:
        case bytes():
            return unpack(counts)
        case str() if counts.isascii():
            return unpack(counts.encode("ascii"))
        case [*runs] if all(map(_is_whole, runs)):
            return np.array(runs, dtype=np.int64)
    raise InputError(
        f"Expected counts as an ASCII string, bytes or a list of integers, found {counts!r:.80}."
    )


def _is_whole(run: object) -> bool:
    """Whether it is a whole number, which JSON may spell 12.0, and not beyond any image."""
    return isinstance(run, int | float) and not isinstance(run, bool) and abs(run) < 2**34 and run % 1 == 0


def checked(runs: Int64[np.ndarray, " runs"], height: int, width: int) -> Int64[np.ndarray, " runs"]:
    """The runs, if they fill an image of this size exactly.

    Raises:
        InputError: otherwise.
    """
    check_size(height, width)
    if runs.min(initial=0) < 0 or runs.max(initial=0) > height * width:  # so that the sum can't overflow
        raise InputError(
            f"Expected run lengths from 0 to {height} x {width} = {height * width}, found {runs.min()} to "
            f"{runs.max()}; the encoding is damaged or belongs to an image of another size."
        )
    total = int(runs.sum())
    if total != height * width:
        raise InputError(
            f"Expected run lengths that fill {height} x {width} = {height * width} pixels, found {total}; "
            "the encoding is damaged or belongs to an image of another size."
        )
    return runs


def fill(runs: Int64[np.ndarray, " runs"], height: int, width: int) -> Bool[np.ndarray, "{height} {width}"]:
    """The mask of these runs.

    Raises:
        InputError: they don't fill an image of this size exactly.
    """
    checked(runs, height, width)
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def check_size(height: int, width: int) -> None:
    """Raise InputError unless both are integers above 0."""
    for name, side in (("height", height), ("width", width)):
        integer = type(side) is int or (isinstance(side, Integral) and not isinstance(side, bool))
        if not integer or side < 1:
            raise InputError(f"Expected a {name} of at least 1 pixel, as an integer; found {side!r}.")
