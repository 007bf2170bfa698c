"""The command line: what it calls with what, and what it says when it can't."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from partdistillation import config
from partdistillation.commands import main as cli
from partdistillation.config import Inputs, Recipe
from partdistillation.errors import InputError
from partdistillation.recipes import DEMO, PAPER, RELEASED_1K

Calls = list[tuple[tuple[Any, ...], dict[str, Any]]]
STAGES = ["run", "pretrain", "objects", "segments", "proposals", "rank", "distill", "report"]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Calls]:
    """Puts a module with one recording function in place of the package's."""

    def install(module: str, function: str) -> Calls:
        calls: Calls = []
        stand_in = ModuleType(f"partdistillation.{module}")
        setattr(stand_in, function, lambda *args, **kwargs: calls.append((args, kwargs)))
        parent, _, name = stand_in.__name__.rpartition(".")
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
        __import__(parent)
        monkeypatch.setattr(sys.modules[parent], name, stand_in, raising=False)
        return calls

    return install


@pytest.fixture
def run(stub: Callable[[str, str], Calls], tmp_path: Path) -> Callable[..., tuple[Inputs, Recipe]]:
    """What `partdistill run --out TMP ...` hands over."""

    def hand_over(*args: str) -> tuple[Inputs, Recipe]:
        calls = stub("pipeline", "run")
        assert cli.main(["run", "--out", str(tmp_path), *args]) == 0
        ((inputs, recipe), _) = calls[0]
        return inputs, recipe

    return hand_over


@pytest.mark.parametrize("command", STAGES)
def test_a_stage_gets_inputs_and_recipe(
    command: str, stub: Callable[[str, str], Calls], tmp_path: Path
) -> None:
    stub("report.objects_found", "show_objects")
    calls = stub("pipeline", command)
    assert cli.main([command, "--out", str(tmp_path), "--images", "photos", "--recipe", "demo"]) == 0
    assert calls == [((Inputs(out=tmp_path, images=Path("photos")), DEMO), {})]


def test_objects_are_shown(stub: Callable[[str, str], Calls], tmp_path: Path) -> None:
    stub("pipeline", "objects")
    calls = stub("report.objects_found", "show_objects")
    config.save(Inputs(out=tmp_path, images=tmp_path), DEMO)
    assert cli.main(["objects", "--out", str(tmp_path), "--show", "9"]) == 0
    assert calls == [((Inputs(out=tmp_path, images=tmp_path), 9), {})]


def test_a_sheet_of_too_many_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["objects", "--out", str(tmp_path), "--show", "101"]) == 2
    assert capsys.readouterr().err == "partdistill: --show: expected 0 to 100 images, found 101\n"


