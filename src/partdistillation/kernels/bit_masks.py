"""Binary masks with 64 pixels a word: how many pixels masks share, counted without decoding them.

Of a mask's words only those from its first to its last pixel are kept. Encodings are COCO's, by the rules of
`functional.run_lengths`: the characters of all in a row, and how many each has. What isn't an encoding of as
many pixels is told by its place.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt64
from numpy.typing import NDArray

from partdistillation.kernels.compiled import compiled

_Words = NDArray[np.uint64]
_Ints = NDArray[np.int64]

_BITS = 64


class BitMasks(NamedTuple):
    """Masks of one size, packed; mask i has `words[begin[i]:begin[i] + length[i]]`."""

    words: UInt64[np.ndarray, " word"]
    begin: Int64[np.ndarray, " mask"]
    length: Int64[np.ndarray, " mask"]
    position: Int64[np.ndarray, " mask"]
    """Of a mask's first word in the image."""
    areas: Int64[np.ndarray, " mask"]
    """Pixels of a mask."""


def pack(masks: Bool[np.ndarray, "mask _ _"]) -> BitMasks:
    """Pack masks, row by row."""
    pixels = masks.shape[1] * masks.shape[2]
    width = -(-pixels // _BITS)
    octets = np.zeros((len(masks), 8 * width), dtype=np.uint8)
    octets[:, : -(-pixels // 8)] = np.packbits(masks.reshape(len(masks), pixels), axis=1, bitorder="little")
    words = octets.view("<u8").astype(np.uint64, copy=False)
    return BitMasks(words.ravel(), *_trimmed(words))


def shared_pixels(a: BitMasks, b: BitMasks) -> Int64[np.ndarray, "n m"]:
    """How many pixels each mask of `a` shares with each of `b`."""
    return _shared(*a[:4], *b[:4])


@compiled
def _ones(word: np.uint64) -> np.uint64:
    """How many bits are set. LLVM knows the idiom and makes one instruction of it."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@compiled
def _trimmed(words: _Words) -> tuple[_Ints, _Ints, _Ints, _Ints]:
    """Where each row's words without a pixel at both ends stop: begin, length, position and pixels."""
    count, width = words.shape
    begin, length = np.empty(count, np.int64), np.empty(count, np.int64)
    position, areas = np.empty(count, np.int64), np.empty(count, np.int64)
    for i in range(count):
        first, last, pixels = width, 0, np.uint64(0)
        for j in range(width):
            if words[i, j]:
                first, last = min(first, j), j + 1
                pixels += _ones(words[i, j])
        first = min(first, last)
        begin[i], length[i], position[i] = i * width + first, last - first, first
        areas[i] = np.int64(pixels)
    return begin, length, position, areas


@compiled
def _parse(text: NDArray[np.uint8], start: int, end: int, pixels: int, runs: _Ints) -> tuple[int, int]:
    """Write one encoding's runs of True, (begin, end); gives how many, and pixels. -1: it isn't one.

    By the rules of `run_lengths`.
    """
    total, area = 0, 0
    before, last, at, index, j = 0, 0, 0, 0, start
    while j < end:
        code = int(text[j]) - 48
        run, place = code & 31, 5
        while code & 32 and place < 35 and j + 1 < end:
            j += 1
            following = int(text[j]) - 48
            run |= (following & 31) << place
            place += 5
            code = following | (code & -64)  # an unusable character stays one
        j += 1
        if code & -32:
            return -1, 0
        run -= ((code & 16) >> 4) << place  # the sign
        if index > 2:
            run += before
        if run < 0 or run > pixels:
            return -1, 0
        # Every run is written, and stays if it is one of True that isn't empty: no branch to guess wrong.
        runs[total, 0], runs[total, 1] = at, at + run
        total += (index & 1) & (run > 0)
        area += run & -(index & 1)
        at += run
        before, last, index = last, run, index + 1
    if at != pixels:
        return -1, 0
    return total, area


@compiled
def _parsed(text: NDArray[np.uint8], lengths: _Ints, pixels: int) -> tuple[int, _Ints, _Ints, _Ints]:
    """All encodings' runs in a row, each one's number of them and of pixels; first an unusable one, or -1."""
    runs = np.empty((len(text) // 2 + 1, 2), np.int64)  # a run of True follows one of False
    number, areas = np.zeros(len(lengths), np.int64), np.zeros(len(lengths), np.int64)
    total, start = 0, 0
    for i in range(len(lengths)):
        number[i], areas[i] = _parse(text, start, start + lengths[i], pixels, runs[total:])
        if number[i] < 0:
            return i, runs, number, areas
        total, start = total + number[i], start + lengths[i]
    return -1, runs, number, areas


@compiled
def extent(text: NDArray[np.uint8], height: int, width: int) -> tuple[int, int, int, int, int]:
    """An encoding's pixels and their box, x0, y0, x1, y1, all 0 if it is empty; -1 pixels: it isn't one."""
    runs = np.empty((len(text) // 2 + 1, 2), np.int64)
    number, area = _parse(text, 0, len(text), height * width, runs)
    if number <= 0:
        return number, 0, 0, 0, 0
    top, bottom = height, 0
    for run in range(number):
        first, last = runs[run, 0], runs[run, 1] - 1
        if first // height < last // height:  # on to the top of the next column
            top, bottom = 0, height
        top, bottom = min(top, first % height), max(bottom, last % height + 1)
    return area, runs[0, 0] // height, top, (runs[number - 1, 1] - 1) // height + 1, bottom


@compiled
def _fill(runs: _Ints, words: _Words, position: int) -> None:
    """Set the bits of these runs; `words` begin at a word's position in the image."""
    full = ~np.uint64(0)
    for run in range(len(runs)):
        first, last = runs[run, 0], runs[run, 1] - 1
        head, tail = full << np.uint64(first & 63), full >> np.uint64(63 - (last & 63))
        low, high = (first >> 6) - position, (last >> 6) - position
        if low == high:
            words[low] |= head & tail
        else:
            words[low] |= head
            for word in range(low + 1, high):
                words[word] = full
            words[high] |= tail


@compiled
def _filled(runs: _Ints, number: _Ints) -> tuple[_Words, _Ints, _Ints, _Ints]:
    """The words of masks with these runs, and where they are."""
    count = len(number)
    begin, length = np.zeros(count, np.int64), np.zeros(count, np.int64)
    position = np.zeros(count, np.int64)
    run, size = 0, 0
    for i in range(count):
        begin[i] = size
        if number[i]:
            position[i] = runs[run, 0] >> 6
            run += number[i]
            length[i] = ((runs[run - 1, 1] - 1) >> 6) + 1 - position[i]
            size += length[i]
    words = np.zeros(size, np.uint64)
    run = 0
    for i in range(count):
        _fill(runs[run : run + number[i]], words[begin[i] : begin[i] + length[i]], position[i])
        run += number[i]
    return words, begin, length, position


@compiled
def paint(text: NDArray[np.uint8], lengths: _Ints, labels: _Ints, painted: _Ints) -> int:
    """Write each mask's label inside it, down the columns; gives the first unusable encoding, or -1."""
    unusable, runs, number, _ = _parsed(text, lengths, len(painted))
    if unusable >= 0:
        return unusable
    run = 0
    for i in range(len(number)):
        for _ in range(number[i]):
            painted[runs[run, 0] : runs[run, 1]] = labels[i]
            run += 1
    return -1


@compiled
def _shared(
    words: _Words, begin: _Ints, length: _Ints, position: _Ints,
    others: _Words, their_begin: _Ints, their_length: _Ints, their_position: _Ints,
) -> _Ints:  # fmt: skip
    shared = np.zeros((len(begin), len(their_begin)), np.int64)
    for i in range(len(begin)):
        for j in range(len(their_begin)):
            low = max(position[i], their_position[j])
            high = min(position[i] + length[i], their_position[j] + their_length[j])
            if low < high:
                own, other = begin[i] - position[i], their_begin[j] - their_position[j]
                shared[i, j] = _common(words[own + low : own + high], others[other + low : other + high])
    return shared


@compiled
def _shared_encoded(
    text: NDArray[np.uint8], lengths: _Ints, pixels: int,
    words: _Words, begin: _Ints, length: _Ints, position: _Ints,
) -> tuple[int, _Ints, _Ints]:  # fmt: skip
    """Pixels shared with encoded masks, and these masks' own; first an unusable one, or -1."""
    shared = np.zeros((len(begin), len(lengths)), np.int64)
    areas = np.zeros(len(lengths), np.int64)
    longest = 0
    for j in range(len(lengths)):
        longest = max(longest, lengths[j])
    runs = np.empty((longest // 2 + 1, 2), np.int64)
    packed = np.zeros((pixels >> 6) + 1, np.uint64)
    start = 0
    for j in range(len(lengths)):
        number, areas[j] = _parse(text, start, start + lengths[j], pixels, runs)
        start += lengths[j]
        if number < 0:
            return j, shared, areas
        if number == 0:
            continue
        first, last = runs[0, 0] >> 6, ((runs[number - 1, 1] - 1) >> 6) + 1
        _fill(runs[:number], packed, 0)
        for i in range(len(begin)):
            low, high = max(position[i], first), min(position[i] + length[i], last)
            if low < high:
                own = begin[i] - position[i]
                shared[i, j] = _common(words[own + low : own + high], packed[low:high])
        packed[first:last] = 0
    return -1, shared, areas


@compiled
def write_ious(
    text: NDArray[np.uint8], lengths: _Ints, others: NDArray[np.uint8], their_lengths: _Ints, pixels: int,
    ious: NDArray[np.float64],
) -> int:  # fmt: skip
    """Write each pair's intersection over union; gives the first unusable encoding, through both, or -1.

    All in one call: for the few small masks of an image, calls are what takes time. Many of the others cost
    no memory: they are packed one at a time.
    """
    unusable, runs, number, areas = _parsed(text, lengths, pixels)
    if unusable >= 0:
        return unusable
    words, begin, length, position = _filled(runs, number)
    unusable, shared, their_areas = _shared_encoded(
        others, their_lengths, pixels, words, begin, length, position
    )
    if unusable >= 0:
        return len(lengths) + unusable
    for i in range(len(areas)):
        for j in range(len(their_areas)):
            ious[i, j] = shared[i, j] / max(areas[i] + their_areas[j] - shared[i, j], 1)
    return -1


@compiled
def _common(a: _Words, b: _Words) -> int:
    """How many bits are set in both."""
    pixels = np.uint64(0)
    for k in range(len(a)):
        pixels += _ones(a[k] & b[k])
    return int(pixels)
