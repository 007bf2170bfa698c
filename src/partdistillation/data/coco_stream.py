"""The entries of a COCO file one after the other, so that a file of any size takes little memory.

By Python's own JSON decoder, which is given the text piece by piece: what is read is what `json.loads` reads,
NaN and lone surrogates among it, which other decoders refuse or change.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

LISTS = ("images", "annotations", "categories")
_PIECE = 2**20
"""Characters that are read at a time."""
_AFTER = " \t\n\r,:]}"
"""What may follow a value."""
_SPACE = re.compile(r"[ \t\n\r]*")


class Entry(NamedTuple):
    """An entry of one of the lists, and its text."""

    key: str
    value: object
    text: str


def entries(path: Path) -> Iterator[Entry]:
    """The entries of `LISTS` in the order of the file; what else is in it is skipped.

    Raises:
        ValueError, RecursionError: it can't be read so: it is no JSON object, or doesn't have each list once.
        OSError: it can't be read at all.
    """
    met: list[str] = []
    with path.open(encoding="utf-8-sig") as file:
        text = _Text(file)
        for key in _members(text):
            if key not in LISTS:
                text.value()
                continue
            met.append(key)
            for value, spelled in _items(text):
                yield Entry(key, value, spelled)
        if text.next():
            raise ValueError("more text after the end")
    if sorted(met) != sorted(LISTS):
        raise ValueError(f"expected each of {', '.join(LISTS)} once, found {met}")


def _members(text: "_Text") -> Iterator[str]:
    """The keys of an object, after each of which its value is to be read."""
    text.take("{")
    while True:
        if text.next() != '"':
            raise ValueError(f"expected a key, found {text.next()!r}")
        key, _ = text.value()
        text.take(":")
        yield str(key)
        if text.next() == "}":
            break
        text.take(",")
    text.take("}")


def _items(text: "_Text") -> Iterator[tuple[object, str]]:
    text.take("[")
    while text.next() != "]":
        yield text.value()
        if text.next() == "]":
            break
        text.take(",")
        if text.next() == "]":
            raise ValueError("expected a value after a comma")
    text.take("]")


class _Text:
    """A text of which the piece around the place that is being read is in memory."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._decoder = json.JSONDecoder()
        self._text, self._place = "", 0

    def next(self) -> str:
        """The next character that is no space, which stays; "" at the end."""
        while True:
            space = _SPACE.match(self._text, self._place)
            assert space is not None
            self._place = space.end()
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        if self.next() != character:
            raise ValueError(f"expected {character!r}, found {self.next()!r}")
        self._place += 1

    def value(self) -> tuple[object, str]:
        """The next value and its text."""
        self.next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except ValueError:
                if not self._more():
                    raise
            else:
                spelled, after = self._text[self._place : end], self._text[end : end + 1]
                if (after and after in _AFTER) or not self._more():  # a number may go on at the edge
                    self._place += len(spelled)
                    return value, spelled

    def _more(self) -> bool:
        """Read on; as much as a value has that isn't whole yet, so that each is read a few times at most."""
        rest = self._text[self._place :]
        piece = self._file.read(max(_PIECE, len(rest)))
        self._text, self._place = rest + piece, 0
        return bool(piece)
