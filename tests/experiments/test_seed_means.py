"""The table of several seeds."""

import json
from pathlib import Path
from typing import Any

import pytest

from partdistillation.experiments import seed_means


def comparison(**miou: float | None) -> dict[str, Any]:
    rows = []
    for name, value in miou.items():
        scores = {"average_recall": {"1": 0.1, "10": 0.2, "200": 0.3}, "c_miou": value, "a_miou": value}
        scores |= {"ap50": 0.4, "nmi": None, "ari": 0.5}
        rows.append({"name": name, "protocols": [scores, {}]})
    return {"rows": rows}


def test_means_and_deviations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [comparison(model=0.30, segments=None), comparison(model=0.34, segments=None, new=0.9)]
    files = []
    for number, content in enumerate(runs):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps(content))
    seed_means.save(files, tmp_path / "table.md")
    table = (tmp_path / "table.md").read_text()
    assert table in capsys.readouterr().out
    assert "2 runs" in table
    line = next(line for line in table.splitlines() if line.startswith("| model "))
    cells = [
        "10.0 ± 0.0",
        "20.0 ± 0.0",
        "30.0 ± 0.0",
        "40.0 ± 0.0",
        "32.0 ± 2.8",
        "32.0 ± 2.8",
        "-",
        "50.0 ± 0.0",
    ]
    assert line == f"| model | {' | '.join(cells)} |"
    assert "| segments | 10.0 ± 0.0" in table
    assert "new" not in table
