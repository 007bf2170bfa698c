"""A whole run and what disks and hands do to it: files that change, go, or can't be written."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from partdistillation import inference, pipeline
from partdistillation.commands.main import main
from partdistillation.config import Inputs, Recipe
from partdistillation.errors import (
    CheckpointError,
    ConfigError,
    InputError,
    PartDistillationError,
    StoreError,
)
from partdistillation.inference import predict
from partdistillation.models import hub
from partdistillation.runs import atomic
from partdistillation.runs.atomic import locked


@pytest.fixture(scope="module")
def finished(drawings: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """A run from beginning to end, over photographs of its own. Not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(drawings, folder / "data")
    inputs = Inputs(
        out=folder / "out", images=folder / "data/train", objects=folder / "data/objects_train.json"
    )
    pipeline.run(inputs, tiny_recipe)
    return inputs


@pytest.fixture
def copied(finished: Inputs, tmp_path: Path) -> Inputs:
    """The same with its photographs, to be changed."""
    shutil.copytree(finished.out.parent, tmp_path / "run")
    data = tmp_path / "run" / "data"
    return Inputs(out=tmp_path / "run/out", images=data / "train", objects=data / "objects_train.json")


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def swap(inputs: Inputs) -> Path:
    """Put another photograph of the same size in the place of one."""
    first, second = sorted(inputs.need("images").glob("*.png"))[:2]
    shutil.copyfile(second, first)
    return first


