"""What reaches a terminal: all that is printed or logged goes through here, as names may hold anything.

The name of a class or a file, or an error message, may contain what a terminal obeys (escape sequences), what
turns text around, or what the output's encoding doesn't have: such characters are written out, as Python
writes them in a string. What is laid out, tables and bars, goes through `console.py`.
"""

import logging
import re
import sys

_UNSAFE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, what turns text around, other line ends, halves of characters."""


def printable(text: str, encoding: str = "utf-8") -> str:
    """A text with everything written out that a terminal would obey, or that the encoding doesn't have."""
    safe = _UNSAFE.sub(lambda match: ascii(match[0])[1:-1], text)
    return safe.encode(encoding, "backslashreplace").decode(encoding)


def say(text: object, *, end: str = "\n", stderr: bool = False) -> None:
    """Print a text, at once."""
    file = sys.stderr if stderr else sys.stdout
    print(printable(str(text), encoding_of(file)), end=end, file=file, flush=True)


def logger(name: str) -> logging.Logger:
    """The logger of a module: `logging`'s, whose lines can be printed wherever they end up."""
    named = logging.getLogger(name)
    named.addFilter(_made_printable)
    return named


def encoding_of(file: object) -> str:
    """What a stream writes text in."""
    encoding: str | None = getattr(file, "encoding", None)
    return encoding or "utf-8"


def _made_printable(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    if (safe := printable(message)) != message:
        record.msg, record.args = safe, ()
    return True
