"""Conversion of the authors' checkpoints, without them: a network of ours goes to their names and back."""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import Mask2FormerConfig, SwinConfig

from partdistillation.convert.mask2former import (
    convert_checkpoint,
    load_official_state_dict,
    translate,
)
from partdistillation.errors import CheckpointError
from partdistillation.models.heads import PartHead
from partdistillation.models.part_mask2former import PartMask2Former, mask_logits
from partdistillation.models.pretrained import ModelInfo

IMAGES = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))

SWIN = SwinConfig(  # type: ignore[call-arg]
    embed_dim=8,
    depths=[1, 2, 1, 1],
    num_heads=[1, 2, 2, 4],
    window_size=3,
    mlp_ratio=2.0,
    drop_path_rate=0.3,
    out_features=["stage1", "stage2", "stage3", "stage4"],
)
CONFIG = Mask2FormerConfig(
    backbone_config=SWIN,
    feature_size=32,
    mask_feature_size=64,
    hidden_dim=32,
    encoder_layers=2,
    encoder_feedforward_dim=40,
    decoder_layers=3,
    dim_feedforward=48,
    num_queries=6,
    num_attention_heads=4,
)


def official_names() -> list[str]:
    """Every weight of such a network in the authors' code, written out from its modules."""

    def both(*modules: str) -> list[str]:
        return [f"{module}.{kind}" for module in modules for kind in ("weight", "bias")]

    names = both("backbone.patch_embed.proj", "backbone.patch_embed.norm")
    for stage, depth in enumerate([1, 2, 1, 1]):
        for block in range(depth):
            prefix = f"backbone.layers.{stage}.blocks.{block}."
            names += both(*(prefix + one for one in ("norm1", "norm2", "attn.qkv", "attn.proj")))
            names += both(prefix + "mlp.fc1", prefix + "mlp.fc2")
            names.append(prefix + "attn.relative_position_bias_table")
        if stage < 3:
            names += [f"backbone.layers.{stage}.downsample.reduction.weight"]
            names += both(f"backbone.layers.{stage}.downsample.norm")
        names += both(f"backbone.norm{stage}")
    pixel = "sem_seg_head.pixel_decoder."
    for level in range(3):
        names += both(pixel + f"input_proj.{level}.0", pixel + f"input_proj.{level}.1")
    names.append(pixel + "transformer.level_embed")
    for layer in range(2):
        prefix = pixel + f"transformer.encoder.layers.{layer}."
        names += both(*(prefix + one for one in ("norm1", "norm2", "linear1", "linear2")))
        attention = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")
        names += both(*(prefix + "self_attn." + one for one in attention))
    names += [pixel + "adapter_1.weight", pixel + "layer_1.weight"]
    names += both(pixel + "adapter_1.norm", pixel + "layer_1.norm", pixel + "mask_features")
    predictor = "sem_seg_head.predictor."
    for layer in range(2):
        for kind, module in (("self", "self_attn"), ("cross", "multihead_attn")):
            prefix = predictor + f"transformer_{kind}_attention_layers.{layer}."
            names += [prefix + module + ".in_proj_weight", prefix + module + ".in_proj_bias"]
            names += both(prefix + module + ".out_proj", prefix + "norm")
        prefix = predictor + f"transformer_ffn_layers.{layer}."
        names += both(prefix + "linear1", prefix + "linear2", prefix + "norm")
    names += both(predictor + "decoder_norm", predictor + "class_embed")
    names += both(*(predictor + f"mask_embed.layers.{layer}" for layer in range(3)))
    return names + [predictor + f"{one}.weight" for one in ("query_feat", "query_embed", "level_embed")]


