"""The demo at its smallest: everything is there, and running it again changes nothing."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from partdistillation.commands import main as cli
from partdistillation.config import Recipe
from partdistillation.errors import StoreError
from partdistillation.experiments import demo
from partdistillation.experiments.demo import Plan, run
from partdistillation.experiments.demo_tables import Claim, wanted
from partdistillation.recipes import DEMO, seeded
from partdistillation.report.data import Score
from partdistillation.runs.profiling import profiled

pytestmark = pytest.mark.slow

METHODS = [
    ("whole object as one part", "control"),
    ("segments: encoder, 3 + 4", "result"),
    ("segments: encoder, 3", "result"),
    ("segments: encoder, 4", "result"),
    ("segments: random encoder, 3 + 4", "control"),
    ("segments: RGB + xy", "control"),
    ("proposals: overlapping", "result"),
    ("proposals: unique per pixel", "result"),
    ("part model", "result"),
    ("one-stage", "baseline"),
    ("supervised", "baseline"),
]


@pytest.fixture(scope="module")
def plan(tiny_recipe: Recipe) -> Plan:
    return Plan(train=8, val=3, size=64, recipe=tiny_recipe)


@pytest.fixture(scope="module")
def played(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    page = run(out, seed=1, from_scratch=False, device="cpu", workers=1, plan=plan)
    assert page == out / "report" / "index.html"
    return out


def test_every_method_is_measured_under_both_protocols(played: Path) -> None:
    table = json.loads((played / "table.json").read_text())
    assert [(one["name"], one["kind"]) for one in table] == METHODS
    for one in table:
        assert (one["strict"]["images"], one["paper"]["images"]) == (3, 3)
        named = not one["name"].startswith(("segments", "proposals"))
        assert (one["strict"]["c_miou"] is not None) == named


def test_the_table_says_what_holds(played: Path) -> None:
    text = (played / "table.md").read_text()
    assert all(f"| {name}" in text for name, _ in METHODS)
    assert sum(text.count(f": {word} (") for word in ("holds", "a tie", "does not hold")) == 3
    assert "nan" not in text


def test_the_report_shows_validation_images(played: Path) -> None:
    page = (played / "report" / "index.html").read_text()
    for text in (
        "Parts discovered in PartShapes",
        "segments: RGB + xy",
        "baseline: one-stage",
        "Discovered parts",
        "from 3 drawings",
    ):
        assert text in page, text
    assert len(list((played / "report" / "images").glob("*.webp"))) >= 3 * 5  # image, objects, ..., parts


FIGURES = Path(__file__).parents[2] / "docs" / "figures.md"


def test_commands_of_the_page_on_figures_run(
    played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = FIGURES.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("partdistill ") and "out/demo" in line]
    assert len(lines) == 5
    shutil.copytree(played, tmp_path / "out/demo")
    monkeypatch.chdir(tmp_path)
    for line in lines:
        assert cli.main(shlex.split(line)[1:]) == 0, line
    assert {path.name for path in tmp_path.glob("*.*")} == {
        "stages.pdf", "stages.png", "grouping.pdf", "predictions.pdf"
    }  # fmt: skip
    assert (tmp_path / "out/demo/collages/summary.json").is_file()


def test_running_it_again_changes_nothing(played: Path, plan: Plan) -> None:
    files = {path: path.read_bytes() for path in played.rglob("*") if path.is_file()}
    run(played, seed=1, from_scratch=False, device="cpu", workers=1, plan=plan)
    assert {path: path.read_bytes() for path in played.rglob("*") if path.is_file()} == files


def test_splits_and_seeds_are_different_drawings(tmp_path: Path, plan: Plan) -> None:
    pictures = set()
    for seed in (0, 1):
        demo.draw(plan, tmp_path / str(seed), seed)
        pictures |= {path.read_bytes() for path in (tmp_path / str(seed)).rglob("*.png")}
    assert len(pictures) == 2 * (plan.train + plan.val)


def test_the_seed_is_in_every_stage() -> None:
    recipe = seeded(DEMO, 3)
    stages = (recipe.pretrain, recipe.segments, recipe.proposals, recipe.ranking, recipe.distillation)
    assert [stage.seed for stage in stages] == [3] * 5
    assert recipe.pretrain.warmup.seed == 3


def logged(metrics: Path) -> set[str]:
    return {json.loads(line)["stage"] for line in metrics.read_text().splitlines()}


def test_baselines_are_trained_beside_the_method(plan: Plan, played: Path, tmp_path: Path) -> None:
    with profiled() as profile:
        run(tmp_path, seed=1, from_scratch=False, device="cpu", workers=2, plan=plan)
    assert logged(tmp_path / "metrics.jsonl") == {"proposals", "distillation"}  # two writers would lose lines
    for name in ("one_stage", "supervised"):
        assert logged(tmp_path / "baselines" / name / "metrics.jsonl") == {name}
        assert profile.costs[name,].calls  # though it was another process that trained it
    assert [one["name"] for one in json.loads((tmp_path / "table.json").read_text())] == [
        name for name, _ in METHODS
    ]
    assert "supervised: 2/2 steps" in (tmp_path / "baselines" / "progress.log").read_text()


def test_a_baseline_that_fails_beside_says_why(plan: Plan, played: Path, tmp_path: Path) -> None:
    shutil.copytree(played, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "baselines")
    (tmp_path / "out" / "baselines").write_text("in the way")
    with pytest.raises(StoreError, match="baselines: File exists"):
        run(tmp_path / "out", seed=1, from_scratch=False, device="cpu", workers=2, plan=plan)


def test_claims_hold_or_do_not_or_images_do_not_tell() -> None:
    claim = Claim("a beats b by 5", Score(33.0, 32.0, 34.0), Score(25.0, 24.0, 26.0), margin=5.0, of="b")
    assert str(claim) == "a beats b by 5: holds (33.0 against 25.0 of b)"
    tie = claim._replace(ours=Score(32.0, 30.9, 33.1))
    assert str(tie) == "a beats b by 5: a tie (32.0 against 25.0 of b)"
    less = claim._replace(ours=Score(27.0, 26.0, 28.0))
    assert str(less) == "a beats b by 5: does not hold (27.0 against 25.0 of b)"
    assert [row.values[2] for row in wanted([claim, tie, less]).rows] == ["yes", "tie", "no"]


def test_stage_0_learns_from_drawings_of_its_own(plan: Plan, tmp_path: Path) -> None:
    warmup = {"steps": 1, "batch_size": 2, "image_size": 32, "min_side": 1}
    network = {"backbone": "small", "hidden_dim": 32, "pixel_decoder_layers": 1, "decoder_layers": 1}
    few = {"num_queries": 4, "steps": 1, "batch_size": 2, "image_size": 64, "points": 16, "warmup": warmup}
    recipe = plan.recipe.updated({"pretrain": {**network, **few}})
    folder = demo.pretrain(replace(plan, pretrain=6), recipe, tmp_path, seed=0, device="cpu")
    assert (folder / "model.safetensors").exists()
    demo.draw(plan, tmp_path / "data", seed=0)
    own, others = (
        {path.read_bytes() for path in (tmp_path / place).rglob("*.png")} for place in ("stage0", "data")
    )
    assert len(own) == 6
    assert not own & others
