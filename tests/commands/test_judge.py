"""`partdistill evaluate`: what goes with predictions, what with a model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from partdistillation.commands.main import main
from partdistillation.config import Inputs, Recipe
from partdistillation.evaluation import of_model
from partdistillation.recipes import PAPER, RELEASED_1K
from partdistillation.runs.run_folder import save_settings

MODEL = ["evaluate", "--model", "m", "--parts", "p.json", "--images", "i", "--objects", "o.json"]


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Inputs, Recipe]]:
    """What models were scored with."""
    calls: list[tuple[Path, Inputs, Recipe]] = []
    monkeypatch.setattr(of_model, "evaluate_model", lambda *args, **_: calls.append(args))
    return calls


def test_a_model_is_scored_with_the_papers_settings(scored: list[tuple[Any, ...]]) -> None:
    assert main(MODEL) == 0
    inputs = Inputs(
        out=Path("out/evaluation"), images=Path("i"), objects=Path("o.json"), parts=Path("p.json")
    )
    assert scored == [(Path("m"), inputs, PAPER)]


def test_a_model_is_scored_with_other_settings(scored: list[tuple[Any, ...]], tmp_path: Path) -> None:
    assert main([*MODEL, "--recipe", "released_1k", "--ranking.num-parts", "5"]) == 0
    file = save_settings(Inputs(out=tmp_path, images=Path("another")), RELEASED_1K)
    assert main([*MODEL, "--config", str(file), "--ranking.num-parts", "5"]) == 0
    recipe = replace(RELEASED_1K, ranking=replace(RELEASED_1K.ranking, num_parts=5))
    assert [settings for _, _, settings in scored] == [recipe, recipe]
    assert scored[1][1].images == Path("i")


def test_where_to_write_to_decides_no_settings(scored: list[tuple[Any, ...]], tmp_path: Path) -> None:
    save_settings(Inputs(out=tmp_path), RELEASED_1K)
    assert main([*MODEL, "--out", str(tmp_path)]) == 0
    assert scored[0][2] == PAPER


@pytest.mark.parametrize(
    "wrong",
    ["", "--model m --predictions p", "--predictions p --images i", "--predictions p --class-map c",
     "--predictions p --recipe paper", "--predictions p --config c.yaml",
     "--predictions p --ranking.num-parts 3"],
)  # fmt: skip
def test_what_goes_with_a_model_is_refused_without(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").touch()
    assert main(["evaluate", "--parts", "p.json", *wrong.split()]) == 2
    assert "expected either --predictions, or --model with --images" in capsys.readouterr().err