STAGES: dict[str, Callable[[Inputs, Recipe], Path]] = {
    "segments": pipeline.segments,
    "proposal_model": pipeline.proposals,
    "features": pipeline.rank,
    "part_model": pipeline.distill,
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_another_photograph_in_the_place_of_one_is_named(
    stage: str, copied: Inputs, tiny_recipe: Recipe
) -> None:
    swapped = swap(copied)
    with pytest.raises(InputError, match=rf"{swapped.name}: .*\n.*Put the old ones back"):
        STAGES[stage](copied, tiny_recipe)
    shutil.rmtree(copied.out / stage)
    with pytest.raises(InputError, match=swapped.name):
        STAGES[stage](copied, tiny_recipe)
    assert not (copied.out / stage).exists()


@pytest.mark.slow
def test_a_whole_run_and_its_report_name_it_too(
    copied: Inputs, tiny_recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    swapped = swap(copied)
    with pytest.raises(InputError, match=swapped.name):
        pipeline.run(copied, tiny_recipe)
    pipeline.report(copied, tiny_recipe)
    assert f"is shown: {swapped}: " in caplog.text


def test_doctor_compares_photographs(
    finished: Inputs, copied: Inputs, capsys: pytest.CaptureFixture[str]
) -> None:
    config = copied.out / "config.yaml"
    config.write_text(config.read_text().replace(str(finished.images), str(copied.images)))
    assert main(["doctor", "--out", str(copied.out), "--deep"]) == 0
    config.rename(config.with_name("another.yaml"))
    assert main(["doctor", "--out", str(copied.out)]) == 0
    assert "photographs: not checked: their folder isn't known" in capsys.readouterr().out
    config.with_name("another.yaml").rename(config)
    swapped = swap(copied)
    assert main(["doctor", "--out", str(copied.out)]) == 2
    printed = capsys.readouterr()
    assert f"{swapped}: " in printed.out
    assert "in photographs and masks" in printed.err


def test_another_mask_in_the_place_of_one_is_named(
    drawings: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    from PIL import Image

    shutil.copytree(drawings / "train", tmp_path / "photos/car")
    for kind in "masks", "others":
        (tmp_path / kind / "car").mkdir(parents=True)
    for number, path in enumerate(sorted((tmp_path / "photos/car").iterdir())):
        mask = Image.new("L", (64, 64))
        mask.paste(255, (8, 8, 40 + number, 40))
        mask.save(tmp_path / "masks/car" / path.name)
    inputs = Inputs(out=tmp_path / "out", images=tmp_path / "photos", objects=tmp_path / "masks")
    recipe = tiny_recipe.updated({"objects": {"source": "masks"}})
    pipeline.objects(inputs, recipe)
    first, *_, last = sorted((tmp_path / "masks/car").iterdir())
    shutil.copyfile(last, first)
    for stage in (pipeline.objects, pipeline.segments):
        with pytest.raises(InputError, match=rf"masks/car/{first.name}: "):
            stage(inputs, recipe)


@pytest.mark.parametrize("model", ["proposal_model", "part_model", "part_model/objects_model"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "training.json"])
def test_doctor_notices_what_is_damaged_or_gone_of_a_model(
    model: str, name: str, copied: Inputs, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied.out / model / name
    if not path.exists():
        pytest.skip("an objects model has no training of its own")
    before = path.read_bytes()
    flip(path)
    assert main(["doctor", "--out", str(copied.out)]) == 2
    assert f"{model}: {path} is damaged" in capsys.readouterr().out
    path.unlink()
    assert main(["doctor", "--out", str(copied.out)]) == 2
    assert f"{model}: {path} is missing" in capsys.readouterr().out
    path.write_bytes(before)
    assert main(["doctor", "--out", str(copied.out)]) == 0


@pytest.mark.parametrize("name", ["model.safetensors", "training.json"])
def test_stages_and_prediction_notice_it_too(
    name: str, copied: Inputs, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    flip(copied.out / "part_model" / name)
    with pytest.raises(PartDistillationError, match=name):
        pipeline.distill(copied, tiny_recipe)
    with pytest.raises(CheckpointError, match=rf"{name} is damaged"):
        inference.predict(copied.out / "part_model", copied.need("images"), out=tmp_path / "new")
    flip(copied.out / "proposal_model" / name)
    with pytest.raises(PartDistillationError, match=name):
        pipeline.rank(copied, tiny_recipe)


def test_a_manifest_that_is_gone_is_missed(
    copied: Inputs, tiny_recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied.out / "parts/manifest.json").unlink()
    assert main(["doctor", "--out", str(copied.out)]) == 2
    assert "parts: expected a stage's folder, found no" in capsys.readouterr().out
    with pytest.raises(StoreError, match=r"no manifest"):
        pipeline.rank(copied, tiny_recipe)
    parts = str(copied.out.parent / "data/parts_train.json")
    assert main(["evaluate", "--predictions", str(copied.out), "--parts", parts]) == 2
    assert "expected a manifest beside the rows" in capsys.readouterr().err


# ---------------------------------------------------------------------- disks that can't be written


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["config.yaml", "seconds.json", "objects/manifest.json", "metrics.jsonl", "index.html", "sha256.json"],
)
def test_a_full_disk_is_said_so_for_every_file(
    name: str,
    drawings: Path,
    tiny_recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the first time on that this file is opened."""
    out = tmp_path / "out"
    recipe = tmp_path / "recipe.yaml"
    from partdistillation.config import to_yaml

    recipe.write_text(to_yaml(tiny_recipe))
    args = ["run", "--images", str(drawings / "train"), "--objects", str(drawings / "objects_train.json")]
    args += ["--out", str(out), "--config", str(recipe), "--device", "cpu"]
    opened = os.open

    def open_on_a_full_disk(path: Path, *rest: int, **options: int) -> int:
        if str(path).endswith((f"/{name}", f".{Path(name).name}.tmp")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_on_a_full_disk)
        assert main(args) == 2
    message = capsys.readouterr().err
    assert "No space left on device" in message
    assert "run the same command again" in message
    assert "Traceback" not in message


def test_an_out_that_is_a_file(tmp_path: Path, drawings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    objects = ["--images", str(drawings / "train"), "--objects", str(drawings / "objects_train.json")]
    for command in (["objects", *objects], ["demo"]):
        assert main([*command, "--out", str(out)]) == 2
        assert str(out) in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_an_error_of_the_system_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "secret.txt")

    monkeypatch.setattr(pipeline, "report", fail)
    assert main(["report"]) == 2
    assert capsys.readouterr().err.startswith(
        "partdistill: secret.txt: expected to be able to read or write it"
    )


def test_a_stage_that_runs_already_is_in_use(copied: Inputs, tiny_recipe: Recipe) -> None:
    """And the settings of the second call aren't remembered."""
    shutil.rmtree(copied.out / "segments")
    before = (copied.out / "config.yaml").read_bytes()
    with (
        locked(copied.out, name=".segments.lock"),
        pytest.raises(StoreError, match=r"out is in use: expected to be the only"),
    ):
        pipeline.segments(copied, tiny_recipe.updated({"segments": {"k": 2}}))
    assert (copied.out / "config.yaml").read_bytes() == before


def test_a_model_that_cannot_be_written(
    copied: Inputs, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(copied.out / "part_model")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", full)
        with pytest.raises(StoreError, match="No space left on device"):
            pipeline.distill(copied, tiny_recipe)
    pipeline.distill(copied, tiny_recipe)


# ---------------------------------------------------------------------- inputs first


@pytest.mark.parametrize("missing", ["images", "objects"])
def test_inputs_are_looked_for_before_the_encoder(
    missing: str, drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "try_once", lambda: pytest.fail("the encoder was asked for"))
    inputs = Inputs(
        out=tmp_path / "out", images=drawings / "train", objects=drawings / "objects_train.json", device="cpu"
    )
    gone = tmp_path / "gone.json"
    with pytest.raises(ConfigError, match=f"--{missing}: expected a file or folder, found nothing at"):
        pipeline.run(inputs.updated({missing: str(gone)}), Recipe())
    (tmp_path / "objects.json").write_text("{}")
    with pytest.raises(InputError, match="expected a list `images`"):
        pipeline.run(replace(inputs, objects=tmp_path / "objects.json"), Recipe())
    assert not (tmp_path / "out").exists()


def test_of_an_input_that_is_not_there_the_likely_cause_is_said(drawings: Path, tmp_path: Path) -> None:
    (tmp_path / "Photos").mkdir()
    inputs = Inputs(out=tmp_path / "out", images=tmp_path / "photos", objects=drawings / "objects_train.json")
    cause = r"found nothing at .*photos \(there is 'Photos', in other letter case\)"
    for command in (pipeline.run, pipeline.objects):
        with pytest.raises(ConfigError, match=cause):
            command(inputs, Recipe())
    with pytest.raises(
        InputError, match=r"photos: .* found neither; there is 'Photos', in other letter case"
    ):
        predict("model", tmp_path / "photos", out=tmp_path / "new")
    inputs = replace(inputs, images=drawings / "train", objects=drawings / "objects_train.JSON")
    with pytest.raises(ConfigError, match=r"there is 'objects_train.json', in other letter case"):
        pipeline.objects(inputs, Recipe())


def test_another_run_is_no_file(drawings: Path, tmp_path: Path) -> None:
    inputs = Inputs(out=tmp_path, images=drawings / "train", objects=drawings / "objects_train.json")
    with pytest.raises(ConfigError, match="expected the folder of another run, found the file"):
        pipeline.objects(inputs, Recipe().updated({"objects": {"source": "run"}}))


def test_a_device_that_is_not_there_is_said_before_any_stage(
    drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    inputs = Inputs(
        out=tmp_path / "out",
        images=drawings / "train",
        objects=drawings / "objects_train.json",
        device="cuda",
    )
    with pytest.raises(ConfigError, match="--device: expected 1 GPU"):
        pipeline.run(inputs, Recipe())
    with pytest.raises(ConfigError, match="--device: expected 1 GPU"):
        inference.predict("owner/name", drawings / "train", out=tmp_path / "out", device="cuda")
    assert not (tmp_path / "out").exists()


def test_an_encoder_that_stage_3_cannot_go_on_with(drawings: Path, tmp_path: Path) -> None:
    from transformers import Dinov2Backbone, Dinov2Config

    config = Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=28)
    Dinov2Backbone(config).save_pretrained(tmp_path / "backbone")
    inputs = Inputs(
        out=tmp_path / "out", images=drawings / "train", objects=drawings / "objects_train.json", device="cpu"
    )
    with pytest.raises(CheckpointError, match="found a plain ViT"):
        pipeline.run(inputs, Recipe(encoder=str(tmp_path / "backbone")))
    assert not (tmp_path / "out").exists()


def test_a_run_whose_photographs_are_all_rejected_stops_after_stage_1(
    drawings: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    shutil.copytree(drawings / "train", tmp_path / "train")
    document = json.loads((drawings / "objects_train.json").read_text())
    document["annotations"] = []
    (tmp_path / "objects.json").write_text(json.dumps(document))
    inputs = Inputs(out=tmp_path / "out", images=tmp_path / "train", objects=tmp_path / "objects.json")
    with pytest.raises(InputError, match=r"found all 12 rejected:\n  12 x no objects"):
        pipeline.run(inputs, tiny_recipe)
    assert not (tmp_path / "out/segments").exists()


def test_atomic_is_what_writes() -> None:
    """No module opens a file to write to by itself: `runs.atomic` says what to do where that fails."""
    folders = "parents=True, exist_ok=True)"
    writers = ("write_text(", "write_bytes(", ".savefig(path", 'open("w', 'open("ab', folders)
    package = Path(atomic.__file__).parents[1]
    found = {
        str(path.relative_to(package)): word
        for path in package.rglob("*.py")
        for word in writers
        if word in path.read_text(encoding="utf-8")
    }
    allowed = {"runs/atomic.py", "runs/profiling.py", "stages/class_features.py"}
    # What is brought from a bucket can be brought again.
    allowed |= {"runs/mirror.py", "runs/object_storage.py"}
    # The card and the section are written into a folder that takes its place as a whole, or not at all.
    # A photograph's bytes are written to a temporary folder, to be read as a file.
    assert found.keys() <= allowed | {"models/pretrained.py", "inference/inputs.py"}
