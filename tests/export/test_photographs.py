"""The photographs beside an export."""

import os
from pathlib import Path

import pytest

from partdistillation.errors import InputError
from partdistillation.export.photographs import Photographs

NAME = "street/a b.jpg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos/street").mkdir(parents=True)
    (tmp_path / "photos" / NAME).write_bytes(b"pixels")
    return tmp_path / "photos"


def test_photographs_are_copied(folder: Path, tmp_path: Path) -> None:
    photographs = Photographs(folder, "copied")
    for _ in range(2):
        photographs.put(NAME, tmp_path)
    assert (tmp_path / "images" / NAME).read_bytes() == b"pixels"
    assert not os.path.islink(tmp_path / "images")  # noqa: PTH114


def test_photographs_are_linked_one_by_one(folder: Path, tmp_path: Path) -> None:
    """A link to their folder would lead readers to look for labels in there."""
    photographs = Photographs(folder, "linked")
    for _ in range(2):  # as after a kill
        photographs.put(NAME, tmp_path)
    assert not os.path.islink(tmp_path / "images")  # noqa: PTH114
    assert (tmp_path / "images" / NAME).resolve() == folder / NAME


def test_missing_photographs_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a b\.jpg: expected a photograph to copy"):
        Photographs(tmp_path, "copied").put(NAME, tmp_path / "out")
    with pytest.raises(InputError, match=r"a b\.jpg: expected a photograph, found none"):
        Photographs(tmp_path, "linked").put(NAME, tmp_path / "out")


def test_where_none_are_wanted_none_are_looked_for(tmp_path: Path) -> None:
    Photographs(tmp_path, "none").put(NAME, tmp_path / "out")
    assert not (tmp_path / "out").exists()
