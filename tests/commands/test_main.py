"""Which command a line names, what it calls, how it ends; the overview."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partdistillation.commands import main as cli
from partdistillation.errors import InputError

Calls = list[tuple[tuple[Any, ...], dict[str, Any]]]


@pytest.mark.parametrize(
    ("args", "module", "function", "positional", "keywords"),
    [
        (
            ["predict", "m", "--images", "i", "--objects", "o.json", "--device", "cpu"],
            "inference",
            "predict",
            (Path("m"), Path("i"), Path("o.json")),
            {
                "out": Path("out/predictions"),
                "device": "cpu",
                "part_table": None,
                "objects_model": None,
                "min_score": 0.3,
                "min_object_score": 0.3,
                "max_overlap": 0.5,
                "workers": 1,
                "engine": "processes",
            },
        ),
        (
            ["evaluate", "--predictions", "p", "--parts", "parts.json"],
            "evaluation.of_predictions",
            "evaluate",
            (Path("p"), Path("parts.json")),
            {"protocol": "both", "part_table": None, "parts_class": ""},
        ),
        (
            ["evaluate", "--predictions", "p", "--parts", "parts.json", "--parts-table", "t.json"],
            "evaluation.of_predictions",
            "evaluate",
            (Path("p"), Path("parts.json")),
            {"protocol": "both", "part_table": Path("t.json"), "parts_class": ""},
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
            "experiments.demo",
            "run",
            (Path("out/demo"),),
            {"seed": 3, "from_scratch": True, "device": "auto", "workers": 2},
        ),
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
    ("args", "message"),
    [
        (["segmants"], "expected a command, found 'segmants'. Did you mean 'segments'?"),
        (["--recipe", "demo"], "expected a command, found '--recipe'. See `partdistill help`."),
        (["help", "segmants"], "expected a command, found 'segmants'. Did you mean 'segments'?"),
        (
            ["convert"],
            "expected `partdistill convert mask2former` or `partdistill convert detic`, found nothing after "
            "convert",
        ),
        (
            ["convert", "a.pth", "--out", "b"],
            "expected `partdistill convert mask2former` or `partdistill convert detic`, found 'a.pth' after "
            "convert",
        ),
        (
            ["convert", "mask2former", "a", "--out", "b", "--class-names", "c", "--class-list", "d"],
            "expected --class-names or --class-list, found both",
        ),
        (["run", "--recipe", "papr"], "unknown recipe 'papr'. Did you mean 'paper'?"),
    ],
)
def test_mistakes_are_explained(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(args) == 2
    assert capsys.readouterr().err == f"partdistill: {message}\n"


def replace_doctor(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Put a command that fails in place of `doctor`."""

    def fail(_: object) -> None:
        raise error

    monkeypatch.setitem(cli.COMMANDS, "doctor", cli.COMMANDS["doctor"]._replace(function=fail))


def test_errors_are_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    replace_doctor(monkeypatch, InputError("expected a photograph, found a sonnet"))
    assert cli.main(["doctor"]) == 2
    assert capsys.readouterr().err == "partdistill: expected a photograph, found a sonnet\n"
    assert cli.main(["doctor", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_stopping_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    replace_doctor(monkeypatch, KeyboardInterrupt())
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "stopped; run the same command again to go on\n"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_doctor(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor"])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("partdistill 0.")


@pytest.mark.parametrize("args", [[], ["help"], ["--help"], ["-h"]])
def test_overview(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(args) == 0
    printed = capsys.readouterr().out
    assert all(printed.count(f"\n  {command} ") == 1 for command in cli.COMMANDS)
    assert all(f"\n\n{title}:\n" in printed for title in cli.GROUPS)
    assert max(map(len, printed.splitlines())) <= 100


@pytest.mark.parametrize("args", [["help", "figure"], ["figure", "--help"]])
def test_overview_of_commands_of_two_words(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(args) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n  figure ") == 4
    assert "baseline" not in printed


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command.split(), "--help"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: partdistill {command} ")
    assert cli.main(["help", *command.split()]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("args", [["--help"], ["segments", "--help"], ["settings"]])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys\n"
        "from partdistillation.commands import main as cli\n"
        f"cli.main({args})\n"
        "print(sorted({'torch', 'numpy', 'transformers', 'rich'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_output_may_be_cut_short() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "partdistillation", "run", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run --images x --device cuda:7", "--device: expected 8 GPUs"),
        ("predict m --images x --device mps", "--device: expected a Mac"),
        ("evaluate-objects m --images x --objects o.json --device cuda", "--device: expected 1 GPU"),
        ("demo --device nvidia", "--device: expected one of auto, cpu, cuda, cuda:N, mps, found 'nvidia'"),
    ],
)
def test_a_device_that_is_not_there_is_said_before_anything_else(
    line: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    assert cli.main(line.split()) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
