"""Ways to parts side by side: one run, and the means of several."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from partdistillation.evaluation import ImageParts, PredictedPart, TruePart, evaluate
from partdistillation.evaluation.comparison import Compared, Comparison, mean_and_deviation, save, save_runs
from partdistillation.evaluation.tables import Provenance

LEFT = np.zeros((4, 4), np.bool_)
LEFT[:, :2] = True


def comparison(found: np.ndarray) -> Comparison:
    image = ImageParts((TruePart("car", "left", LEFT),), (PredictedPart("car", found, 1.0, 0),), "1")
    rows = [Compared("a | way", [evaluate([image], protocol=protocol) for protocol in ("strict", "paper")])]
    return Comparison(rows, Provenance("0" * 64, {"model": "1" * 64}, config="2" * 64))


def test_a_run_is_a_table_a_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(comparison(LEFT), tmp_path / "one")
    text = (tmp_path / "one.md").read_text()
    assert text == capsys.readouterr().out
    assert "| a \\| way | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 |" in text
    assert [line for line in text.splitlines() if line.startswith("Protocol")] == [
        "Protocol strict, 1 images",
        "Protocol paper, 1 images",
    ]
    assert text.endswith("SHA-256: truth 000000000000, model 111111111111, config 222222222222\n")


def test_runs_are_means_and_deviations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = LEFT.copy()
    half[2:] = False  # an IoU of 1 / 2
    save_runs([comparison(LEFT), comparison(half)], tmp_path / "both")
    text = (tmp_path / "both.md").read_text()
    assert text == capsys.readouterr().out
    assert "Protocol strict, 2 runs of 1 images" in text
    cells = next(line for line in text.splitlines() if line.startswith("| a")).split(" | ")
    assert cells[5] == f"75.0 ± {100 * math.sqrt(0.125):.1f}"  # C-mIoU: 1 and .5
    lines = list(csv.DictReader(io.StringIO((tmp_path / "both.csv").read_text())))
    values = [one["value"] for one in lines if (one["score"], one["protocol"]) == ("c_miou", "strict")]
    assert values == ["1.0", "0.5"]
    assert len(json.loads((tmp_path / "both.json").read_text())["runs"]) == 2


def test_what_is_not_defined_has_no_mean() -> None:
    assert mean_and_deviation([0.5, math.nan]) == mean_and_deviation([]) == "-"
    assert mean_and_deviation([0.25]) == "25.0"
