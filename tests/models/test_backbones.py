"""Backbones to start a network from: small, a directory, or an error that says what is wrong."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
)

from partdistillation.errors import CheckpointError
from partdistillation.models.backbones import SMALL, backbone_config, load_backbone


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Classifiers as they are published, of two architectures."""
    folder = tmp_path_factory.mktemp("published")
    swin: Any = SwinConfig(embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4)
    resnet: Any = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4)
    SwinForImageClassification(swin).save_pretrained(folder / "swin")
    ResNetForImageClassification(resnet).save_pretrained(folder / "resnet")
    return {name: folder / name for name in ("swin", "resnet")}


def test_small_is_small_and_returns_four_maps() -> None:
    config = backbone_config(SMALL)
    assert config.out_features == ["stage1", "stage2", "stage3", "stage4"]
    assert config.hidden_sizes == [32, 64, 128, 256]


@pytest.mark.parametrize(("name", "prefix"), [("swin", ""), ("resnet", "resnet.")])
def test_a_directory_gives_its_weights(published: dict[str, Path], name: str, prefix: str) -> None:
    backbone = load_backbone(str(published[name]))
    wanted = {
        key: value
        for key, value in AutoModelForImageClassification.from_pretrained(published[name])
        .state_dict()
        .items()
        if not key.startswith("classifier")
    }
    found = {prefix + key: value for key, value in backbone.state_dict().items()}
    assert len(wanted) > 70
    assert all(torch.equal(found[key], value) for key, value in wanted.items())
    maps = backbone(torch.zeros(1, 3, 64, 64)).feature_maps
    assert [one.shape[-1] for one in maps] == [16, 8, 4, 2]


def test_half_precision_weights_are_trained_as_float32(published: dict[str, Path], tmp_path: Path) -> None:
    model: Any = SwinForImageClassification.from_pretrained(published["swin"], dtype=torch.float16)
    model.save_pretrained(tmp_path / "half")
    name = str(tmp_path / "half")
    assert backbone_config(name).dtype == torch.float32
    assert {value.dtype for value in load_backbone(name).parameters()} == {torch.float32}


def changed(source: Path, folder: Path, change: str) -> Path:
    shutil.copytree(source, folder)
    match change:
        case "without weights":
            (folder / "model.safetensors").unlink()
        case "damaged":
            (folder / "model.safetensors").write_bytes(b"no weights")
        case "pickled":
            torch.save({}, folder / "pytorch_model.bin")
            (folder / "model.safetensors").unlink()
        case "of another model":
            shutil.copy(source.with_name("resnet") / "model.safetensors", folder)
        case "of no backbone":
            (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
        case "without configuration":
            (folder / "config.json").unlink()
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("without weights", "the weights can't be read: "),
        ("damaged", "the weights can't be read: "),
        ("pickled", "the weights can't be read: "),
        ("of another model", "the weights aren't those of its config.json: missing swin.embeddings."),
        ("of no backbone", "expected a backbone of four stages, found a model of type bert"),
        ("without configuration", "expected a backbone: small, a directory or a published one's name; "),
    ],
)
def test_what_is_no_backbone_is_refused(
    published: dict[str, Path], tmp_path: Path, change: str, message: str
) -> None:
    folder = changed(published["swin"], tmp_path / "changed", change)
    with pytest.raises(CheckpointError, match=re.escape(f"{folder}: {message}")):
        load_backbone(str(folder))


@pytest.mark.parametrize("name", ["smal", "./nowhere", "/nowhere/at-all", "nobody/nothing"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"^{re.escape(name)}: expected a "):
        backbone_config(name)
