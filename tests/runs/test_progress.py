from functools import partial

import pytest

from partdistillation.runs import progress as module
from partdistillation.runs.console import PlainConsole
from partdistillation.runs.progress import followed_by, progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("partdistillation.runs.progress.time.monotonic", lambda: now[0])
    return now


def test_one_line_a_minute_without_a_terminal(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("segments", 10, done=4, unit="photographs") as advance:
        for seconds in (30, 61, 70, 122):
            clock[0] = seconds
            advance(note="loss 1.5" if seconds == 61 else "")
    assert capsys.readouterr().err.splitlines() == [
        "segments: 6/10 photographs, 0:02:02 left, loss 1.5",
        "segments: 8/10 photographs, 0:01:01 left",
    ]


def test_what_follows_counts_in_all(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with followed_by(600), progress("segments", 10, unit="photographs") as advance:
        clock[0] = 60
        advance(5)
        clock[0] = 120
        advance(5)
    assert capsys.readouterr().err.splitlines() == [
        "segments: 5/10 photographs, 0:01:00 left (0:11:00 in all)",
        "segments: 10/10 photographs",
    ]


def test_the_last_line_comes_at_once(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("train", 2, unit="steps") as advance:
        clock[0] = 1.0
        advance(2)
    assert capsys.readouterr().err == "train: 2/2 steps\n"


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "PlainConsole", partial(PlainConsole, force_terminal=True, width=100))
    with followed_by(7200), progress("train", 2, unit="steps") as advance:
        advance(2, "loss 1.5")
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "loss 1.5" in shown
