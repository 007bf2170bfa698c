"""Few-shot training: shares of the labels, and the models that learned from them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from partdistillation.config import Inputs, Recipe
from partdistillation.errors import ConfigError
from partdistillation.experiments import few_shot
from partdistillation.records import PartRow
from partdistillation.store import read_rows

IDS = st.lists(st.text(min_size=1, max_size=3), unique=True, min_size=1, max_size=60)


@given(IDS, st.integers(1, 100), st.integers(1, 100), st.integers(0, 3))
def test_shares_hold_the_smaller_ones(image_ids: list[str], one: int, other: int, seed: int) -> None:
    small, large = (few_shot.chosen(image_ids, percent, seed) for percent in sorted((one, other)))
    assert small <= large
    assert len(large) == max(1, -(-max(one, other) * len(image_ids) // 100))
    assert few_shot.chosen(image_ids[::-1], one, seed) == few_shot.chosen(image_ids, one, seed)


def test_shares_differ_with_the_seed_and_are_exact() -> None:
    image_ids = [str(number) for number in range(1000)]
    tenth = few_shot.chosen(image_ids, 10, 0)
    assert len(tenth) == 100
    assert len(tenth & few_shot.chosen(image_ids, 10, 1)) < 30  # 10 by chance
    assert few_shot.chosen(image_ids, 100, 0) == frozenset(image_ids)


@pytest.fixture(scope="module")
def inputs(drawings: Path, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs(
        out=tmp_path_factory.mktemp("few_shot"),
        images=drawings / "train",
        objects=drawings / "objects_train.json",
        parts=drawings / "parts_train.json",
        val_images=drawings / "val",
        val_objects=drawings / "objects_val.json",
        val_parts=drawings / "parts_val.json",
    )


@pytest.fixture(scope="module")
def recipe(tiny_recipe: Recipe) -> Recipe:
    few = replace(tiny_recipe.finetune, percents=(25, 100))
    return replace(tiny_recipe, finetune=few)


def test_models_learn_from_their_share_and_are_scored(inputs: Inputs, recipe: Recipe) -> None:
    points = few_shot.run(Path(recipe.encoder), inputs, recipe)
    assert [(point.percent, point.images) for point in points] == [(25, 3), (100, 12)]
    folder = inputs.out / "few_shot"
    labelled = [
        {
            row.image_id
            for row in read_rows(folder / share / "parts", PartRow)
            if any(o.parts for o in row.objects)
        }
        for share in ("25", "100")
    ]
    assert labelled[0] < labelled[1]
    assert all((folder / share / "part_model" / "model.safetensors").is_file() for share in ("25", "100"))
    rows = json.loads((inputs.out / "few_shot.json").read_text())["rows"]
    assert [row["name"] for row in rows] == [
        f"{percent} %, {way}" for percent in (25, 100) for way in ("proposals: overlapping", "parts")
    ]
    assert all(one["images"] == 4 for row in rows for one in row["protocols"][:1])
    with Image.open(inputs.out / "few_shot.png") as plot:
        assert min(plot.size) > 500
    again = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    few_shot.run(Path(recipe.encoder), inputs, recipe)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == again


def test_steps_follow_from_the_share(recipe: Recipe) -> None:
    settings = replace(recipe.finetune, steps=0, steps_per_percent=1_000)
    assert [settings.for_percent(percent).steps for percent in (1, 50)] == [1_000, 50_000]
    assert settings.for_percent(5).percents == (5,)
    with pytest.raises(ConfigError, match=r"finetune.percents: expected percents .* in rising order"):
        replace(settings, percents=(5, 1))


def test_missing_labels_are_named_before_anything_is_trained(
    inputs: Inputs, recipe: Recipe, tmp_path: Path
) -> None:
    elsewhere = replace(inputs, out=tmp_path)
    for lacking in (replace(elsewhere, parts=None), replace(elsewhere, val_parts=None)):
        with pytest.raises(ConfigError, match="parts is missing"):
            few_shot.run(Path(recipe.encoder), lacking, recipe)
    assert not list(tmp_path.iterdir())
