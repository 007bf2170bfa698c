"""SHA-256 beside a model's files: any byte that changes, and any file that goes, is noticed."""

import shutil
from pathlib import Path

import pytest

from partdistillation.errors import CheckpointError
from partdistillation.runs.digests import FILE, problems, recorded_versions, require_whole, write_digests
from partdistillation.runs.stage_reader import contents_hash


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for name, text in {"config.json": "{}", "model.safetensors": "weights", "README.md": "card"}.items():
        (tmp_path / name).write_text(text)
    write_digests(tmp_path, made_with={"torch": "2.0"})
    return tmp_path


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", FILE])
def test_every_flipped_bit_is_noticed(name: str, model: Path) -> None:
    before = (model / name).read_bytes()
    for place in range(len(before)):
        (model / name).write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
        harmless = name == FILE and before[place : place + 1].isspace()
        versions = name == FILE and place > before.index(b'"versions": {') + 12
        assert bool(problems(model)) or harmless or versions, place
    (model / name).write_bytes(before)
    require_whole(model)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_is_gone_is_named(name: str, model: Path) -> None:
    (model / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing. Copy .* delete .*{FILE}"):
        require_whole(model)


def test_models_of_others_have_none(model: Path, tmp_path: Path) -> None:
    (model / FILE).unlink()
    require_whole(model)
    require_whole(tmp_path / "owner" / "name")
    assert recorded_versions(model) == {}


def test_the_contents_of_a_model_are_the_same_with_and_without(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    (copy / FILE).unlink()
    assert contents_hash(copy) == contents_hash(model)
    (model / "model.safetensors").write_text("Weights")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        contents_hash(model)
