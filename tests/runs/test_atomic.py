"""Files that are whole or absent: what is said where they can't be written, and two writers at once."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from partdistillation.errors import StoreError
from partdistillation.runs import atomic
from partdistillation.runs.atomic import (
    append_line,
    locked,
    make_folder,
    new_folder,
    remove_file,
    replace_file,
    replacing_file,
)


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


@pytest.mark.parametrize("below", ["out/new", "out/new/folder"])
def test_a_file_on_the_way_to_a_new_folder_is_named(below: str, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    with (
        pytest.raises(StoreError, match=r"can't write to .*out.*, as .*out is a file: choose another --out"),
        new_folder(tmp_path / below),
    ):
        raise AssertionError("it isn't entered")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


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


def test_files_in_pieces_are_whole_or_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with replacing_file(path) as write:
        write(b"one, ")
        write(b"two")
        assert not path.exists()
    assert path.read_bytes() == b"one, two"
    with pytest.raises(StopIteration), replacing_file(path) as write:
        write(next(iter(())))
    assert path.read_bytes() == b"one, two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stops", [False, True])
def test_where_an_open_file_cannot_be_renamed_it_is_closed_before(
    stops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where neither can it be removed, nor a folder be opened."""
    monkeypatch.setattr(atomic, "_WINDOWS", True)

    def closed_before(call: Callable[..., None]) -> Callable[..., None]:
        def checked(path: Path, *others: Path) -> None:
            links = [descriptor for descriptor in Path("/proc/self/fd").iterdir() if descriptor.exists()]
            assert path not in [descriptor.resolve() for descriptor in links]
            call(path, *others)

        return checked

    monkeypatch.setattr(os, "replace", closed_before(os.replace))
    monkeypatch.setattr(os, "unlink", closed_before(os.unlink))
    monkeypatch.setattr(atomic, "_sync", lambda *_: pytest.fail("a folder was opened"))
    with suppress(KeyboardInterrupt), replacing_file(tmp_path / "a.json") as write:
        write(b"1")
        if stops:
            raise KeyboardInterrupt
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([] if stops else [b"1"])


def test_a_disk_without_locks_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object, **__: object) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(atomic, "lock_descriptor", no_locks)
    with pytest.raises(StoreError, match=r"can't write to .*: No locks available"), locked(tmp_path):
        raise AssertionError("it isn't entered")
    replace_file(tmp_path / "a.json", b"1")  # needs none but where two write at once
    assert (tmp_path / "a.json").read_bytes() == b"1"


def test_new_folders_are_whole_or_absent(tmp_path: Path) -> None:
    folder = tmp_path / "new/out"
    with pytest.raises(FileNotFoundError), new_folder(folder) as place:
        (place / "missing.txt").read_bytes()
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "new/.out.tmp").mkdir()
    (tmp_path / "new/.out.tmp/left.txt").write_text("of a run that was killed")
    with new_folder(folder) as place:
        (place / "a.txt").write_text("a")
        assert not folder.exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    assert [path.name for path in folder.iterdir()] == ["a.txt"]
    with pytest.raises(StoreError, match="new or empty"), new_folder(folder):
        raise AssertionError("it isn't entered")


def test_the_current_folder_and_files_are_no_new_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("a")
    for folder, message in ((Path(), "the current one"), (tmp_path / "a.txt", "found a file")):
        with pytest.raises(StoreError, match=message), new_folder(folder):
            raise AssertionError("it isn't entered")


def test_a_new_name_whose_answer_was_lost_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS: the request is repeated and refused, since it was granted."""

    def replace_twice(old: Path, new: Path) -> None:
        old.rename(new)
        old.rename(new)

    monkeypatch.setattr("partdistillation.runs.atomic.os.replace", replace_twice)
    atomic.replace_file(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_new_name_that_another_file_has_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(old: Path, new: Path) -> None:
        old.unlink()
        old.rename(new)

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr("partdistillation.runs.atomic.os.replace", lose)
    with pytest.raises(StoreError, match="No such file"):
        atomic.replace_file(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
