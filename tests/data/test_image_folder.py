"""Which files of a folder are images, and of which class."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from partdistillation.data.image_folder import scan
from partdistillation.errors import InputError


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_class_folders_nested_levels_and_other_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
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
        "cat/h.JFIF",
        "cat/i.jpe",
        "cat/j.JXL",
        "cat/k.avif",
    )
    found = scan(tmp_path)
    assert [(image.file_name, image.category) for image in found.images] == [
        ("cat/clip.gif", "cat"),
        ("cat/d.webp", "cat"),
        ("cat/e.tif", "cat"),
        ("cat/f.tiff", "cat"),
        ("cat/g.bmp", "cat"),
        ("cat/h.JFIF", "cat"),
        ("cat/i.jpe", "cat"),
        ("cat/j.JXL", "cat"),
        ("cat/k.avif", "cat"),
        ("cat/kittens/grey/c.png", "cat"),
        ("dog/A.JPEG", "dog"),
        ("dog/b.jpg", "dog"),
        ("root.jpg", None),
    ]
    assert found.others == {"hidden": 2, ".txt": 1, "without suffix": 1}
    assert caplog.messages == [f"{tmp_path}: not photographs: 2 hidden, 1 .txt, 1 without suffix"]
    assert found.categories == ("cat", "dog")
    assert all(image.image_id == image.file_name for image in found.images)
    assert all(image.path == tmp_path / image.file_name for image in found.images)
    assert {image.file_name: image.problem for image in found.images if image.problem} == {
        "cat/j.JXL": "expected a format that is read, found .jxl: convert it to JPEG"
    }


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


def test_only_formats_that_are_not_read(tmp_path: Path) -> None:
    make(tmp_path, "cat/a.jxl", "cat/b.jxl")
    with pytest.raises(InputError, match=r"found 2 other files \(2 \.jxl\)"):
        scan(tmp_path)


def test_what_runs_write_is_no_photograph(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(
        tmp_path,
        "cat/a.jpg",
        "out/mine/report/1.png",
        "cat/earlier/objects/manifest.json",
        "cat/earlier/pictures/a.png",
        "objects/b.jpg",
    )
    found = scan(tmp_path, tmp_path / "out/mine")
    assert [image.file_name for image in found.images] == ["cat/a.jpg", "objects/b.jpg"]
    assert found.runs == ("cat/earlier", "out/mine")
    assert "folders of runs, whose pictures are no photographs (2): cat/earlier, out/mine" in caplog.text
    assert len(scan(tmp_path / "out/mine").images) == 1, "the folder that is asked for is one of photographs"
    with pytest.raises(InputError, match="choose another --out"):
        scan(tmp_path, tmp_path)


def test_folders_without_rights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may list any folder, so the system's answer is made up."""
    make(tmp_path, "cat/a.jpg", "dog/b.jpg")
    listed = os.scandir

    def refuse(folder: str) -> object:
        if Path(folder).name == "dog":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    found = scan(tmp_path)
    assert [image.file_name for image in found.images] == ["cat/a.jpg"]
    assert found.unreadable == ("dog (Permission denied)",)


def packed(path: Path, **members: bytes) -> None:
    """A tar archive; `a__jpg` is called a.jpg."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name.replace("__", "."))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def test_an_archive_is_a_folder_of_its_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    packed(tmp_path / "car.tar", a__JPEG=b"", b__txt=b"", c__heic=b"", d__psd=b"")
    packed(tmp_path / "old" / "bus.tar", a__jpg=b"")
    packed(tmp_path / "dog.tar", a__jpg=b"")
    packed(tmp_path / ".hidden.tar", a__jpg=b"")
    make(tmp_path, "dog/b.jpg")
    scanned = scan(tmp_path)
    assert [(image.file_name, image.category, bool(image.problem)) for image in scanned.images] == [
        ("car/a.JPEG", "car", False),
        ("car/c.heic", "car", False),
        ("car/d.psd", "car", True),
        ("dog/b.jpg", "dog", False),
        ("old/bus/a.jpg", "old", False),
    ]
    assert caplog.messages == [
        f"{tmp_path}: not photographs: 1 .txt, 1 hidden",
        f"{tmp_path}: archives beside their folders, which are read instead (1): dog.tar",
    ]


def test_a_webdataset_says_its_classes(tmp_path: Path) -> None:
    packed(
        tmp_path / "shard-0.tar",
        x1__jpg=b"",
        x1__cls=b"7\n",
        x1__json=b"{}",
        x2__seg__png=b"",
        x2__cls=b"car",
    )
    packed(tmp_path / "shard-1.tar", x1__jpg=b"", x1__txt=b"a car")
    assert [(image.file_name, image.category) for image in scan(tmp_path).images] == [
        ("shard-0/x1.jpg", "7"),
        ("shard-0/x2.seg.png", "car"),
        ("shard-1/x1.jpg", "shard-1"),
    ]


def test_members_that_lead_outside_keep_a_row(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "car.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../up.jpg"))
        archive.addfile(tarfile.TarInfo("a.jpg"))
    assert {image.file_name: image.problem for image in scan(tmp_path).images} == {
        "car/../up.jpg": "expected a name inside of the archive, found one that leads outside; pack it again",
        "car/a.jpg": "",
    }


def test_an_archive_alone(tmp_path: Path) -> None:
    packed(tmp_path / "car.tar", a__jpg=b"")
    with pytest.raises(InputError, match=r"car\.tar: .* found an archive; give the folder that holds it"):
        scan(tmp_path / "car.tar")


@pytest.mark.parametrize("name", ["car.tar.gz", "car.tgz", "car.tar.zst"])
def test_a_compressed_archive_is_an_error(tmp_path: Path, name: str) -> None:
    make(tmp_path, "dog/b.jpg", name)
    with pytest.raises(InputError, match=rf"{name}: expected a tar archive that isn't compressed"):
        scan(tmp_path)
    make(tmp_path, "car/a.jpg")
    assert scan(tmp_path).unpacked == (name,)
