"""The writer of score tables: the same values as Markdown, for a terminal, as CSV and as JSON."""

import csv
import io
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from partdistillation.evaluation.tables import (
    Aside,
    Grid,
    Record,
    ScoreTables,
    by,
    cell,
    decimals,
    fraction,
    percent,
    plain,
    spread,
)

HOSTILE = "a|b\nc\t d"
RECORDS: list[Record] = [
    {"name": HOSTILE, "seed": 0, "score": "iou", "value": 0.1 + 0.2, "low": 0.25, "high": math.nan},
    {"name": HOSTILE, "seed": 1, "score": "iou", "value": -1e-9},
    {"name": 'with "quotes", commas', "seed": 0, "score": "iou", "value": math.nan},
    {"name": "two\r\nlines", "seed": 0, "score": "ap", "value": None, "low": 1e-300, "high": 1.0},
]


def test_cells_are_escaped() -> None:
    grid = Grid(("", "x|y"), {"": [(HOSTILE, "1"), (Aside("the|paper"), "")]})
    assert grid.markdown().splitlines() == [
        "| | x\\|y |",
        "| --- | ---: |",
        "| a\\|b c d | 1 |",
        "| *the\\|paper* | |",
    ]


def test_sections_are_tables_under_titles() -> None:
    grid = Grid(("a", "b"), {"one": [("1", "2")], "two": [("3", "4")]}, text_columns=())
    rule = "| a | b |\n| ---: | ---: |\n"
    assert grid.markdown() == f"one\n\n{rule}| 1 | 2 |\n\ntwo\n\n{rule}| 3 | 4 |"


def test_numbers_have_no_negative_zero() -> None:
    assert [percent(value) for value in (-1e-9, 0.0, 0.4567, math.nan)] == ["0.0", "0.0", "45.7", "-"]
    assert [decimals(2)(value) for value in (-0.004, 1.005, -3.0, math.nan)] == ["0.00", "1.00", "-3.00", "-"]
    assert fraction(58.1) == 0.581


def test_a_cell_is_a_value_an_interval_or_a_mean() -> None:
    values: list[Record] = [
        {"score": "iou", "seed": seed, "value": value, "low": 0.25, "high": 0.75}
        for seed, value in enumerate((0.5, 0.25))
    ]
    assert cell(values, score="iou", seed=0) == "50.0"
    assert cell(values, interval=True, score="iou", seed=0) == "50.0 [25.0, 75.0]"
    assert cell(values, interval=True, score="iou") == "37.5 ± 17.7"
    assert cell(values, decimals(3), seed=1) == "0.250"
    assert cell(values, score="ap") == "-"
    undefined: list[Record] = [*values, {"score": "iou", "value": math.nan}]
    assert cell(undefined, score="iou") == "-"
    assert cell(RECORDS, interval=True, seed=1) == "0.0"  # it has no interval
    assert spread([]) is spread([0.5, math.nan]) is None
    assert spread([0.5]) == (0.5, None)


def test_records_are_gathered_in_their_order() -> None:
    groups = by(RECORDS, "score", "nowhere")
    assert list(groups) == [("iou", None), ("ap", None)]
    assert [record["seed"] for record in groups["iou", None]] == [0, 1, 0]


def test_csv_can_be_read_again() -> None:
    columns = ("name", "score", "value", "low", "high", "elsewhere")  # without the seed
    text = ScoreTables([], None, RECORDS, columns).csv()
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [line["name"] for line in lines] == [record["name"] for record in RECORDS]
    for line, record in zip(lines, RECORDS, strict=True):
        assert tuple(line) == columns
        for name in ("value", "low", "high"):
            value = record.get(name)
            missing = value is None or math.isnan(float(value))
            assert (line[name] == "") if missing else (float(line[name]) == value)
    assert {line["elsewhere"] for line in lines} == {""}
    assert "\n" in text
    assert not text.startswith("name,seed")


def test_csv_has_no_formulas() -> None:
    """What spreadsheets compute when they open a file; numbers stay numbers."""
    formulas = (
        "=1+1",
        "+1+1",
        "-1+1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\uff1d1",
        "=cmd|' /C calc'!A0",
        "-",
        "-a",
    )
    others = ("a=b", "a\r=1", "'=1", "-0.5", "+1", "-1e-3", "", "a-b", "[bold]")
    records: list[Record] = [{"name": name, "value": -0.5, "low": -3} for name in (*formulas, *others)]
    text = ScoreTables([], None, records, ("name", "value", "low")).csv()
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [line["name"] for line in lines] == [*(f"'{name}" for name in formulas), *others]
    assert {(line["value"], line["low"]) for line in lines} == {("-0.5", "-3")}


def test_json_has_none_for_nan_and_no_other_types() -> None:
    content = {"a": [math.nan, (1, 0.1 + 0.2)], 3: {"é": True}}
    tables = ScoreTables([], plain(content))
    assert json.loads(tables.json()) == {"a": [None, [1, 0.1 + 0.2]], "3": {"é": True}}
    assert "é" in tables.json()
    assert ScoreTables([], {"a": math.nan}, indent=1).json() == '{\n "a": null\n}\n'
    with pytest.raises(TypeError, match="expected plain values, found set"):
        plain([{1}])


def test_a_terminal_of_80_columns_shows_everything() -> None:
    label = "a_way_to_parts_whose_name_is_as_long_as_this"
    rows = [(label, *["100.0 ± 12.3"] * 8), (Aside("[bold]of a paper[/bold]"), *["-"] * 8)]
    header = ("", "AR@1", "@10", "@200", "AP50", "C-mIoU", "A-mIoU", "NMI", "ARI")
    grid = Grid(header, {"Protocol strict": rows}, label_width=27)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(ScoreTables(["### Title", "What it is.", grid, "In percent."], None).printed())
    text = console.export_text()
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= 80
    assert "…" not in text
    assert text.count("100.0") == text.count("±12.3") == 8
    assert text.count("_") == label.count("_")  # folded, not cut
    assert lines[0] == "Title"
    assert any(line.startswith("  [bold]of a paper[/bold]") for line in lines)
    for wanted in ("What it is.", "Protocol strict", "In percent.", *header):
        assert wanted in text


def test_files_and_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = Grid(("name", "value"), {"": [("a", "1")]})
    tables = ScoreTables(["Head.", grid, "Foot."], {"a": 1}, [{"name": "a", "value": 1}], ("name", "value"))
    tables.save(tmp_path / "new" / "of.scores")
    files = {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    markdown = "Head.\n\n| name | value |\n| --- | ---: |\n| a | 1 |\n\nFoot.\n"
    assert files == {
        "of.scores.md": markdown,
        "of.scores.csv": "name,value\na,1\n",
        "of.scores.json": '{\n  "a": 1\n}\n',
    }
    assert capsys.readouterr().out == markdown
    ScoreTables([grid], {}).write(tmp_path / "without")
    assert sorted(path.name for path in tmp_path.glob("without.*")) == ["without.json", "without.md"]
    assert not capsys.readouterr().out