def to_official(network: PartMask2Former, folder: Path) -> dict[str, Tensor]:
    """The network's weights under the authors' names: what is apart here is put together again."""
    network.save_pretrained(folder)
    published = load_file(folder / "model.safetensors")
    state = {}
    for name in official_names():
        # three rows, to see which weights are stored together
        parts = [one for one, _ in translate(name, torch.zeros(3))]
        state[name] = torch.cat([published.pop(one) for one in parts])
    left = {f"model.pixel_level_module.encoder.swin.layernorm.{kind}" for kind in ("weight", "bias")}
    assert set(published) == left  # no level reads it
    return state


@pytest.fixture(scope="module")
def network() -> PartMask2Former:
    return PartMask2Former.create(CONFIG, ModelInfo(("car", "cat")), seed=0).eval()


@pytest.fixture(scope="module")
def official(network: PartMask2Former, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return to_official(network, tmp_path_factory.mktemp("models") / "classes")


def test_there_and_back(network: PartMask2Former, official: dict[str, Tensor]) -> None:
    """The architecture is found too: the same configuration, the same values."""
    again = load_official_state_dict(official, class_names=["car", "cat"])
    assert again.info == network.info
    for name in ("feature_size", "mask_feature_size", "hidden_dim", "num_queries", "num_attention_heads"):
        assert getattr(again.model.config, name) == getattr(network.model.config, name)
    found, expected = (one.model.config.backbone_config for one in (again, network))
    for name in ("embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "patch_size"):
        assert getattr(found, name) == getattr(expected, name)
    torch.testing.assert_close(mask_logits(again(IMAGES)), mask_logits(network(IMAGES)))


def test_part_rows(network: PartMask2Former, tmp_path: Path) -> None:
    parts = network.with_head(["car", "cat"], num_parts=3, seed=1)
    state = to_official(parts, tmp_path / "parts")
    again = load_official_state_dict(state, num_parts=3)
    assert isinstance(again.class_predictor, PartHead)
    assert again.info.class_names == ("0", "1")
    expected = parts.class_logits(parts(IMAGES), [[1, 0]])
    torch.testing.assert_close(again.class_logits(again(IMAGES), [[1, 0]]), expected)


def test_buffers_are_ignored(official: dict[str, Tensor]) -> None:
    extra = {
        "backbone.layers.0.blocks.0.attn.relative_position_index": torch.zeros(9, 9),
        "criterion.empty_weight": torch.ones(3),
        "pixel_mean": torch.zeros(3),
    }
    load_official_state_dict(official | extra)


def first_version(name: str) -> str:
    """The pixel decoder in the head itself, as Mask2Former's loading code says it was."""
    name = name.replace("query_feat", "static_query")
    return name.replace("sem_seg_head.pixel_decoder.", "sem_seg_head.")


def wrapped(name: str) -> str:
    return f"module.{name}"


@pytest.mark.parametrize("rename", [first_version, wrapped, lambda name: wrapped(first_version(name))])
def test_other_names_of_the_same_weights(
    network: PartMask2Former, official: dict[str, Tensor], rename: Callable[[str], str]
) -> None:
    renamed = {rename(name): value for name, value in official.items()}
    assert renamed.keys() != official.keys()
    again = load_official_state_dict(renamed)
    torch.testing.assert_close(mask_logits(again(IMAGES)), mask_logits(network(IMAGES)))


def with_rows(official: dict[str, Tensor], rows: int) -> dict[str, Tensor]:
    embed = "sem_seg_head.predictor.class_embed."
    return official | {embed + "weight": torch.randn(rows + 1, 32), embed + "bias": torch.zeros(rows + 1)}


def test_eighty_classes_are_coco_s(official: dict[str, Tensor], tmp_path: Path) -> None:
    state = with_rows(official, 80)
    names = load_official_state_dict(state).info.class_names
    assert (len(set(names)), names[0], names[-1]) == (80, "person", "toothbrush")
    assert names[16] == "dog"  # as the published model's config.json says
    named = load_official_state_dict(state, class_names=[f"class {row}" for row in range(80)])
    assert named.info.class_names[0] == "class 0"
    assert load_official_state_dict(with_rows(official, 79)).info.class_names[0] == "0"
    assert load_official_state_dict(state, num_parts=8).info.class_names == tuple(map(str, range(10)))


@pytest.mark.parametrize(("rows", "num_parts", "size"), [(80, 0, 1024), (1, 0, 640), (16, 8, 640)])
def test_objects_are_found_at_1024_pixels_and_parts_at_640(
    official: dict[str, Tensor], tmp_path: Path, rows: int, num_parts: int, size: int
) -> None:
    write(tmp_path / "a.pth", with_rows(official, rows))
    convert_checkpoint(tmp_path / "a.pth", tmp_path / "out", num_parts=num_parts)
    assert PartMask2Former.from_pretrained(tmp_path / "out").info.image_size == size


def test_a_checkpoint_of_training(
    network: PartMask2Former, official: dict[str, Tensor], tmp_path: Path
) -> None:
    """As detectron2 writes it: with the states of optimizer and scheduler, and averaged weights."""
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 4])
    weights = OrderedDict(official | {"backbone.norm.num_batches_tracked": torch.tensor(3)})
    weights._metadata = OrderedDict({"": {"version": 1}, "sem_seg_head": {"version": 2}})  # type: ignore[attr-defined]
    content = {
        "model": weights,
        "model_ema": {name: torch.zeros_like(value) for name, value in official.items()},
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "trainer": {"iteration": 7, "hooks": {}, "_trainer": {"grad_scaler": {"scale": 65536.0}}},
        "iteration": 7,
    }
    torch.save(content, tmp_path / "model_final.pth")
    convert_checkpoint(tmp_path / "model_final.pth", tmp_path / "out")
    again = PartMask2Former.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(mask_logits(again(IMAGES)), mask_logits(network(IMAGES)))


