"""Which files of a folder are images, and of which class."""

import os
from pathlib import Path

import pytest

from partdistillation.data.image_folder import scan
from partdistillation.errors import InputError


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_class_folders_nested_levels_and_other_files(tmp_path: Path) -> None:
    make(
        tmp_path,
        "dog/b.jpg",
        "dog/A.JPEG",
        "cat/kittens/grey/c.png",
        "cat/d.webp",
        "cat/e.tif",
        "cat/f.tiff",
        "cat/g.bmp",
        "root.jpg",
        "cat/notes.txt",
        "cat/clip.gif",
        "cat/.hidden.jpg",
        ".cache/h.jpg",
        "dog/no_extension",
    )
    found = scan(tmp_path)
    assert [(image.file_name, image.category) for image in found.images] == [
        ("cat/d.webp", "cat"),
        ("cat/e.tif", "cat"),
        ("cat/f.tiff", "cat"),
        ("cat/g.bmp", "cat"),
        ("cat/kittens/grey/c.png", "cat"),
        ("dog/A.JPEG", "dog"),
        ("dog/b.jpg", "dog"),
        ("root.jpg", None),
    ]
    assert found.skipped == 5
    assert found.categories == ("cat", "dog")
    assert all(image.image_id == image.file_name for image in found.images)
    assert all(image.path == tmp_path / image.file_name for image in found.images)
    assert not any(image.problem for image in found.images)


def test_a_hidden_parent_hides_nothing(tmp_path: Path) -> None:
    make(tmp_path, ".data/cat/a.jpg")
    assert len(scan(tmp_path / ".data").images) == 1


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    make(tmp_path, "elsewhere/a.jpg", "images/dog/b.jpg")
    (tmp_path / "images/cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "images/dog")
    (tmp_path / "images/dog/loop").symlink_to(tmp_path / "images")
    names = [image.file_name for image in scan(tmp_path / "images").images]
    assert names == ["cat/a.jpg", "cat/back/b.jpg", "dog/b.jpg"]


def test_names_that_are_not_utf8_keep_their_row(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.jpg")
    try:
        make(tmp_path, "cat/b.jpg", f"cat/{name}")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    good, bad = scan(tmp_path).images
    assert good.problem == ""
    assert bad.file_name == "cat/\\xff.jpg"
    assert "UTF-8" in bad.problem


def test_empty_missing_and_no_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 0 other files"):
        scan(tmp_path)
    make(tmp_path, "cat/a.txt")
    with pytest.raises(InputError, match="found 1 other files"):
        scan(tmp_path)
    with pytest.raises(InputError, match="no directory"):
        scan(tmp_path / "missing")
    with pytest.raises(InputError, match="no directory"):
        scan(tmp_path / "cat/a.txt")
