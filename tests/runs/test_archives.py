"""Photographs in tar archives: where they are, and what is wrong with them; Python's tarfile packs."""

import gzip
import io
import random
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from partdistillation.errors import InputError
from partdistillation.runs import archives
from partdistillation.runs.archives import members, place_of, read_bytes


def pack(
    path: Path, contents: Mapping[str, bytes | tarfile.TarInfo], layout: int = tarfile.PAX_FORMAT
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=layout) as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


@pytest.mark.parametrize("layout", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_members_are_read_where_they_are(tmp_path: Path, layout: int) -> None:
    source = random.Random(0)
    contents = {f"{'sub/' * (place % 3)}{place}.jpg": source.randbytes(200 * place) for place in range(12)}
    if layout != tarfile.USTAR_FORMAT:
        contents[f"{'long' * 50}.jpg"] = b"long"
        contents["schön/ÿ.jpg"] = b"letters"
    path = pack(tmp_path / "car.tar", contents, layout)
    assert {name: member.size for name, member in members(path).items()} == {
        name: len(content) for name, content in contents.items()
    }
    assert {name: read_bytes(tmp_path / "car" / name) for name in contents} == contents


def test_folders_and_files_come_before_archives(tmp_path: Path) -> None:
    pack(tmp_path / "car.tar", {"a.jpg": b"packed"})
    assert read_bytes(tmp_path / "car" / "a.jpg") == b"packed"
    assert place_of(tmp_path / "car" / "b.jpg") is None
    assert place_of(tmp_path / "bus" / "a.jpg") is None
    (tmp_path / "car").mkdir()
    assert place_of(tmp_path / "car" / "a.jpg") is None
    (tmp_path / "car" / "a.jpg").write_bytes(b"unpacked")
    assert read_bytes(tmp_path / "car" / "a.jpg") == b"unpacked"


def test_names_are_those_after_unpacking(tmp_path: Path) -> None:
    path = pack(
        tmp_path / "car.tar", {"./a.jpg": b"first", "b//c.jpg": b"c", "d": special("d", tarfile.DIRTYPE)}
    )
    with tarfile.open(path, "a") as archive:
        entry = tarfile.TarInfo("a.jpg")
        entry.size = 6
        archive.addfile(entry, io.BytesIO(b"second"))
    assert list(members(path)) == ["a.jpg", "b/c.jpg"]
    assert read_bytes(tmp_path / "car" / "a.jpg") == b"second"


def test_what_is_no_file_or_leads_outside_is_not_read(tmp_path: Path) -> None:
    path = pack(
        tmp_path / "car.tar",
        {
            "/etc/passwd": b"x",
            "../up.jpg": b"x",
            "a/../../up.jpg": b"x",
            "link.jpg": special("link.jpg", tarfile.SYMTYPE, "/etc/passwd"),
            "hard.jpg": special("hard.jpg", tarfile.LNKTYPE, "../up.jpg"),
            "pipe.jpg": special("pipe.jpg", tarfile.FIFOTYPE),
        },
    )
    found = {
        name: member.problem.partition("found ")[2].partition(";")[0]
        for name, member in members(path).items()
    }
    assert found == {
        "/etc/passwd": "one that leads outside",
        "../up.jpg": "one that leads outside",
        "a/../../up.jpg": "one that leads outside",
        "link.jpg": "a link",
        "hard.jpg": "a link",
        "pipe.jpg": "a sparse one or a device",
    }
    with pytest.raises(OSError, match="found a link"):
        read_bytes(tmp_path / "car" / "link.jpg")


def test_an_archive_that_changes_is_indexed_anew(tmp_path: Path) -> None:
    path = pack(tmp_path / "car.tar", {"a.jpg": b"one"})
    assert read_bytes(tmp_path / "car" / "a.jpg") == b"one"
    pack(path, {"b.jpg": bytes(20_000), "a.jpg": b"two"})
    assert read_bytes(tmp_path / "car" / "a.jpg") == b"two"


def test_an_index_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(tmp_path / "car.tar", {"a.jpg": b"one", "b.jpg": b"two"})
    assert read_bytes(tmp_path / "car" / "a.jpg") == b"one"
    monkeypatch.setattr(tarfile, "open", None)
    assert read_bytes(tmp_path / "car" / "b.jpg") == b"two"


def test_compressed_and_damaged_archives(tmp_path: Path) -> None:
    whole = pack(tmp_path / "car.tar", {"a.jpg": bytes(3000), "b.jpg": bytes(3000)}).read_bytes()
    (tmp_path / "gz.tar").write_bytes(gzip.compress(whole))
    (tmp_path / "text.tar").write_bytes(b"no archive")
    (tmp_path / "cut.tar").write_bytes(whole[:5000])
    (tmp_path / "flipped.tar").write_bytes(whole[:3600] + bytes([255] * 600) + whole[4200:])
    for name, complaint in {
        "gz": r"gz\.tar: expected a tar archive that isn't compressed.*gunzip",
        "text": r"text\.tar: expected a whole tar archive, found a damaged one",
        "cut": r"cut\.tar: expected a whole tar archive",
        "flipped": r"flipped\.tar: expected a whole tar archive",
    }.items():
        with pytest.raises(InputError, match=complaint):
            members(tmp_path / f"{name}.tar")


def test_random_damage_raises_nothing_else(tmp_path: Path) -> None:
    source, path = random.Random(1), tmp_path / "car.tar"
    whole = pack(path, {f"{'n' * 120}{place}.jpg": bytes(700) for place in range(5)}).read_bytes()
    for _ in range(200):
        data = bytearray(whole[: source.randrange(len(whole))])
        for _ in range(source.randrange(4)):
            if data:
                data[source.randrange(len(data))] = source.randrange(256)
        path.write_bytes(data)
        with suppress(InputError):
            archives._members.__wrapped__(path, 0, 0)
