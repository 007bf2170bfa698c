"""What the report says of a run, its losses among it."""

from pathlib import Path

import pytest

from partdistillation.config import RankingConfig, Recipe
from partdistillation.errors import InputError
from partdistillation.pictures.curves import Curve
from partdistillation.report.run import facts, loss_charts, read_curves


def test_the_number_of_part_classes_is_said() -> None:
    recipes = [Recipe(), Recipe(ranking=RankingConfig(num_parts=12, part_count="stability"))]
    assert [dict(facts(recipe))["Part classes"] for recipe in recipes] == [
        "K = 8 an object class",
        "as many as are stable, at most 12 an object class",
    ]


def test_read_curves(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"stage": "a", "step": 1, "mask": 3.5}\n{"stage": "a", "step": 2, "mask": 3, "note": "x"}\n'
        '{"stage": "a", "mask": 1}\n{"stage": "b", "step": 1, "mask": 9}\n{"stage": "a", "step": 3, "ma'
    )
    assert read_curves(path, "a") == (Curve("mask", ((1.0, 3.5), (2.0, 3.0))),)
    path.write_text('{"step": 1}\n[1]\n{"step": 2}\n')
    with pytest.raises(InputError, match="line 2"):
        read_curves(path, "a")


def test_every_training_has_a_chart(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"stage": "proposals", "step": 1, "mask": 2}\n{"stage": "distillation", "step": 1, "dice": 3}\n'
    )
    baseline = tmp_path / "baselines" / "supervised"
    baseline.mkdir(parents=True)
    (baseline / "metrics.jsonl").write_text('{"stage": "supervised", "step": 1, "classification": 4}\n')
    assert [(chart.title, chart.curves) for chart in loss_charts(tmp_path)] == [
        ("stage 3: proposals", (Curve("mask", ((1.0, 2.0),)),)),
        ("stage 5: parts", (Curve("dice", ((1.0, 3.0),)),)),
        ("baseline: supervised", (Curve("classification", ((1.0, 4.0),)),)),
    ]
