"""What experiments' runs are made of: seeds, inputs and settings."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from partdistillation.commands import main as cli
from partdistillation.config import Inputs, Recipe
from partdistillation.recipes import DEMO, PAPER, RELEASED_1K
from partdistillation.runs.run_folder import save_settings

Calls = list[tuple[tuple[Any, ...], dict[str, Any]]]


@pytest.fixture
def ablate(stub: Callable[[str, str], Calls], tmp_path: Path) -> Callable[..., tuple[Inputs, Recipe]]:
    """What the runs of `partdistill ablate k --out TMP ...` are made of."""

    def asked(*args: str) -> tuple[Inputs, Recipe]:
        calls = stub("experiments.runs", "part_shapes" if "--demo" in args else "own_data")
        stub("experiments.ablations", "ablate")
        assert cli.main(["ablate", "k", "--out", str(tmp_path), "--seeds", "0", "1", *args]) == 0
        ((inputs, seeds, recipe), _) = calls[0]
        assert seeds == (0, 1)
        return inputs, recipe

    return asked


@pytest.mark.parametrize("seeds", [(), ("0", "0"), ("-1",)])
def test_an_experiments_seeds_are_told_apart(
    seeds: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["compare", "--out", str(tmp_path / "out"), "--seeds", *seeds]) == 2
    found = " ".join(seeds) or "none"
    assert f"--seeds: expected numbers of at least 0, each once, found {found}" in capsys.readouterr().err


def test_an_experiment_remembers_its_runs_settings(
    ablate: Callable[..., tuple[Inputs, Recipe]], tmp_path: Path
) -> None:
    save_settings(Inputs(out=tmp_path, images=tmp_path / "others"), PAPER)
    assert ablate() == (Inputs(out=tmp_path, images=tmp_path / "others"), PAPER)
    then = Inputs(out=tmp_path / "seed-0", images=tmp_path / "photos", val_parts=tmp_path / "parts.json")
    save_settings(then, RELEASED_1K)
    assert ablate() == (replace(then, out=tmp_path), RELEASED_1K)
    assert ablate("--recipe", "demo") == (replace(then, out=tmp_path), DEMO)


def test_experiments_on_drawings_start_from_the_demos_settings(
    ablate: Callable[..., tuple[Inputs, Recipe]], tmp_path: Path
) -> None:
    save_settings(Inputs(out=tmp_path), PAPER)  # another run's, of photographs
    assert ablate("--demo")[1] == DEMO
    assert ablate("--demo", "--segments.k", "3")[1] == replace(DEMO, segments=replace(DEMO.segments, k=3))
    assert ablate("--demo", "--recipe", "released_1k")[1] == RELEASED_1K