def test_dotted_flags_reach_any_depth(run: Callable[..., tuple[Inputs, Recipe]]) -> None:
    _, recipe = run(
        *("--proposals.steps", "2000", "--proposals.learning_rate", "1e-5", "--ranking.num-parts=5"),
        *("--segments.levels", "2", "4", "--segments.crf.enabled", "false", "--encoder", "models/mine"),
    )
    assert recipe == replace(
        PAPER,
        encoder="models/mine",
        proposals=replace(PAPER.proposals, steps=2000, learning_rate=1e-5),
        ranking=replace(PAPER.ranking, num_parts=5),
        segments=replace(PAPER.segments, levels=(2, 4), crf=replace(PAPER.segments.crf, enabled=False)),
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
    config.save(then, RELEASED_1K)
    assert run() == (then, RELEASED_1K)
    assert run("--images", "elsewhere", "--workers", "2")[0] == replace(
        then, images=Path("elsewhere"), workers=2
    )
    assert run("--recipe", "demo") == (then, DEMO)


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
    config.save(Inputs(out=tmp_path, images=tmp_path / "others"), PAPER)
    assert ablate() == (Inputs(out=tmp_path, images=tmp_path / "others"), PAPER)
    then = Inputs(out=tmp_path / "seed-0", images=tmp_path / "photos", val_parts=tmp_path / "parts.json")
    config.save(then, RELEASED_1K)
    assert ablate() == (replace(then, out=tmp_path), RELEASED_1K)
    assert ablate("--recipe", "demo") == (replace(then, out=tmp_path), DEMO)


def test_experiments_on_drawings_start_from_the_demos_settings(
    ablate: Callable[..., tuple[Inputs, Recipe]], tmp_path: Path
) -> None:
    config.save(Inputs(out=tmp_path), PAPER)  # another run's, of photographs
    assert ablate("--demo")[1] == DEMO
    assert ablate("--demo", "--segments.k", "3")[1] == replace(DEMO, segments=replace(DEMO.segments, k=3))
    assert ablate("--demo", "--recipe", "released_1k")[1] == RELEASED_1K


def test_an_unusable_remembered_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("rankin: {}\n", encoding="utf-8")
    assert cli.main(["rank", "--out", str(tmp_path)]) == 2
    message = "unknown setting 'rankin' at the top. Did you mean 'ranking'?"
    assert capsys.readouterr().err == f"partdistill: {tmp_path / 'config.yaml'}: {message}\n"


@pytest.mark.parametrize(
    ("args", "module", "function", "positional", "keywords"),
    [
        (
            ["predict", "m", "--images", "i", "--objects", "o.json", "--device", "cpu"],
            "inference",
            "predict",
            (Path("m"), Path("i"), Path("o.json")),
            {"out": Path("out/predictions"), "device": "cpu", "part_table": None},
        ),
        (
            ["evaluate", "--predictions", "p", "--parts", "parts.json"],
            "evaluation.of_predictions",
            "evaluate",
            (Path("p"), Path("parts.json")),
            {"protocol": "both", "part_table": None},
        ),
        (
            ["evaluate", "--predictions", "p", "--parts", "parts.json", "--parts-table", "t.json"],
            "evaluation.of_predictions",
            "evaluate",
            (Path("p"), Path("parts.json")),
            {"protocol": "both", "part_table": Path("t.json")},
        ),
        (
            ["evaluate-objects", "m/n", "--images", "i", "--objects", "o.json"],
            "evaluation.instances",
            "evaluate",
            ("m/n", Path("i"), Path("o.json")),
            {"out": Path("out/mask_ap"), "device": "auto"},
        ),
        (
            ["demo", "--seed", "3", "--from-scratch"],
            "demo",
            "run",
            (Path("out/demo"),),
            {"seed": 3, "from_scratch": True, "device": "auto", "workers": 2},
        ),
        (["doctor"], "doctor", "run", (None,), {}),
        (
            ["convert", "mask2former", "a.pth", "--out", "b", "--class-names", "car", "cat", "--num-parts=8"],
            "convert.mask2former",
            "convert_checkpoint",
            (Path("a.pth"), Path("b")),
            {"class_names": ("car", "cat"), "num_parts": 8, "normalize_mask_embeddings": False},
        ),
        (
            ["convert", "detic", "a.pth", "--out", "b"],
            "convert.detic",
            "convert_checkpoint",
            (Path("a.pth"), Path("b")),
            {},
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_other_commands(
    args: list[str],
    module: str,
    function: str,
    positional: tuple[Any, ...],
    keywords: dict[str, Any],
    stub: Callable[[str, str], Calls],
) -> None:
    calls = stub(module, function)
    assert cli.main(args) == 0
    assert calls == [(positional, keywords)]


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["segmants"], "unknown command 'segmants'. Did you mean 'segments'?"),
        (["--recipe", "demo"], "unknown command '--recipe'. Known: run, pretrain"),
        (["convert"], "expected `partdistill convert mask2former` or `partdistill convert detic`, found"),
        (
            ["convert", "mask2former", "a", "--out", "b", "--class-names", "c", "--class-list", "d"],
            "expected --class-names or --class-list, found both",
        ),
        (["convert", "a.pth", "--out", "b"], "`partdistill convert detic`, found 'a.pth' after convert"),
        (["run", "--recipe", "papr"], "unknown recipe 'papr'. Did you mean 'paper'?"),
        (["run", "--config", "missing.yaml"], "missing.yaml: expected a YAML file that can be read"),
        (["run", "--proposals.flip", "2"], "proposals.flip: expected a number from 0 to 1, found 2.0"),
        (["run", "--workers", "0"], "inputs.workers: expected an integer at least 1, found 0"),
    ],
)
def test_mistakes_are_explained(args: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(args) == 2
    error = capsys.readouterr().err
    assert hint in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["run", "--proposals.stesp", "3"], "--proposals.steps"),
        (["segments", "--image", "x"], "--images"),
        (["segments", "--segments.crf.enabled", "flase"], "expected true or false, found 'flase'"),
        (["predict", "m"], "--images"),
        (["run", "--device", "gpu"], "'cuda'"),
        (["run", "--out"], "--out"),
    ],
)
def test_typos_get_the_nearest_flag(args: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(args)
    assert hint in capsys.readouterr().err


def failing(error: BaseException) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_errors_are_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = (cli.DoctorArguments, failing(InputError("expected a photograph, found a sonnet")))
    monkeypatch.setitem(cli.COMMANDS, "doctor", command)
    assert cli.main(["doctor"]) == 2
    assert capsys.readouterr().err == "partdistill: expected a photograph, found a sonnet\n"
    assert cli.main(["doctor", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_stopping_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(cli.COMMANDS, "doctor", (cli.DoctorArguments, failing(KeyboardInterrupt())))
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "stopped; run the same command again to go on\n"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "doctor", (cli.DoctorArguments, failing(ZeroDivisionError())))
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor"])


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_overview(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(args) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {command} " in printed for command in cli.COMMANDS)
    assert max(map(len, printed.splitlines())) <= 110


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("partdistill 0.")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main([*command.split(), "--help"])
    printed = capsys.readouterr().out
    assert f"usage: partdistill {command}" in printed
    if command in STAGES:
        assert "Segments an object (clusters of k-means). (default: 4)" in " ".join(printed.split())


def test_help_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from partdistillation import cli\n"
        "try:\n    cli.main(['run', '--help'])\n"
        "except SystemExit:\n"
        "    print(sorted({'torch', 'numpy', 'transformers'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_output_may_be_cut_short() -> None:
    code = "import sys; from partdistillation import cli; sys.exit(cli.main(['run', '--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
