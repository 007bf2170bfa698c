"""Decoding in a process of its own: the same pixels, and an end of whatever takes too long or too much."""

import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from partdistillation.data import apart
from partdistillation.data.apart import decode_apart
from partdistillation.data.decoding import decode
from partdistillation.errors import InputError, PartDistillationError

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of processes are Linux's")


def test_the_process_sends_what_decoding_here_gives(image_files: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "photo with a space.png"
    path.write_bytes(image_files.saved(image_files.photograph().convert("L"), "PNG"))
    for wanted in ("rgb", "labels", "size"):
        expected = decode(path.read_bytes(), path, wanted, strict=True)
        sent = decode_apart(path, wanted, strict=True, pixels=1)
        assert sent.dtype == expected.dtype
        assert sent.flags.writeable
        np.testing.assert_array_equal(sent, expected)


def test_errors_come_through(image_files: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    path.write_bytes(image_files.cut_with_end(image_files.saved(image_files.photograph(), "JPEG"), 0.5))
    with pytest.raises(InputError, match=r"half\.jpg: expected a whole, readable image, .*premature end"):
        decode_apart(path, "rgb", strict=True, pixels=1)
    assert decode_apart(path, "rgb", strict=False, pixels=1).shape == (120, 160, 3)


@linux
def test_time_is_limited(image_files: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiles.tif"
    path.write_bytes(image_files.tiff_of_tiny_tiles(1200))
    monkeypatch.setattr(apart, "_SECONDS", 1)
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"tiles\.tif: .* takes more than 1 seconds"):
        decode_apart(path, "rgb", strict=True, pixels=1)
    assert time.monotonic() - begin < 30
    monkeypatch.setattr(apart, "_PATIENCE", 0)
    with pytest.raises(InputError, match="takes more than 1 seconds"):
        decode_apart(path, "rgb", strict=True, pixels=1)


@linux
def test_memory_is_limited(image_files: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    Image.new("RGBA", (4000, 4000)).save(path)
    monkeypatch.setattr(apart, "MEMORY", 60 << 20)
    with pytest.raises(InputError, match=r"large\.png: .*at most 60 MB to decode"):
        decode_apart(path, "rgb", strict=True, pixels=1)


@linux
def test_a_crash_is_the_images_fault_and_a_kill_is_not() -> None:
    crash = apart._ended(Path("a.png"), -signal.SIGSEGV, 7, late=False)
    assert isinstance(crash, InputError)
    assert "crashed (SIGSEGV)" in str(crash)
    for late, kind in ((True, InputError), (False, PartDistillationError)):
        assert type(apart._ended(Path("a.png"), -signal.SIGKILL, 7, late=late)) is kind
    assert "exit code 1" in str(apart._ended(Path("a.png"), 1, 7, late=False))


@linux
def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "pipe.png"
    os.mkfifo(path)  # reading it takes until somebody writes
    with apart._started([str(path), "rgb", "1", "60", str(1 << 30)]) as process:
        assert process.stdin is not None
        process.stdin.close()  # as the system does when a process ends
        process.wait(timeout=30)


def test_no_process_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    with pytest.raises(PartDistillationError, match="expected to start a process") as caught:
        decode_apart(tmp_path / "a.png", "rgb", strict=True, pixels=1)
    assert not isinstance(caught.value, InputError)
