"""The numbers at the top of a report: from which files, and what is said of them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from partdistillation.errors import InputError
from partdistillation.report.data import Headline, Score
from partdistillation.report.ways import Way, compared, evaluated, headlines, tables


def scores(c_miou: float | None, low: float = 0.3, high: float = 0.4, protocol: str = "strict") -> Any:
    """An evaluation as JSON has it."""
    intervals = {"c_miou": [low, high], "AR@10": [None, None]}
    recall = {"1": 0.1, "10": 0.2, "200": 0.25}
    values = {"average_recall": recall, "c_miou": c_miou, "a_miou": c_miou, "intervals": intervals}
    return {"protocol": protocol, **values}


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def test_a_comparison_is_read_under_the_strict_protocol(tmp_path: Path) -> None:
    both = [scores(0.5, protocol="paper"), scores(0.35)]
    rows = [
        {"name": "part model", "kind": "result", "protocols": both},
        {"name": "segments", "protocols": [scores(None)]},
    ]
    write(tmp_path / "comparison.json", {"rows": rows})
    write(tmp_path / "table.json", "not looked at")
    model, segments = compared(tmp_path)
    assert (model.name, model.kind, segments.kind) == ("part model", "result", "result")
    assert list(model.scores) == ["AR@1", "AR@10", "AR@200", "C-mIoU", "A-mIoU"]
    assert model.scores["C-mIoU"] == pytest.approx((35.0, 30.0, 40.0))
    assert math.isnan(model.scores["AR@10"].low)
    assert math.isnan(segments.scores["C-mIoU"].value)
    (table,) = tables((model, segments), ())
    assert [row.label for row in table.rows] == ["part model", "segments"]
    write(tmp_path / "comparison.json", {"means": [], "runs": []})  # of several runs
    assert compared(tmp_path) == ()


def test_the_demo_and_an_evaluation_are_read(tmp_path: Path) -> None:
    assert compared(tmp_path) == evaluated(tmp_path) == ()
    write(tmp_path / "table.json", [{"name": "one-stage", "kind": "baseline", "strict": scores(0.3)}])
    assert [(way.name, way.kind) for way in compared(tmp_path)] == [("one-stage", "baseline")]
    write(tmp_path / "evaluation.json", {"protocols": [scores(0.25, protocol="paper"), scores(0.2)]})
    own = evaluated(tmp_path)
    assert [way.name for way in own] == ["protocol paper", "protocol strict"]
    assert headlines((), own) == (
        Headline("Parts of this run", "20.0", "C-mIoU, 30.0 to 40.0; against true parts"),
    )
    assert [table.title for table in tables((), own)] == ["Against ground-truth parts"]


@pytest.mark.parametrize("text", ["[1]", "{", '{"rows": [{}]}', '{"rows": [{"name": "a", "protocols": []}]}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "comparison.json").write_text(text)
    with pytest.raises(InputError, match=r"comparison\.json: expected scores"):
        compared(tmp_path)


def test_headlines_say_what_is_a_tie() -> None:
    def way(name: str, *score: float) -> Way:
        return Way(name, "result", {"C-mIoU": Score(*score)})

    ways = (
        way("supervised", 39.0, 37.0, 41.0),
        way("segments", 99.0),
        way("part model", 32.5, 31.5, 34.7),
        way("one-stage", 29.3, 28.5, 31.8),
        way("whole object as one part", 10.7),
    )
    shown = headlines(ways, ())
    assert [(headline.label, headline.value, headline.verdict) for headline in shown] == [
        ("Part model", "32.5", ""),
        ("One-stage", "29.3", "a tie with the part model"),
        ("Whole object as one part", "10.7", ""),  # its range isn't known
        ("Supervised", "39.0", "above the part model"),
    ]
    assert shown[1].note == "C-mIoU, 28.5 to 31.8; clusters learned at once"
    assert headlines(ways[3:], ()) == ()
