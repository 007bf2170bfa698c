import hashlib
from pathlib import Path

import pytest

from partdistillation.commands import doctor
from partdistillation.commands.main import main
from partdistillation.errors import StoreError
from partdistillation.runs import stage_reader
from partdistillation.runs.digests import write_digests


def stage(out: Path, name: str) -> Path:
    folder = out / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    return folder


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(doctor, "run", lambda out, *, deep: calls.append((out, deep)))
    monkeypatch.setattr(doctor, "check_dataset", lambda *args: calls.append(args))
    assert main(["doctor"]) == main(["doctor", "--out", "a", "--deep"]) == 0
    assert main(["doctor", "--dataset", "paco", "b"]) == 0
    assert calls == [(None, False), (Path("a"), True), ("paco", Path("b"))]


def test_prints_what_a_bug_report_needs(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.run(None)
    printed = capsys.readouterr().out
    for word in ("python", "torch", "transformers", "device", "threads", "memory", "disk"):
        assert f" {word} " in printed


def test_whole_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage(tmp_path, "objects")
    monkeypatch.setattr(stage_reader, "verify", lambda _: [])
    doctor.run(tmp_path)
    assert "objects: whole" in capsys.readouterr().out


def test_every_problem_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage(tmp_path, "objects")
    damaged = stage(tmp_path, "segments")
    monkeypatch.setattr(
        stage_reader, "verify", lambda folder: ["a is missing", "b is damaged"] if folder == damaged else []
    )
    with pytest.raises(
        StoreError, match="missing or damaged files in segments: run the command that made them"
    ):
        doctor.run(tmp_path)
    printed = capsys.readouterr().out
    assert "objects: whole" in printed
    assert "segments: a is missing\nsegments: b is damaged\n" in printed


def test_unreadable_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage(tmp_path, "objects")
    with pytest.raises(StoreError, match="in objects"):
        doctor.run(tmp_path)
    assert "objects: " in capsys.readouterr().out


def test_no_such_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected the folder of a run, found none"):
        doctor.run(tmp_path / "missing")


def test_a_folder_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doctor.run(tmp_path)
    assert "nothing was checked" in capsys.readouterr().out


def test_checkpoints_come_and_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whenever a training is stopped, the SHA-256 may name one that is gone, or isn't there yet."""
    folder = tmp_path / "checkpoints/proposals"
    folder.mkdir(parents=True)
    (folder / "step-2.safetensors").write_bytes(b"2")
    write_digests(folder, {"step-1.safetensors": "0", "step-2.safetensors": hashlib.sha256(b"2").hexdigest()})
    doctor.run(tmp_path)
    assert "checkpoints/proposals: whole" in capsys.readouterr().out
    (folder / "step-2.safetensors").write_bytes(b"3")
    with pytest.raises(StoreError, match="damaged files in checkpoints/proposals"):
        doctor.run(tmp_path)
