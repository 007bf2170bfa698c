"""The authors' names and settings. That the translated weights compute the same is tests/parity's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from partdistillation.convert.detic import infer_config, load_official_state_dict, translate
from partdistillation.errors import CheckpointError
from partdistillation.objects.detic.config import DeticConfig

from ..parity.detic import official_shapes

CONFIG = DeticConfig(
    embed_dim=8,
    depths=(1, 3, 1, 2),
    num_heads=(1, 2, 2, 4),
    window_size=3,
    mlp_ratio=3.0,
    patch_size=4,
    pyramid_channels=64,
    proposal_convs=3,
    fc_dims=(16, 24, 20),
    embedding_dim=12,
    box_resolution=5,
    mask_convs=2,
    mask_channels=8,
)
RANDOM = torch.Generator().manual_seed(0)


@pytest.fixture
def state() -> dict[str, Tensor]:
    return {name: torch.randn(shape, generator=RANDOM) for name, shape in official_shapes(CONFIG).items()}


def test_the_shapes_tell_the_architecture(state: Mapping[str, Tensor]) -> None:
    assert infer_config(state) == CONFIG


def test_the_published_architecture() -> None:
    state = {
        name: torch.empty(shape, device="meta") for name, shape in official_shapes(DeticConfig()).items()
    }
    assert infer_config(state) == DeticConfig()
    # Swin-B's 87 million, 3 x 14 million of the box heads, ...
    assert 140e6 < sum(value.numel() for value in state.values()) < 170e6


def test_every_weight_finds_its_place(state: dict[str, Tensor]) -> None:
    state["backbone.bottom_up.layers.1.blocks.1.attn.relative_position_index"] = torch.zeros(9, 9)
    state["roi_heads.box_predictor.0.freq_weight"] = torch.zeros(7)
    network = load_official_state_dict(state)
    assert network.config == CONFIG
    assert not network.training
    own = network.state_dict()
    pairs = {
        "backbone.fpn_lateral4.bias": "pyramid.lateral.4.bias",
        "proposal_generator.centernet_head.scales.3.scale": "proposals.scales.3",
        "proposal_generator.centernet_head.bbox_tower.7.weight": "proposals.tower.7.weight",
        "roi_heads.box_head.2.fc3.weight": "cascade.2.layers.3.weight",
        "roi_heads.box_predictor.1.bbox_pred.2.bias": "cascade.1.deltas.2.bias",
        "roi_heads.mask_head.mask_fcn2.weight": "masks.layers.2.weight",
    }
    for official, ours in pairs.items():
        assert torch.equal(own[ours], state[official])
    assert len(own) >= sum("zs_weight" not in name for name in state) - 2


def test_half_precision_and_arrays(state: dict[str, Tensor]) -> None:
    network = load_official_state_dict({name: value.half().numpy() for name, value in state.items()})
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_rows_that_are_stored_together() -> None:
    rows = torch.arange(6.0)[:, None]
    name = "backbone.bottom_up.layers.0.blocks.0.attn.qkv.weight"
    found = dict(translate(name, rows))
    attention = "backbone.encoder.layers.0.blocks.0.attention.self."
    assert list(found) == [f"{attention}{one}.weight" for one in ("query", "key", "value")]
    assert found[attention + "key.weight"].tolist() == [[2.0], [3.0]]


def test_weights_that_don_t_fit(state: dict[str, Tensor]) -> None:
    del state["backbone.fpn_output4.bias"]
    state["roi_heads.mask_head.deconv.bias"] = torch.zeros(9)
    state["roi_heads.caption_head.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load_official_state_dict(state)
    message = str(caught.value)
    assert "missing pyramid.output.4.bias" in message
    assert "masks.upsample.bias has shape (9,), expected (8,)" in message
    assert "unexpected roi_heads.caption_head.weight" in message


@pytest.mark.parametrize(
    "missing",
    [
        "backbone.bottom_up.patch_embed.proj.weight",
        "backbone.bottom_up.layers.0.blocks.0.mlp.fc1.weight",
        "roi_heads.box_predictor.0.cls_score.linear.weight",
    ],
)
def test_another_network_s_weights(state: dict[str, Tensor], missing: str) -> None:
    del state[missing]
    with pytest.raises(CheckpointError, match=f"{missing} is missing"):
        load_official_state_dict(state)


def test_a_weight_with_other_axes(state: dict[str, Tensor]) -> None:
    state["backbone.bottom_up.patch_embed.proj.weight"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match="number of axes"):
        load_official_state_dict(state)


def test_another_number_of_stages(state: dict[str, Tensor]) -> None:
    fewer = {name: value for name, value in state.items() if "box_predictor.2" not in name}
    with pytest.raises(CheckpointError, match=r"expected 3 cascade stages.*found 2"):
        load_official_state_dict(fewer)


def test_settings(state: dict[str, Tensor]) -> None:
    settings: dict[str, Any] = {
        "MODEL": {
            "PIXEL_MEAN": [127.5, 51.0, 255.0],
            "CENTERNET": {"POST_NMS_TOPK_TEST": 77, "WITH_AGN_HM": True},
            "ROI_HEADS": {"SCORE_THRESH_TEST": 0.125},
            "ROI_BOX_CASCADE_HEAD": {"BBOX_REG_WEIGHTS": [[1.0, 2.0, 3.0, 4.0]] * 3},
        },
        "INPUT": {"MIN_SIZE_TEST": 640},
        "TEST": {"DETECTIONS_PER_IMAGE": 11},
        "SOLVER": {"BASE_LR": 1.0},
    }
    assert infer_config(state, settings) == replace(
        CONFIG,
        pixel_mean=(0.5, 0.2, 1.0),
        proposals=77,
        score_threshold=0.125,
        delta_weights=((1.0, 2.0, 3.0, 4.0),) * 3,
        min_size=640,
        max_detections=11,
    )


def test_settings_of_another_network(state: dict[str, Tensor]) -> None:
    with pytest.raises(CheckpointError, match=r"MODEL\.ROI_BOX_HEAD\.USE_SIGMOID_CE True, found False"):
        load_official_state_dict(state, {"MODEL": {"ROI_BOX_HEAD": {"USE_SIGMOID_CE": False}}})
    with pytest.raises(CheckpointError, match=r"FPN_STRIDES \[8, 16, 32, 64, 128\], found \[4, 8\]"):
        load_official_state_dict(state, {"MODEL": {"CENTERNET": {"FPN_STRIDES": [4, 8]}}})


def test_given_settings_are_used(state: dict[str, Tensor]) -> None:
    network = load_official_state_dict(state, {"MODEL": {"CENTERNET": {"POST_NMS_TOPK_TEST": 5}}})
    assert network.config == replace(CONFIG, proposals=5)
