"""Few-shot training: shares of the labels, the models that learned from them, and how they compare."""

import csv
import io
import json
import math
import shutil
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from partdistillation import config, pipeline
from partdistillation.config import Inputs, Recipe
from partdistillation.errors import CheckpointError, ConfigError, InputError
from partdistillation.experiments import few_shot
from partdistillation.experiments.runs import Run
from partdistillation.recipes import PAPER, seeded
from partdistillation.runs.records import PartRow
from partdistillation.runs.stage_reader import contents_hash, read_rows

pytestmark = pytest.mark.slow

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
    few = replace(tiny_recipe.finetune, percents=(25, 100), steps=1)
    return replace(tiny_recipe, finetune=few)


def runs(inputs: Inputs, recipe: Recipe, seeds: tuple[int, ...] = (0,)) -> list[Run]:
    return [
        Run(seed, replace(inputs, out=inputs.out / f"seed-{seed}"), seeded(recipe, seed)) for seed in seeds
    ]


@pytest.fixture(scope="module")
def learned(inputs: Inputs, recipe: Recipe) -> Path:
    """Two models on one seed: that of stage 0, and a copy of it in the run's folder."""
    (run,) = runs(inputs, recipe)
    shutil.copytree(recipe.encoder, run.inputs.out / "mine")
    few_shot.few_shot([run], inputs.out, ("run:mine", recipe.encoder))
    return inputs.out / "seed-0"


def test_every_model_learns_every_share(learned: Path) -> None:
    folder = learned / "few_shot"
    models = {str(one.parent.relative_to(folder)) for one in folder.glob("*/*/part_model/model.safetensors")}
    assert models == {f"{name}/{share}/part_model" for name in ("mine", "model") for share in (25, 100)}
    labelled = [
        {
            row.image_id
            for row in read_rows(folder / "labels" / share, PartRow)
            if any(found.parts for found in row.objects)
        }
        for share in ("25", "100")
    ]
    assert labelled[0] < labelled[1]
    assert list(map(len, labelled)) == [3, 12]
    assert not (learned.parent / "few_shot.md").exists()  # one run has no means


def test_a_table_says_what_was_learned_from(learned: Path, recipe: Recipe) -> None:
    content = json.loads((learned / "few_shot.json").read_text())
    (run,) = content["runs"]
    assert run["starts"] == {"mine": "run:mine", "model": recipe.encoder}
    start = contents_hash(Path(recipe.encoder))
    assert run["provenance"]["made_from"] == {"mine": start, "model": start}
    rows = run["rows"]
    assert [(row["start"], row["percent"], row["images"]) for row in rows] == [
        ("mine", 25, 3), ("mine", 100, 12), ("model", 25, 3), ("model", 100, 12),
    ]  # fmt: skip
    model = learned / "few_shot" / "mine" / "25" / "part_model"
    assert rows[0]["sha256"] == contents_hash(model)
    names = json.loads((model / "config.json").read_text())["partdistillation"]["class_names"]
    assert rows[0]["categories"] == names
    held_out = {one["category"] for one in rows[0]["parts"][0]["categories"]}
    assert (rows[0]["known_classes"], rows[0]["classes"]) == (len(held_out & {*names}), len(held_out))
    assert len(names) < len(rows[1]["categories"])
    assert rows[0]["proposals"] == rows[2]["proposals"]  # the same weights, by another name
    text = (learned / "few_shot.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| mine | 25 %"))
    assert line.split(" | ")[2:4] == ["3", f"{rows[0]['known_classes']} of {len(held_out)}"]
    recall, interval = rows[0]["proposals"][0]["average_recall"]["200"], rows[0]["proposals"][0]["intervals"]
    low, high = interval["AR@200"]
    assert line.split(" | ")[5] == f"{100 * recall:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    assert text.count("Protocol ") == 2
    assert "| 5 % | 19.1 | 63.2 |" in text
    assert start[:12] in text


def test_a_csv_holds_every_score_of_both_ways(learned: Path) -> None:
    lines = list(csv.DictReader(io.StringIO((learned / "few_shot.csv").read_text())))
    assert {one["seed"] for one in lines} == {"0"}
    assert {(one["way"], one["protocol"]) for one in lines} == {
        (way, protocol) for way in ("proposals", "parts") for protocol in ("strict", "paper")
    }
    assert {len(one["start_sha256"]) for one in lines} == {64}
    content = json.loads((learned / "few_shot.json").read_text())
    strict = content["runs"][0]["rows"][3]["parts"][0]
    (miou,) = (
        one
        for one in lines
        if (one["seed"], one["start"], one["percent"], one["way"], one["protocol"], one["score"])
        == ("0", "model", "100", "parts", "strict", "c_miou")
    )
    assert float(miou["value"]) == strict["c_miou"]
    assert (miou["images"], miou["held_out_images"]) == ("12", "4")


def test_a_run_remembers_its_inputs_and_settings(learned: Path, inputs: Inputs, recipe: Recipe) -> None:
    (run,) = runs(inputs, recipe)
    assert config.from_yaml(learned / "config.yaml", Inputs(out=learned), PAPER) == (run.inputs, run.recipe)


def test_what_is_there_is_not_made_again(learned: Path, inputs: Inputs, recipe: Recipe) -> None:
    before = {path: path.read_bytes() for path in learned.rglob("*") if path.is_file()}
    few_shot.few_shot(runs(inputs, recipe), inputs.out, ("run:mine", recipe.encoder))
    assert {path: path.read_bytes() for path in learned.rglob("*") if path.is_file()} == before


