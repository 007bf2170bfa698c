"""Folders held in common: who may join, and who is kept out."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from partdistillation.errors import StoreError
from partdistillation.runs.atomic import locked
from partdistillation.runs.sharing import require_unshared, sharing

PROGRAM = """
import sys, time; from pathlib import Path; from partdistillation.runs.sharing import sharing
with sharing(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


@contextmanager
def a_sharer(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that shares the folder."""
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        yield process
        process.kill()


def alone(folder: Path) -> None:
    with locked(folder):
        require_unshared(folder)


def left(folder: Path) -> list[str]:
    return [path.name for path in (folder / ".sharers").iterdir()]


def test_many_share_and_none_has_it_alone_before_all_have_ended(tmp_path: Path) -> None:
    with sharing(tmp_path):
        with sharing(tmp_path), pytest.raises(StoreError, match="is in use"):
            alone(tmp_path)
        with pytest.raises(StoreError, match="is in use"):
            alone(tmp_path)
    alone(tmp_path)
    assert left(tmp_path) == [".lock"]


def test_who_has_it_alone_keeps_sharers_out(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(StoreError, match="is in use"), sharing(tmp_path):
        raise AssertionError("it isn't entered")
    with sharing(tmp_path):
        pass


def test_a_killed_sharer_holds_nothing(tmp_path: Path) -> None:
    with a_sharer(tmp_path) as process:
        with pytest.raises(StoreError, match=f"{tmp_path} is in use by a command with --engine shared"):
            alone(tmp_path)
        process.kill()
        process.wait()
        alone(tmp_path)
    assert left(tmp_path) == [".lock"]
