"""Ways to parts side by side: one run, and the means of several, each above what a paper has for it."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from partdistillation.evaluation import ImageParts, PredictedPart, TruePart, evaluate
from partdistillation.evaluation.comparison import Compared, ComparedRuns, Comparison, Published
from partdistillation.evaluation.provenance import Provenance

LEFT = np.zeros((4, 4), np.bool_)
LEFT[:, :2] = True
PAPER = (
    Published("paper, PartImageNet", "its table 2", {"AR@200": 58.0, "c_miou": 48.05}),
    Published("paper, Pascal Part", "its table 3", {"nmi": 52.4}),
)


def comparison(found: np.ndarray, published: Sequence[Published] = ()) -> Comparison:
    image = ImageParts((TruePart("car", "left", LEFT),), (PredictedPart("car", found, 1.0, 0),), "1")
    evaluations = [evaluate([image], protocol=protocol) for protocol in ("strict", "paper")]
    rows = [Compared("a | way", evaluations, published), Compared("another", evaluations)]
    return Comparison(rows, Provenance("0" * 64, {"model": "1" * 64}, config="2" * 64))


def shown(tables: Comparison | ComparedRuns) -> list[str]:
    """As a terminal of 80 columns has it."""
    written = io.StringIO()
    Console(width=80, file=written).print(tables.tables().printed())
    return written.getvalue().splitlines()


def test_a_run_is_a_table_a_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    comparison(LEFT).tables().save(tmp_path / "one")
    text = (tmp_path / "one.md").read_text()
    assert text == capsys.readouterr().out
    assert "| a \\| way | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 |" in text
    assert [line for line in text.splitlines() if line.startswith("Protocol")] == [
        "Protocol strict, 1 images",
        "Protocol paper, 1 images",
    ]
    assert "In percent; NMI and ARI of true parts' pixels" in text
    assert text.endswith("SHA-256: truth 000000000000, model 111111111111, config 222222222222\n")


def test_runs_are_means_and_deviations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = LEFT.copy()
    half[2:] = False  # an IoU of 1 / 2
    ComparedRuns({3: comparison(LEFT), 5: comparison(half)}).tables().save(tmp_path / "new" / "both")
    tmp_path /= "new"
    text = (tmp_path / "both.md").read_text()
    assert text == capsys.readouterr().out
    assert "Protocol strict, 2 runs of 1 images" in text
    cells = next(line for line in text.splitlines() if line.startswith("| a")).split(" | ")
    assert cells[5] == f"75.0 ± {100 * math.sqrt(0.125):.1f}"  # C-mIoU: 1 and .5
    lines = list(csv.DictReader(io.StringIO((tmp_path / "both.csv").read_text())))
    wanted = ("a | way", "c_miou", "strict")
    own = [one for one in lines if (one["name"], one["score"], one["protocol"]) == wanted]
    assert [(one["seed"], one["images"], one["value"]) for one in own] == [
        ("3", "1", "1.0"),
        ("5", "1", "0.5"),
    ]
    assert text.count("\nSeed 3. SHA-256: ") == text.count("\nSeed 5. SHA-256: ") == 1
    assert "In percent, mean ± standard deviation over runs; " in text
    assert {one["sha256 of truth"] for one in lines} == {"0" * 12}
    content = json.loads((tmp_path / "both.json").read_text())
    assert [one["seed"] for one in content["runs"]] == [3, 5]
    first = content["means"][0]
    assert (first["name"], first["protocol"]) == ("a | way", "strict")
    assert first["scores"]["c_miou"] == {"mean": 0.75, "deviation": pytest.approx(math.sqrt(0.125))}
    assert {one["protocol"] for one in content["means"]} == {"strict", "paper"}
    assert "NaN" not in (tmp_path / "both.json").read_text()


def test_a_terminal_of_80_columns_shows_runs_as_a_table() -> None:
    half = LEFT.copy()
    half[2:] = False
    lines = shown(ComparedRuns({3: comparison(LEFT, PAPER), 5: comparison(half, PAPER)}))
    assert max(map(len, lines)) <= 80
    place = next(i for i, line in enumerate(lines) if line.split()[:3] == ["a", "|", "way"])
    assert lines[place].split()[7] == "75.0"
    assert lines[place + 1].split()[4] == "±35.4"
    assert lines[place + 1].index("±35.4") + 5 == lines[place].index("75.0", 60 - 20) + 4
    assert lines[place + 2].split() == ["paper,", "PartImageNet", "-", "-", "58.0", "-", "48.0", *"---"]


def test_published_rows_stand_below_ours() -> None:
    compared = comparison(LEFT, PAPER)
    found = compared.tables()
    text = found.markdown().splitlines()
    place = next(i for i, line in enumerate(text) if line.startswith("| a "))
    assert text[place + 1] == "| *paper, PartImageNet* | - | - | 58.0 | - | 48.0 | - | - | - |"
    assert text[place + 2] == "| *paper, Pascal Part* | - | - | - | - | - | - | 52.4 | - |"
    assert text[place + 3].startswith("| another | 100.0 |")
    note = next(line for line in text if line.startswith("Published rows"))
    assert "its table 2; its table 3" in note
    assert "whether the background counts" in note
    assert "Published" not in comparison(LEFT).tables().markdown()
    printed = shown(compared)
    assert max(map(len, printed)) <= 80
    assert sum(line.startswith("  paper, ") for line in printed) == 4
    lines = [one for one in csv.DictReader(io.StringIO(found.csv())) if one["published"]]
    assert [(one["name"], one["published"], one["source"], one["score"], one["value"]) for one in lines] == [
        ("a | way", "paper, PartImageNet", "its table 2", "AR@200", "0.58"),
        ("a | way", "paper, PartImageNet", "its table 2", "c_miou", "0.4805"),
        ("a | way", "paper, Pascal Part", "its table 3", "nmi", "0.524"),
    ]
    ours = [one for one in csv.DictReader(io.StringIO(found.csv())) if not one["published"]]
    assert {(one["sha256 of truth"], one["sha256 of model"], one["sha256 of config"]) for one in ours} == {
        ("0" * 12, "1" * 12, "2" * 12)
    }
    rows = json.loads(found.json())["rows"]
    assert rows[0]["published"][1] == {
        "label": "paper, Pascal Part", "source": "its table 3", "scores": {"nmi": 0.524},
    }  # fmt: skip
    assert rows[1]["published"] == []
