"""Binary masks with 64 pixels a word: how many pixels masks share, counted without decoding them.

Of a mask's words only those from its first to its last pixel are kept. Pixels are in rows or in columns,
whichever they came in; what is counted must agree in that.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt64
from numpy.typing import NDArray

from partdistillation.functional.compiled import compiled
from partdistillation.functional.run_lengths import check_size, checked, unpack

_Words = NDArray[np.uint64]
_Ints = NDArray[np.int64]

_BITS = 64


class EncodedMasks(NamedTuple):
    """Masks of one size as COCO's compressed run-length encodings (`counts`), which go down the columns."""

    counts: Sequence[bytes]
    height: int
    width: int


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
    """Pack masks in the order that they have in memory; transpose them first to have columns."""
    pixels = masks.shape[1] * masks.shape[2]
    width = -(-pixels // _BITS)
    octets = np.zeros((len(masks), 8 * width), dtype=np.uint8)
    octets[:, : -(-pixels // 8)] = np.packbits(masks.reshape(len(masks), pixels), axis=1, bitorder="little")
    words = octets.view("<u8").astype(np.uint64, copy=False)
    return BitMasks(words.ravel(), *_trimmed(words))


def pack_encoded(masks: EncodedMasks) -> BitMasks:
    """Pack encoded masks, in columns.

    Raises:
        InputError: one isn't an encoding of a mask of this size.
    """
    runs, number, areas = _runs(masks)
    return BitMasks(*_filled(runs, number), areas)


def paint(masks: EncodedMasks, labels: Sequence[int]) -> Int64[np.ndarray, "height width"]:
    """A map with every mask's label inside it, 0 elsewhere; where masks overlap, the later one's.

    Raises:
        InputError: as `pack_encoded`.
    """
    runs, number, _ = _runs(masks)
    painted = np.zeros((masks.width, masks.height), dtype=np.int64)
    _paint(runs, number, np.array(labels, dtype=np.int64), painted.ravel())
    return painted.T


def _runs(masks: EncodedMasks) -> tuple[_Ints, _Ints, _Ints]:
    """The masks' runs of True, one after the other, and each one's number of runs and of pixels."""
    check_size(masks.height, masks.width)
    text = np.frombuffer(b"".join(masks.counts), dtype=np.uint8)
    ends = np.cumsum([len(one) for one in masks.counts], dtype=np.int64)
    unusable, runs, number, areas = _parsed(text, ends, masks.height * masks.width)
    if unusable >= 0:
        checked(unpack(masks.counts[unusable]), masks.height, masks.width)  # says what is wrong
        raise AssertionError(f"expected the encoding {masks.counts[unusable]!r} to be refused")
    return runs, number, areas


def shared_pixels(a: BitMasks, b: BitMasks) -> Int64[np.ndarray, "n m"]:
    """How many pixels each mask of `a` shares with each of `b`."""
    return _shared(
        a.words, a.begin, a.length, a.position, b.words, b.begin, b.length, b.position,
    )  # fmt: skip


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
def _parsed(text: NDArray[np.uint8], ends: _Ints, pixels: int) -> tuple[int, _Ints, _Ints, _Ints]:
    """The runs of True: (begin, end) of all masks' in a row, and each mask's number of runs and of pixels.

    The first value is the index of an encoding that isn't one, by the rules of `run_lengths`, or -1.
    """
    runs = np.empty((len(text) // 2 + 1, 2), np.int64)  # a run of True follows one of False
    number, areas = np.zeros(len(ends), np.int64), np.zeros(len(ends), np.int64)
    total, start = 0, 0
    for i in range(len(ends)):
        first, area = total, 0
        before, last, at, index, place, run = 0, 0, 0, 0, 0, 0
        for j in range(start, ends[i]):
            code = int(text[j]) - 48
            if code < 0 or code > 63 or place == 35:
                return i, runs, number, areas
            run |= (code & 31) << place
            place += 5
            if code & 32:
                continue
            run -= ((code & 16) >> 4) << place  # the sign
            if index > 2:
                run += before
            if run < 0 or run > pixels:
                return i, runs, number, areas
            # Every run is written, and stays if it is one of True that isn't empty: no branch to guess wrong.
            runs[total, 0], runs[total, 1] = at, at + run
            total += (index & 1) & (run > 0)
            area += run & -(index & 1)
            at += run
            before, last, run, place, index = last, run, 0, 0, index + 1
        if place or at != pixels:
            return i, runs, number, areas
        start, number[i], areas[i] = int(ends[i]), total - first, area
    return -1, runs, number, areas


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
    full, run = ~np.uint64(0), 0
    for i in range(count):
        shift = begin[i] - position[i]
        for _ in range(number[i]):
            first, last = runs[run, 0], runs[run, 1] - 1
            head = full << np.uint64(first & 63)
            tail = full >> np.uint64(63 - (last & 63))
            low, high = (first >> 6) + shift, (last >> 6) + shift
            if low == high:
                words[low] |= head & tail
            else:
                words[low] |= head
                for j in range(low + 1, high):
                    words[j] = full
                words[high] |= tail
            run += 1
    return words, begin, length, position


@compiled
def _paint(runs: _Ints, number: _Ints, labels: _Ints, painted: _Ints) -> None:
    run = 0
    for i in range(len(number)):
        for _ in range(number[i]):
            painted[runs[run, 0] : runs[run, 1]] = labels[i]
            run += 1


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
            if low >= high:
                continue
            own = words[begin[i] + low - position[i] : begin[i] + high - position[i]]
            other = others[
                their_begin[j] + low - their_position[j] : their_begin[j] + high - their_position[j]
            ]
            pixels = np.uint64(0)
            for k in range(high - low):
                pixels += _ones(own[k] & other[k])
            shared[i, j] = np.int64(pixels)
    return shared
