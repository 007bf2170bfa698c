"""What is printed: names of others as text, whatever they hold and whatever the output's encoding has."""

import io
import logging
import re
import sys
from pathlib import Path

import pytest
from rich.table import Table

from partdistillation.runs import progress as bars
from partdistillation.runs.console import PlainConsole, words
from partdistillation.runs.terminal import logger, printable, say

SOURCE = Path(__file__).parents[2] / "src" / "partdistillation"
PLACES = {"terminal.py", "console.py"}
"""The modules that print."""


def stream(monkeypatch: pytest.MonkeyPatch, name: str, encoding: str) -> io.TextIOWrapper:
    """Standard output or error with another encoding, which refuses what it doesn't have."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, name, file)
    return file


def written(file: io.TextIOWrapper) -> str:
    buffer = file.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(file.encoding)


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("naïve café 猫 👩\u200d🚀 [/no] :smile: %s\tx\ny", "utf-8", None),
        ("naïve 猫", "latin-1", "naïve \\u732b"),
        ("naïve 猫", "ascii", "na\\xefve \\u732b"),
        ("\x1b[31mred\x07\r\0\x7f", "utf-8", "\\x1b[31mred\\x07\\r\\x00\\x7f"),
        ("\x9b2J\x85", "latin-1", "\\x9b2J\\x85"),
        ("a\u202eb\u2066c\u2028d\u200f", "utf-8", "a\\u202eb\\u2066c\\u2028d\\u200f"),
        ("caf\udce9", "utf-8", "caf\\udce9"),
    ],
)
def test_what_is_written_out(text: str, encoding: str, shown: str | None) -> None:
    assert printable(text, encoding) == (text if shown is None else shown)


def test_printing(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = stream(monkeypatch, "stdout", "latin-1"), stream(monkeypatch, "stderr", "ascii")
    say("é 猫\x1b")
    say(Path("é"), end="", stderr=True)
    assert (written(out), written(err)) == ("é \\u732b\\x1b\n", "\\xe9")


def test_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    log = logger("partdistillation.test")
    with caplog.at_level(logging.WARNING):
        log.warning("%s: %d of %r", "\x1b[1m", 3, "\x1b")
        log.warning("%d %%", 100)
    assert [record.getMessage() for record in caplog.records] == ["\\x1b[1m: 3 of '\\x1b'", "100 %"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_tables_and_bars(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    names = ["sign [stop/yield] [/no]", "crane [bird]", ":smile:", "\x1b[31mred", "猫", "[link=x]y[/link]"]
    out, err = stream(monkeypatch, "stdout", encoding), stream(monkeypatch, "stderr", encoding)
    table = Table("name", "also")
    for name in names:
        table.add_row(name, words(name))
    PlainConsole(width=100).print(table)
    PlainConsole(width=100).rule(names[0])
    for name in names:
        assert written(out).count(printable(name, encoding)) >= 2
    assert written(out).count(names[0]) == 3
    assert "\x1b" not in written(out)

    monkeypatch.setattr(bars, "PlainConsole", lambda stderr: PlainConsole(stderr=stderr, force_terminal=True))
    with bars.progress(names[0], 1, unit="[/x]") as advance:
        advance(1, names[1])
    for text in (names[0], "[/x]", names[1]):
        assert text in re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", written(err)).replace("\r", "\n")


def test_nothing_else_prints() -> None:
    """A name that goes another way is markup, or reaches the terminal as it is."""
    elsewhere = re.compile(
        r"\bprint_exc\(|(?<![\w.])print\(|(?<!Plain)Console\(|getLogger\(__name__|sys\.stdout\.write"
    )
    for path in SOURCE.rglob("*.py"):
        if path.name not in PLACES:
            assert not elsewhere.search(path.read_text(encoding="utf-8")), path