def test_seeds_are_means_and_deviations_and_part_models_are_made_where_they_are_not_there(
    inputs: Inputs, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Inputs, Recipe]] = []

    def run(inputs: Inputs, recipe: Recipe) -> Path:
        asked.append((inputs, recipe))
        return Path(shutil.copytree(recipe.encoder, inputs.out / "part_model"))

    monkeypatch.setattr(pipeline, "run", run)
    one = replace(recipe, finetune=replace(recipe.finetune, percents=(50,)))
    both = runs(replace(inputs, out=tmp_path), one, (0, 1))
    few_shot.few_shot(both, tmp_path)
    assert asked == [(its.inputs, its.recipe) for its in both]
    content = json.loads((tmp_path / "few_shot.json").read_text())
    assert [run["seed"] for run in content["runs"]] == [0, 1]
    recall = [run["rows"][0]["proposals"][0]["average_recall"]["10"] for run in content["runs"]]
    text = (tmp_path / "few_shot.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| part_model | 50 %"))
    mean, spread = 100 * statistics.mean(recall), 100 * abs(recall[0] - recall[1]) / math.sqrt(2)
    assert line.split(" | ")[4] == f"{mean:.1f} ± {spread:.1f}"
    assert "of 2 seeds" in text
    for folder in (tmp_path, tmp_path / "seed-0", tmp_path / "seed-1"):
        with Image.open(folder / "few_shot.png") as plot:
            assert plot.width > 1.5 * plot.height > 1000
    few_shot.few_shot(both, tmp_path)
    assert len(asked) == 2  # they are there now


def test_steps_follow_from_the_share(recipe: Recipe) -> None:
    settings = replace(recipe.finetune, steps=0, steps_per_percent=1_000)
    assert [settings.for_percent(percent).steps for percent in (1, 50)] == [1_000, 50_000]
    assert settings.for_percent(5).percents == (5,)
    for wrong in ((5, 1), (0, 1), (101,), ()):
        with pytest.raises(ConfigError, match=r"finetune.percents: expected percents .* in rising order"):
            replace(settings, percents=wrong)


# ---------------------------------------------------------------------- what can't be used


def test_missing_labels_are_named_before_anything_is_made(
    inputs: Inputs, recipe: Recipe, tmp_path: Path
) -> None:
    elsewhere = replace(inputs, out=tmp_path)
    for lacking in (replace(elsewhere, parts=None), replace(elsewhere, val_parts=None)):
        with pytest.raises(ConfigError, match="parts is missing"):
            few_shot.few_shot(runs(lacking, recipe), tmp_path, (recipe.encoder,))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["parts", "val_parts"])
def test_a_data_set_without_parts_is_named(inputs: Inputs, recipe: Recipe, tmp_path: Path, name: str) -> None:
    path: Path = getattr(inputs, name)
    empty, out = tmp_path / "empty.json", tmp_path / "out"
    empty.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    with pytest.raises(InputError, match=r"empty\.json: .* 0 parts|empty\.json: the split is empty"):
        few_shot.few_shot(runs(replace(inputs, out=out).updated({name: str(empty)}), recipe), out)
    assert not out.exists()


def test_a_model_that_does_not_load_is_named_before_any_is_trained(
    inputs: Inputs, recipe: Recipe, tmp_path: Path
) -> None:
    broken, out = Path(shutil.copytree(recipe.encoder, tmp_path / "broken")), tmp_path / "out"
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    for wrong, message in (
        (str(broken), "model.safetensors: the weights can't be read"),
        ("run:baselines/one_stage/part_model", "part_model: expected a model directory"),
        ("builtin:no-such-thing", "expected one of builtin:part-shapes"),
        (str(tmp_path / "nowhere" / "model"), "expected a model directory"),
    ):
        with pytest.raises(CheckpointError, match=message):
            few_shot.few_shot(runs(inputs, recipe, (5,)), out, (recipe.encoder, wrong))
    assert not out.exists()
    assert not (inputs.out / "seed-5").exists()


def test_parts_of_no_object_are_named_before_any_training(
    inputs: Inputs, recipe: Recipe, tmp_path: Path
) -> None:
    """Objects of all classes but one, and parts of that one."""
    objects, parts = (json.loads(inputs.need(name).read_text()) for name in ("objects", "parts"))
    left = parts["categories"][0]["supercategory"]
    own = {one["id"] for one in parts["categories"] if one["supercategory"] == left}
    others = {one["id"] for one in objects["categories"] if one["name"] != left}
    for content, kept, name in ((objects, others, "objects.json"), (parts, own, "parts.json")):
        content["annotations"] = [one for one in content["annotations"] if one["category_id"] in kept]
        (tmp_path / name).write_text(json.dumps(content))
    apart = replace(inputs, out=tmp_path, objects=tmp_path / "objects.json", parts=tmp_path / "parts.json")
    with pytest.raises(InputError, match=r"parts\.json: expected parts of the objects of .*, found none"):
        few_shot.few_shot(runs(apart, recipe), tmp_path, (recipe.encoder,))
    assert not list(tmp_path.rglob("part_model"))


def test_a_share_without_a_part_large_enough_is_named(inputs: Inputs, recipe: Recipe, tmp_path: Path) -> None:
    picky = replace(recipe, finetune=replace(recipe.finetune, min_mask_area=1.0))
    with pytest.raises(InputError, match=r"25 % of the labelled images \(3\), found none .* large enough"):
        few_shot.few_shot(runs(replace(inputs, out=tmp_path), picky), tmp_path, (recipe.encoder,))
    assert not list(tmp_path.rglob("part_model"))
