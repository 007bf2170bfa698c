"""The main comparison: every method, on the same held-out images."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from partdistillation.config import Inputs, Recipe
from partdistillation.errors import ConfigError
from partdistillation.experiments.compare import compare
from partdistillation.experiments.runs import Run


@pytest.fixture
def inputs(drawings: Path, tmp_path: Path) -> Inputs:
    return Inputs(
        out=tmp_path,
        images=drawings / "train",
        objects=drawings / "objects_train.json",
        parts=drawings / "parts_train.json",
        val_images=drawings / "val",
        val_objects=drawings / "objects_val.json",
        val_parts=drawings / "parts_val.json",
    )


def test_every_method_is_a_row(
    inputs: Inputs, tiny_recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    compare([Run(0, inputs, tiny_recipe)])
    rows = json.loads((inputs.out / "comparison.json").read_text())["rows"]
    assert [row["name"] for row in rows][6:] == [
        "proposals: overlapping", "proposals: unique per pixel", "part model", "part model: clustered",
        "one-stage", "one-stage: clustered", "supervised", "supervised: clustered",
        "supervised-agnostic: overlapping", "supervised-agnostic: clustered",
    ]  # fmt: skip
    assert {row["protocols"][0]["images"] for row in rows} == {4}
    assert (inputs.out / "comparison.md").read_text() in capsys.readouterr().out


def test_held_out_images_are_needed_first(inputs: Inputs, tiny_recipe: Recipe) -> None:
    lacking = replace(inputs, val_parts=None)
    with pytest.raises(ConfigError, match="--val-parts is missing"):
        compare([Run(0, lacking, tiny_recipe)])
    assert not list(inputs.out.iterdir())
