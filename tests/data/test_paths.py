"""Files that aren't there: what is said of the likely cause."""

import os
import unicodedata
from pathlib import Path

import pytest

from partdistillation.data.paths import absence, is_file, is_folder

DECOMPOSED = unicodedata.normalize("NFD", "café.jpg")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "photos/1.PNG",
        "photos/Cat/x.jpg",
        f"photos/{DECOMPOSED}",
        "train/2.jpg",
        "photos/a\\b.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("photos/1.png", "no such file; there is '1.PNG', in other letter case"),
        ("photos/cat/x.jpg", "no such file; there is 'Cat', in other letter case"),
        ("photos/1.jpg", "no such file; there is '1.PNG', with another suffix"),
        (
            "photos/photos/1.PNG",
            "no such file; without 'photos/' it is there: the name, or the folder given",
        ),
        ("photos/a/deep/1.PNG", "no such file; without 'a/deep/' it is there"),
        ("2.jpg", "no such file; it is in the folder 'train' there: the name lacks a folder"),
        ("photos\\1.PNG", "no such file; with / for its backslashes it is there"),
        ("photos/a/b.jpg", "no such file; there is a file with backslashes in its name"),
        ("nothing/like/it.jpg", "no such file; check the path"),
        (f"{'x' * 252}.jpg", "a name of 256 bytes, of which 255 are possible; rename the file"),
        ("photos", "a directory; check the path"),
    ],
)
def test_likely_causes(root: Path, name: str, said: str) -> None:
    assert absence(root / name).startswith(said)
    assert str(root) not in absence(root / name)


def test_unicode_forms(root: Path) -> None:
    if is_file(root / "photos" / "café.jpg"):
        pytest.skip("this file system takes both forms for one name")
    assert "in another Unicode form (NFC or NFD)" in absence(root / "photos/café.jpg")


def test_what_is_there_without_being_a_file(root: Path) -> None:
    (root / "photos/link.jpg").symlink_to("gone.jpg")
    os.mkfifo(root / "photos/pipe.jpg")
    assert absence(root / "photos/link.jpg") == (
        "a link that leads to no file; check what it leads to, 'gone.jpg'"
    )
    assert absence(root / "photos/pipe.jpg") == "a pipe or a device; put a file in its place"


def test_what_is_there(root: Path) -> None:
    assert absence(root / "train/2.jpg") == ""
    assert is_file(root / "train/2.jpg")
    assert is_folder(root / "train")
    assert not is_file(root / ("x" * 300))
    assert not is_folder(root / "a\0")


def test_a_folder_without_rights(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may enter any folder, so the system's answer is made up."""

    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    assert absence(root / "train/2.jpg") == "Permission denied; check the rights of its folder"
    assert not is_file(root / "train/2.jpg")