def test_what_doesnt_fit_is_named(official: dict[str, Tensor]) -> None:
    name = "sem_seg_head.predictor.decoder_norm.weight"
    state = official | {name: torch.ones(5), "sem_seg_head.predictor.other": torch.ones(1)}
    del state["sem_seg_head.pixel_decoder.mask_features.bias"]
    with pytest.raises(CheckpointError) as caught:
        load_official_state_dict(state)
    message = str(caught.value)
    assert "missing model.pixel_level_module.decoder.mask_projection.bias" in message
    assert "decoder.layernorm.weight has shape (5,), expected (32,)" in message
    assert "unexpected model.transformer_module.other" in message


def test_other_networks(official: dict[str, Tensor]) -> None:
    with pytest.raises(CheckpointError, match=r"Swin .* backbone.patch_embed.proj.weight is missing"):
        load_official_state_dict({"backbone.stem.conv1.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"expected 2 class names, .* found 1"):
        load_official_state_dict(official, class_names=["car"])
    with pytest.raises(CheckpointError, match=r"expected 3 class rows .* found 2 rows"):
        load_official_state_dict(official, num_parts=3)


# ---------------------------------------------------------------------- files


def write(path: Path, state: dict[str, Tensor]) -> None:
    if path.suffix == ".pth":
        torch.save({"model": state, "iteration": 7}, path)
        return
    arrays = OrderedDict((name, value.numpy()) for name, value in state.items())
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "third party"}, protocol=2))


@pytest.mark.parametrize("name", ["model.pth", "model.pkl"])
def test_files(network: PartMask2Former, official: dict[str, Tensor], tmp_path: Path, name: str) -> None:
    write(tmp_path / name, official)
    convert_checkpoint(tmp_path / name, tmp_path / "out", class_names=["car", "cat"])
    again = PartMask2Former.from_pretrained(tmp_path / "out")
    assert again.info == replace(network.info, image_size=1024)
    torch.testing.assert_close(mask_logits(again(IMAGES)), mask_logits(network(IMAGES)))
    assert f"| Converted from | {name} |" in (tmp_path / "out" / "README.md").read_text()
