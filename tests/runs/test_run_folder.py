"""What a run's folder holds."""

from pathlib import Path

from partdistillation.runs.run_folder import run_of


def test_the_run_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    assert run_of(tmp_path / "part_model") == tmp_path
    assert run_of(tmp_path / "retrained/part_model") == tmp_path
    assert run_of(tmp_path / "supervised") is None  # taught by other parts than the run's
    assert run_of(tmp_path / "elsewhere/part_model") is None
