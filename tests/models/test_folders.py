"""Model folders from anybody: named errors, in bounded time and memory, and never a pickle."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from partdistillation.errors import CheckpointError
from partdistillation.models.backbones import load_backbone
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.runs import digests

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def directory(small_network: PartMask2Former, tmp_path: Path) -> Path:
    network = small_network.with_head(["car", "cat"], num_parts=3, seed=1)
    network.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(
    "content", ["[]", "[" * 200_000, '{"a":' * 200_000, "null", '"text"', "", "{", "\ud800", "9" * 5000]
)
def test_a_config_that_is_none(directory: Path, content: str) -> None:
    (directory / "config.json").write_bytes(content.encode(errors="surrogatepass"))
    for load in (PartMask2Former.from_pretrained, load_backbone):
        with pytest.raises(CheckpointError, match=r"config\.json: expected"):
            load(str(directory))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pixel_mean", [0.5] * 9, "pixel_mean: expected three finite numbers, found"),
        ("pixel_mean", [0.5, 0.5, float("nan")], "pixel_mean"),
        ("pixel_mean", "abc", "pixel_mean"),
        ("pixel_std", [1, 0, 1], "pixel_std: expected three finite numbers above 0"),
        ("num_parts", 10**9, "num_parts: expected an integer from 0 to 10000"),
        ("num_parts", -1, "num_parts"),
        ("num_parts", 2.0, "num_parts"),
        ("num_parts", 9_999, "expected 19999 rows of class_predictor"),
        ("image_size", 0, "image_size: expected an integer from 1 to 16384, found 0"),
        ("image_size", "64", "image_size"),
        ("image_size", 10**400, "image_size"),
        ("class_names", ["car", "car"], "expected each name once, found 'car' 2 times"),
        ("class_names", "ca", "class_names: expected a list of names, found 'ca'"),
        ("class_names", [1, 2], "class_names"),
        ("class_names", [], "class_names"),
        ("normalize_mask_embeddings", "false", "expected true or false"),
    ],
)
def test_values_of_our_section(directory: Path, name: str, value: object, message: str) -> None:
    edit(directory, lambda values: values["partdistillation"].update({name: value}))
    with pytest.raises(CheckpointError, match=message):
        PartMask2Former.from_pretrained(directory)


@pytest.mark.parametrize("section", [[], 3, "text"])
def test_a_section_that_is_none(directory: Path, section: object) -> None:
    edit(directory, lambda values: values.update(partdistillation=section))
    with pytest.raises(CheckpointError, match="section partdistillation: expected a JSON object"):
        PartMask2Former.from_pretrained(directory)


@pytest.mark.parametrize("name", ["hidden_dim", "num_queries", "feature_size", "dim_feedforward"])
@pytest.mark.parametrize("size", [10**12, 900_000])
def test_networks_larger_than_memory(directory: Path, name: str, size: int) -> None:
    edit(directory, lambda values: values.update({name: size}))
    with pytest.raises(CheckpointError, match=r"expected at most 1000000|a network of .* numbers; found"):
        PartMask2Former.from_pretrained(directory)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(encoder_layers=10**6),
        lambda values: values.update(decoder_layers=10**6),
        lambda values: values["backbone_config"].update(depths=[100] * 4),
        lambda values: values.update(num_labels=10**9, id2label=None),
        lambda values: values.update(common_stride=-3),
        lambda values: values.update(id2label=[1]),
        lambda values: values.update(backbone_config="x"),
        lambda values: values.update(partdistillation=None, id2label={"5": "car"}),
        lambda values: values.update(partdistillation=None, id2label={"0": 1, "1": 2, "2": 3}),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in log2:RuntimeWarning")
def test_configurations_that_no_network_has(directory: Path, change: Change) -> None:
    edit(directory, change)
    with pytest.raises(CheckpointError):
        PartMask2Former.from_pretrained(directory)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(directory: Path, value: float) -> None:
    weights = load_file(directory / "model.safetensors")
    name = "model.transformer_module.level_embed.weight"
    weights[name][0, 0] = value
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"found NaN or infinity in {name}"):
        PartMask2Former.from_pretrained(directory)


def test_weights_in_several_files(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = PartMask2Former.from_pretrained(directory).state_dict()
    names = list(load_file(directory / "model.safetensors"))
    (directory / "model.safetensors").rename(directory / "first.safetensors")
    (directory / digests.FILE).unlink()  # it names the files that were there
    torch.save({}, directory / "second.bin")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was loaded"))
    write_index(directory, dict.fromkeys(names, "first.safetensors"))
    torch.testing.assert_close(PartMask2Former.from_pretrained(directory).state_dict(), expected)
    for file in ("second.bin", "../model/first.safetensors", str(directory / "first.safetensors"), 3):
        write_index(directory, dict.fromkeys(names, "first.safetensors") | {names[3]: file})
        for load in (PartMask2Former.from_pretrained, load_backbone):
            with pytest.raises(CheckpointError, match=r"pickles are never loaded|expected a backbone"):
                load(str(directory))
    for content in ("[]", "[" * 200_000, "{}", '{"weight_map": []}'):
        (directory / "model.safetensors.index.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"index\.json: expected"):
            PartMask2Former.from_pretrained(directory)


def edit(directory: Path, change: Change) -> None:
    path = directory / "config.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def write_index(directory: Path, files: dict[str, Any]) -> None:
    content = json.dumps({"metadata": {}, "weight_map": files})
    (directory / "model.safetensors.index.json").write_text(content)
