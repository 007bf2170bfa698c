"""Notes on a run: a damaged one costs nothing but itself."""

from pathlib import Path

import pytest

from partdistillation.runs.notes import read_note, write_note


def test_a_note_comes_back(tmp_path: Path) -> None:
    assert read_note(write_note(tmp_path / "new" / "seconds.json", {"objects": 1.5})) == {"objects": 1.5}
    assert read_note(tmp_path / "missing.json") == {}


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000])
def test_a_damaged_one_is_begun_anew(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "seconds.json").write_text(text)
    assert read_note(tmp_path / "seconds.json") == {}
    assert "seconds.json: expected a JSON object" in caplog.text
