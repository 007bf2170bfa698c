"""Locks of this machine, seen without asking for them."""

from pathlib import Path

import pytest

from partdistillation.runs.atomic import locked
from partdistillation.status import locks
from partdistillation.status.locks import is_held


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs the system's list of locks")
def test_a_lock_that_is_held_is_seen_without_asking_for_it(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert is_held(tmp_path / ".lock")
    assert not is_held(tmp_path / ".lock")
    assert not is_held(tmp_path / "none")


def test_without_a_list_of_locks_it_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_LOCKS", tmp_path / "none")
    with locked(tmp_path):
        assert not is_held(tmp_path / ".lock")
