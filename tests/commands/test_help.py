"""What help shows: a command's own flags and settings, all of them explained, with the values they have."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from partdistillation.commands.arguments import Command
from partdistillation.commands.flags import flags
from partdistillation.commands.main import COMMANDS, main
from partdistillation.config import Inputs, Recipe
from partdistillation.recipes import DEMO, PAPER, RECIPES
from partdistillation.runs.run_folder import save_settings

Printed = Callable[..., str]
STAGES = ("pretrain", "objects", "segments", "proposals", "rank", "distill")


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """What a command prints."""

    def output(*args: str) -> str:
        assert main(args) == 0
        return capsys.readouterr().out

    return output


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_help_is_short_and_about_itself(stage: str, printed: Printed) -> None:
    lines = printed(stage, "--help").splitlines()
    assert len(lines) <= 110
    assert max(map(len, lines)) <= 100
    assert lines[-1] == "All other settings can be given too: `partdistill settings` lists them."
    sections = {
        line.split(".")[0].strip(" -") for line in lines if line.startswith("  --") and "." in line.split()[0]
    }
    assert sections == {"rank": {"ranking"}, "distill": {"distillation"}}.get(stage, {stage})


def test_help_of_segments(printed: Printed) -> None:
    text = printed("segments", "--help")
    assert "  --segments.k 8                      Segments an object (clusters of k-means).\n" in text
    assert "  --segments.levels 3 4 5 " in text
    assert "  --segments.crf.enabled true " in text
    assert "released recipes. [dot|l2|cosine]\n" in text
    assert "  --images PATH " in text
    assert "--val-images" not in text


def test_help_of_run_has_stages_1_to_5(printed: Printed) -> None:
    text = printed("run", "--help")
    stages = ("objects", "segments", "proposals", "ranking", "distillation")
    assert all(f"  --{stage}." in text for stage in stages)
    assert not any(f"  --{other}." in text for other in ("pretrain", "supervised", "finetune", "contrastive"))


def test_values_without_flags_come_first(printed: Printed) -> None:
    text = printed("convert", "mask2former", "--help")
    assert text.startswith("usage: partdistill convert mask2former CHECKPOINT [options]\n")
    assert (
        "defaults:\n  CHECKPOINT                          Published checkpoint (.pkl or .pth). (required)\n"
        in text
    )
    assert printed("ablate", "--help").startswith("usage: partdistill ablate [NAME] [options]\n")


def test_help_shows_what_would_be_used(printed: Printed, tmp_path: Path) -> None:
    assert f"--distillation.steps {DEMO.distillation.steps} " in printed(
        "distill", "--recipe", "demo", "--help"
    )
    save_settings(Inputs(out=tmp_path / "mine"), DEMO)
    assert f"--segments.image-size {DEMO.segments.image_size} " in printed(
        "segments", "--out", "mine", "--help"
    )


def test_all_settings_are_listed(printed: Printed) -> None:
    text = printed("settings", "--recipe", "demo", "--segments.k", "9")
    for flag in flags(Recipe, vars(PAPER), ("settings",)):
        assert f"  {flag.name} " in text
    assert "  --segments.k 9 " in text
    assert f"  --distillation.steps {DEMO.distillation.steps} " in text


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_every_flag_is_explained(command: Command) -> None:
    for flag in flags(command.arguments, {}):
        assert flag.text.endswith("."), flag.name


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_commands_name_inputs_and_settings_that_there_are(command: Command) -> None:
    assert {*command.inputs} <= {entry.name for entry in fields(Inputs)}
    assert {*command.settings} <= {entry.name for entry in fields(Recipe)}


def test_help_names_all_recipes(printed: Printed) -> None:
    text = " ".join(printed("run", "--help").split())
    assert f"{', '.join(RECIPES)}." in text
