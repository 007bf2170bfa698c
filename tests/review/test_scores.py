"""`partdistill review-scores` from verdicts on disk to tables and curves."""

import csv
import json
from pathlib import Path

import pytest

from partdistillation.commands import main as cli
from partdistillation.errors import ConfigError, InputError
from partdistillation.review import scores as review_scores
from partdistillation.runs.part_table import ClassParts, PartTable, read_part_table, write_part_table
from partdistillation.runs.verdicts import Verdict, write_verdicts


def verdicts(run: str, marked: int, reviewer: str = "ann") -> list[Verdict]:
    """Of three object classes, two parts each: one with `marked` images alike, one with none."""
    return [
        Verdict(
            reviewer,
            run,
            category,
            part,
            tuple(place < marked * (1 - part) for place in range(9)),
            None,
            None,
            "",
            "judged",
        )
        for category in ("car", "cow", "dog")
        for part in range(2)
    ]


def write(folder: Path, given: list[Verdict]) -> Path:
    (folder / "review").mkdir(parents=True)
    write_verdicts(folder / "review" / "verdicts.jsonl", given)
    return folder


def test_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = write(tmp_path / "out", verdicts("ours", 5))
    (tmp_path / "animals.txt").write_text("cow\ndog\nhen\n")
    assert cli.main(["review-scores", str(out), "--groups", f"animals={tmp_path / 'animals.txt'}"]) == 0
    folder = out / "review"
    table = (folder / "scores.md").read_text()
    assert capsys.readouterr().out.startswith(table)
    # 5 of 9 images: precision is one half at k = 3, 4, 5 and nothing beyond, in every replicate.
    assert "| all | ours | 3 | 6 | 21.4 [21.4, 21.4] | 14.3 [14.3, 14.3] | 50.0 [50.0, 50.0] |" in table
    assert "| animals | ours | 50.0 | 50.0 | 50.0 | 0.0 | 0.0 | 0.0 | 0.0 |" in table
    document = json.loads((folder / "scores.json").read_text())
    expected = {"k": [3, 4, 5, 6, 7, 8, 9], "value": [0.5, 0.5, 0.5, 0, 0, 0, 0]}
    assert document["curves"] == {"all": expected, "animals": expected}
    assert document["scores"][0]["estimates"]["alpha"] == {"value": None, "low": None, "high": None}
    rows = csv.DictReader((folder / "scores.csv").read_text().splitlines())
    (auc,) = [row for row in rows if row["group"] == "animals" and row["score"] == "auc"]
    assert float(auc["value"]) == pytest.approx(1.5 / 7)
    assert {path.name for path in folder.glob("*.png")} == {"precision.png", "diversity.png"}


def test_two_runs(tmp_path: Path) -> None:
    ours = write(tmp_path / "ours", verdicts("ours", 9))
    other = write(tmp_path / "other", [one for one in verdicts("_$x", 3) if one.category != "dog"])
    (tmp_path / "cows.txt").write_text("cow\n")
    (tmp_path / "none.txt").write_text("hen\n")
    groups = [f"cows={tmp_path / 'cows.txt'}", f"none={tmp_path / 'none.txt'}"]
    found = review_scores.run([ours, other], groups, out=tmp_path / "scores")
    assert [one.classes for one in found.scores] == [2, 2, 1, 1, 0, 0]
    table = (tmp_path / "scores" / "scores.md").read_text()
    assert "| all | _$x - ours | -42.9 [-42.9, -42.9] |" in table
    assert "1 object classes of ours" in table
    names = {path.name for path in (tmp_path / "scores").glob("*.png")}
    assert names == {"precision.png", "precision_cows.png", "diversity.png", "diversity_cows.png"}
    curves = json.loads((tmp_path / "scores" / "scores.json").read_text())["strict_curves"]
    assert curves["ours, cows"]["value"] == [0.5] * 6 + [0]
    assert set(curves) == {"ours, all", "ours, cows", "_$x, all", "_$x, cows"}


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("cows", "expected NAME=FILE"),
        ("a/b=cows.txt", "expected NAME=FILE"),
        ("all=cows.txt", "'all' again"),
    ],
)
def test_groups_that_cant_be_used(tmp_path: Path, group: str, message: str) -> None:
    out = write(tmp_path / "out", verdicts("ours", 5))
    with pytest.raises(ConfigError, match=message):
        review_scores.run([out], [group])


def test_verdicts_that_cant_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"review/verdicts.jsonl in it; found neither"):
        review_scores.run([tmp_path], [])
    out = write(tmp_path / "out", verdicts("ours", 5))
    copy = write(tmp_path / "copy", verdicts("ours", 5)[:1])
    with pytest.raises(InputError, match=r"both have 'ann' on part 0 of 'car' \(ours\)"):
        review_scores.run([out, copy], [])


@pytest.mark.parametrize("command", ["review-scores", "part-table"])
def test_an_empty_file_of_verdicts_is_said_to_be_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    out = write(tmp_path / "out", [])
    assert cli.main([command, str(out)]) == 2
    assert "verdicts.jsonl: expected verdicts, found none: nobody has answered" in capsys.readouterr().err


def test_a_part_table_from_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = verdicts("ours", 5)
    out = write(tmp_path / "out", [said[0]._replace(name="wheel"), said[1]._replace(merged_into=0)])
    assert cli.main(["part-table", str(out)]) == 0
    path = out / "review/part_table.json"
    assert capsys.readouterr().out == (
        f"1 part classes are named, 1 joined with another, 0 rejected\nLook into {path}\n"
    )
    table = PartTable({"car": ClassParts({0: "wheel"}, {1: 0})})
    assert read_part_table(path) == table
    assert cli.main(["part-table", str(out)]) == 0
    edited = PartTable({"car": ClassParts({0: "tyre"})})
    write_part_table(path, edited)
    assert cli.main(["part-table", str(out)]) == 2
    assert "says something else, maybe by hand" in capsys.readouterr().err
    assert read_part_table(path) == edited
    assert cli.main(["part-table", str(out), "--out", str(tmp_path / "mine.json"), "--run", "ours"]) == 0
    assert read_part_table(tmp_path / "mine.json") == table
    assert cli.main(["part-table", str(out), "--run", "other"]) == 2
    assert "with verdicts (ours), found 'other'" in capsys.readouterr().err
