from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from partdistillation.export.zips import replacing_zip, zipped


def test_the_same_files_give_the_same_bytes() -> None:
    files = {"a/b.txt": b"one", "c.txt": b"two" * 100}
    data = zipped(files)
    assert data == zipped(files)
    with ZipFile(BytesIO(data)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_a_zip_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with replacing_zip(path) as archive:
        archive.writestr("a.txt", b"first")
    with pytest.raises(FileNotFoundError), replacing_zip(path) as archive:
        archive.write(tmp_path / "gone")
    with ZipFile(path) as archive:
        assert archive.read("a.txt") == b"first"
    assert list(tmp_path.iterdir()) == [path]
