"""What a wrong command line is answered with: what was expected, what was found, and the nearest flag."""

from pathlib import Path

import pytest

from partdistillation.commands.arguments import StageArguments
from partdistillation.commands.experiments import CompareArguments
from partdistillation.commands.judge import EvaluateArguments
from partdistillation.commands.main import COMMANDS, main
from partdistillation.commands.parsing import parse
from partdistillation.commands.run import PredictArguments, RunArguments
from partdistillation.runs.mirror import url_of
from partdistillation.runs.storage import open_storage

WRONG = [
    ("run --proposals.stesp 3", "expected a flag of `partdistill run`, found '--proposals.stesp'."
     " Did you mean '--proposals.steps'?"),
    ("rank --image x", "expected a flag of `partdistill rank`, found '--image'. Did you mean '--images'?"),
    ("segments --k 3", "expected a flag of `partdistill segments`, found '--k'."
     " Did you mean '--segments.k'?"),
    ("run --steps 3", "expected a flag of `partdistill run`, found '--steps'."
     " Did you mean '--proposals.steps' or '--distillation.steps'?"),
    ("doctor --zebra", "expected a flag of `partdistill doctor`, found '--zebra'."
     " See `partdistill doctor --help`."),
    ("run x", "expected `partdistill run [options]`, found 'x' besides"),
    ("predict m n --images x", "expected `partdistill predict MODEL [options]`, found 'n' besides"),
    ("predict m", "expected --images, found none: see `partdistill predict --help`"),
    ("predict", "expected MODEL and --images, found none: see `partdistill predict --help`"),
    ("review", "expected OUT ..., found none: see `partdistill review --help`"),
    ("run --out", "--out: expected PATH, found none"),
    ("run --out --images x", "--out: expected PATH, found none"),
    ("doctor --dataset a", "--dataset: expected NAME DIR, found less"),
    ("run --debug=1", "--debug: expected no value, found one"),
    ("run --proposals.steps many", "--proposals.steps: expected an integer, found 'many'"),
    ("run --proposals.steps 1.5", "--proposals.steps: expected an integer, found '1.5'"),
    ("run --proposals.flip nan", "--proposals.flip: expected a number, found nan"),
    ("run --proposals.flip 2", "--proposals.flip: expected a number from 0 to 1, found 2.0"),
    ("run --proposals.scale_min 3", "proposals.scale_min: expected at most scale_max (1.4), found 3.0"),
    ("run --workers 0", "--workers: expected an integer at least 1, found 0"),
    ("run --device gpu", "--device: expected one of auto, cpu, cuda, cuda:N, mps, found 'gpu'"),
    ("run --proposals.freeze ofical", "--proposals.freeze: expected one of official, pixel_level, backbone,"
     " none, found 'ofical'. Did you mean 'official'?"),
    ("run --segments.crf.enabled flase", "--segments.crf.enabled: expected true or false, found 'flase'"),
    ("run --segments.levels 3 x", "--segments.levels: expected an integer, found 'x'"),
    ("run --segments.levels", "segments.levels: expected some of 2 3 4 5 in rising order, found []"),
    ("compare --baselines supervisd", "--baselines: expected one of one-stage, supervised,"
     " supervised-agnostic, contrastive, found 'supervisd'. Did you mean 'supervised'?"),
    ("ablate q", "NAME: expected one of all, levels, encoders, k, crf, post-processing, sampling, parts,"
     " classes, found 'q'"),
    ("review a --port 99999", "--port: expected an integer from 0 to 65535, found 99999"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message"), WRONG, ids=[line for line, _ in WRONG])
def test_mistakes_are_explained_in_one_line(
    line: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"partdistill: {message}\n")


@pytest.mark.parametrize("line", ["m --images i --out o", "--images i m --out o", "--images=i --out=o m"])
def test_values_without_flags_stand_anywhere(line: str) -> None:
    arguments = parse(COMMANDS["predict"], line.split())
    assert arguments == PredictArguments(model=Path("m"), images=Path("i"), out=Path("o"))


def test_flags_take_several_words(tmp_path: Path) -> None:
    line = ["--seeds", "3", "4", "--baselines", "contrastive", "--out", str(tmp_path)]
    arguments = parse(COMMANDS["compare"], line)
    assert isinstance(arguments, CompareArguments)
    assert (arguments.seeds, arguments.baselines) == ((3, 4), ("contrastive",))


@pytest.mark.parametrize("line", ["--ranking.num-parts 5", "--ranking.num_parts=5"])
def test_every_stage_takes_all_settings(line: str, tmp_path: Path) -> None:
    for name in ("pretrain", "segments", "report", "ablate", "baseline contrastive", "settings"):
        arguments = parse(COMMANDS[name], [*line.split(), "--out", str(tmp_path)])
        assert vars(arguments)["settings"].ranking.num_parts == 5


def test_the_home_folder_in_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    arguments = parse(COMMANDS["predict"], ["~/model", "--images=~/photos", "--out=~"])
    assert isinstance(arguments, PredictArguments)
    paths = (arguments.model, arguments.images, arguments.out)
    assert paths == (Path("/home/somebody/model"), Path("/home/somebody/photos"), Path("/home/somebody"))


def test_a_url_stands_for_its_mirror(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    arguments = parse(COMMANDS["run"], ["--images", "photos", "--out", f"{bucket}/mine"])
    assert isinstance(arguments, RunArguments)
    assert arguments.inputs.out.is_relative_to(tmp_path)
    assert arguments.inputs.out.name == "mine"
    assert arguments.inputs.images == Path("photos")
    assert arguments.inputs.engine == "shared"
    predicting = parse(COMMANDS["predict"], [f"{bucket}/mine/part_model", "--images", "photos"])
    assert isinstance(predicting, PredictArguments)
    assert predicting.model.is_relative_to(tmp_path)


def test_what_predictions_are_compared_with_may_be_in_a_bucket(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    words = ["--parts", "parts.json", "--predictions", f"{bucket}/a", "--against", f"{bucket}/b"]
    comparing = parse(COMMANDS["evaluate"], words)
    assert isinstance(comparing, EvaluateArguments)
    assert url_of(comparing.against or Path()) == f"{bucket}/b"


def test_a_run_remembers_its_settings_in_a_bucket(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    open_storage(bucket).write("mine/config.yaml", b"segments: {k: 7}")
    arguments = parse(COMMANDS["segments"], ["--out", f"{bucket}/mine"])
    assert isinstance(arguments, StageArguments)
    assert arguments.settings.segments.k == 7


def test_what_cannot_be_with_a_url(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["run", "--out", f"{bucket}/mine", "--engine", "processes"]) == 2
    assert main(["run", "--out", "s3://nowhere/mine"]) == 2
    assert capsys.readouterr().err == (
        "partdistill: --engine: expected none with a URL for --out, found processes: leave it out\n"
        "partdistill: s3://nowhere/mine: expected a bucket named nowhere, found none: create it, or correct "
        "the URL\n"
    )
