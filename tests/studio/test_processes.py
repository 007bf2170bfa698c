"""Commands that go on without whoever started them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from partdistillation.errors import StoreError
from partdistillation.runs.notes import write_note
from partdistillation.studio import processes
from partdistillation.studio.processes import LOG, NOTE, Command, started


def wait_for(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "expected it within the time"
        time.sleep(0.02)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """A command that sleeps; `python -m partdistillation CODE` runs the code."""
    package = tmp_path / "stand-in" / "partdistillation"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import sys; exec(sys.argv[1])")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    command = Command(tmp_path / "out" / "studio")
    yield command
    while command.is_alive():
        command.stop()
        time.sleep(0.02)


SLEEP = "import time; print('begun', flush=True); time.sleep(60)"


def test_it_outlives_whoever_started_it_and_is_found_again(command: Command, tmp_path: Path) -> None:
    starter = (
        "import os, signal; from pathlib import Path; from partdistillation.studio.processes import Command; "
        f"os.environ['PYTHONPATH'] = {os.environ['PYTHONPATH']!r}; "  # the package itself is known by now
        f"Command(Path({str(command.folder)!r})).start([{SLEEP!r}]); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(processes.__file__).parents[2])}
    completed = subprocess.run([sys.executable, "-c", starter], env=environment, cwd=tmp_path, check=False)
    assert completed.returncode == -signal.SIGKILL
    again = Command(command.folder)
    assert again.is_alive()
    wait_for(lambda: again.said() == ["begun"])
    again.stop()
    wait_for(lambda: not again.is_alive())
    assert again.ended() == "stopped"


def test_a_second_start_is_refused(command: Command) -> None:
    command.start([SLEEP])
    with pytest.raises(StoreError, match="going on already"):
        Command(command.folder).start([SLEEP])


def test_what_does_not_end_when_asked_is_ended_when_asked_again(command: Command) -> None:
    deaf = "import signal; signal.signal(signal.SIGINT, lambda *_: print('asked', flush=True))"
    command.start([f"{deaf}; {SLEEP}"])
    wait_for(lambda: command.said() == ["begun"])
    command.stop()
    wait_for(lambda: command.said() == ["begun", "asked"])
    assert command.is_alive()
    assert command.is_stopping
    command.stop()
    wait_for(lambda: not command.is_alive())
    assert command.ended() == "stopped"


@pytest.mark.parametrize(
    ("code", "ended", "why"),
    [
        ("print('Open /somewhere/index.html')", "finished", None),
        ("print('partdistill: expected a car,\\nfound a cat')", "failed", "expected a car,\nfound a cat"),
        ("1 / 0", "failed", "ZeroDivisionError: division by zero"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "failed", "ended without a word"),
        ("print('stopped; run the same command again to go on')", "stopped", None),
    ],
)
def test_how_it_ended_is_what_it_said_last(command: Command, code: str, ended: str, why: str | None) -> None:
    command.start([code])
    wait_for(lambda: not command.is_alive())
    assert command.ended() == ended
    if why is not None:
        assert why in command.why()


def test_what_an_earlier_start_said_does_not_count(command: Command) -> None:
    for code in ("print('Open it')", "print('partdistill: no')"):
        command.start([code])
        wait_for(lambda: not command.is_alive())
    assert command.said() == ["partdistill: no"]
    assert (command.folder / LOG).read_text() == "Open it\npartdistill: no\n"


def test_a_number_that_was_given_again_is_another_process(tmp_path: Path) -> None:
    command = Command(tmp_path)
    write_note(tmp_path / NOTE, {"pid": os.getpid(), "started": "another instant"})
    assert not command.is_alive()
    command.stop()  # and it isn't hit
    write_note(tmp_path / NOTE, {"pid": os.getpid(), "started": started(os.getpid())})
    assert command.is_alive()


@pytest.mark.parametrize("note", [{}, {"pid": "7"}, {"pid": 0, "started": ""}, {"pid": 1}, {"pid": -1}])
def test_a_damaged_note_is_no_process(tmp_path: Path, note: dict[str, object]) -> None:
    write_note(tmp_path / NOTE, note)
    assert not Command(tmp_path).is_alive()
    Command(tmp_path).stop()


def test_without_proc_ps_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    assert started(os.getpid())
    assert started(os.getpid()) == started(os.getpid())
    assert started(2**22 + 1) == ""


def test_what_a_terminal_obeys_is_written_out(command: Command) -> None:
    command.start([r"print('\x1b[31mred \u202e')"])
    wait_for(lambda: not command.is_alive())
    assert command.said() == [r"\x1b[31mred \u202e"]
