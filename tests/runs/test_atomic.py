"""Files that are whole or absent: what is said where they can't be written, and two writers at once."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from partdistillation.errors import StoreError
from partdistillation.runs.atomic import append_line, locked, make_folder, remove_file, replace_file


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_is_named_and_leaves_the_file_as_it_was(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "seconds.json"
    replace_file(path, b"before")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(StoreError, match=r"can't write to .*seconds\.json: No space left on device\."):
            replace_file(path, b"after")
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["seconds.json"]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: replace_file(path / "a", b""),
        lambda path: append_line(path / "a", b""),
        lambda path: remove_file(path / "a"),
        lambda path: make_folder(path / "a"),
        lambda path: locked(path).__enter__(),
    ],
)
def test_a_file_in_the_folders_place_is_said_so(write: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"mine")
    with pytest.raises(StoreError, match=r"can't write to .*out.*: Not a directory"):
        write(path)
    assert path.read_bytes() == b"mine"


def test_the_longest_name_that_a_disk_allows(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 125 + ".json")  # 255 bytes
    replace_file(path, b"content")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_processes_that_write_one_file_wait_for_each_other(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from partdistillation.runs.atomic import replace_file\n"
        "for _ in range(100): replace_file(Path(sys.argv[1]), sys.argv[2].encode() * 100_000)"
    )
    path = tmp_path / "config.yaml"
    writers = [subprocess.Popen([sys.executable, "-c", program, path, letter]) for letter in "abc"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    assert path.read_bytes() in (b"a" * 100_000, b"b" * 100_000, b"c" * 100_000)
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]
