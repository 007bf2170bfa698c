"""What stages get: inputs and settings from flags, files, recipes and what a run remembers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from partdistillation.commands import main as cli
from partdistillation.config import Inputs, Recipe
from partdistillation.recipes import DEMO, RELEASED_1K, SMALL
from partdistillation.runs.run_folder import save_settings

Calls = list[tuple[tuple[Any, ...], dict[str, Any]]]
STAGES = ["run", "pretrain", "objects", "segments", "proposals", "rank", "distill", "report"]


@pytest.fixture
def run(stub: Callable[[str, str], Calls], tmp_path: Path) -> Callable[..., tuple[Inputs, Recipe]]:
    """What `partdistill run --out TMP ...` hands over."""

    def hand_over(*args: str) -> tuple[Inputs, Recipe]:
        calls = stub("pipeline", "run")
        stub("experiments.estimate", "announce")
        assert cli.main(["run", "--out", str(tmp_path), *args]) == 0
        ((inputs, recipe), _) = calls[0]
        return inputs, recipe

    return hand_over


@pytest.mark.parametrize("command", STAGES)
def test_a_stage_gets_inputs_and_recipe(
    command: str, stub: Callable[[str, str], Calls], tmp_path: Path
) -> None:
    calls = stub("pipeline", command)
    stub("report.objects_found", "show_objects")
    stub("experiments.estimate", "announce")
    assert cli.main([command, "--out", str(tmp_path), "--images", "photos", "--recipe", "demo"]) == 0
    assert calls == [((Inputs(out=tmp_path, images=Path("photos")), DEMO), {})]


def test_objects_are_shown(stub: Callable[[str, str], Calls], tmp_path: Path) -> None:
    calls = stub("report.objects_found", "show_objects")
    stub("pipeline", "objects")
    save_settings(Inputs(out=tmp_path, images=tmp_path), DEMO)
    assert cli.main(["objects", "--out", str(tmp_path), "--show", "9"]) == 0
    assert calls == [((Inputs(out=tmp_path, images=tmp_path), 9), {})]


def test_a_sheet_of_too_many_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["objects", "--out", str(tmp_path), "--show", "101"]) == 2
    assert capsys.readouterr().err == "partdistill: --show: expected an integer from 0 to 100, found 101\n"


def test_dotted_flags_reach_any_depth(run: Callable[..., tuple[Inputs, Recipe]]) -> None:
    _, recipe = run(
        *("--proposals.steps", "2000", "--proposals.learning_rate", "1e-5", "--ranking.num-parts=5"),
        *("--segments.levels", "2", "4", "--segments.crf.enabled", "false", "--encoder", "models/mine"),
    )
    assert recipe == replace(
        SMALL,
        encoder="models/mine",
        proposals=replace(SMALL.proposals, steps=2000, learning_rate=1e-5),
        ranking=replace(SMALL.ranking, num_parts=5),
        segments=replace(SMALL.segments, levels=(2, 4), crf=replace(SMALL.segments.crf, enabled=False)),
    )


def test_the_objects_file_and_the_objects_settings_go_together(
    run: Callable[..., tuple[Inputs, Recipe]],
) -> None:
    inputs, recipe = run(
        "--objects.max-objects", "3", "--objects", "objects.json", "--objects.min-area", "0.1"
    )
    assert inputs.objects == Path("objects.json")
    assert (recipe.objects.max_objects, recipe.objects.min_area) == (3, 0.1)


def test_later_sources_win(run: Callable[..., tuple[Inputs, Recipe]], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("ranking: {num_parts: 5, restarts: 3}\n", encoding="utf-8")
    _, recipe = run("--recipe", "released_1k", "--config", str(file), "--ranking.restarts", "2")
    assert recipe == replace(RELEASED_1K, ranking=replace(RELEASED_1K.ranking, num_parts=5, restarts=2))


def test_a_run_remembers_its_settings(run: Callable[..., tuple[Inputs, Recipe]], tmp_path: Path) -> None:
    then = Inputs(out=tmp_path, images=tmp_path / "photos", objects=tmp_path / "objects.json")
    save_settings(then, RELEASED_1K)
    assert run() == (then, RELEASED_1K)
    assert run("--images", "elsewhere", "--workers", "2")[0] == replace(
        then, images=Path("elsewhere"), workers=2
    )
    assert run("--recipe", "demo") == (then, DEMO)


def test_an_unusable_remembered_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("rankin: {}\n", encoding="utf-8")
    assert cli.main(["rank", "--out", str(tmp_path)]) == 2
    message = "unknown setting 'rankin' at the top. Did you mean 'ranking'?"
    assert capsys.readouterr().err == f"partdistill: {tmp_path / 'config.yaml'}: {message}\n"
