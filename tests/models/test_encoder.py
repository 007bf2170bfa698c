"""The frozen encoder: levels, padding, precision, the random control."""

from pathlib import Path

import numpy as np
import pytest
import torch

from partdistillation.data.canvas import padded_size
from partdistillation.errors import CheckpointError, ConfigError
from partdistillation.models.encoder import Encoder, has_bfloat16, normalize_images
from partdistillation.models.part_mask2former import PartMask2Former

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)


@pytest.fixture(params=["small_network", "small_swin"])
def network(request: pytest.FixtureRequest) -> PartMask2Former:
    result: PartMask2Former = request.getfixturevalue(request.param)
    return result


def test_normalization() -> None:
    grey = torch.full((1, 2, 3, 3), 255, dtype=torch.uint8)
    result = normalize_images(grey)
    assert result.shape == (1, 3, 2, 3)
    np.testing.assert_allclose(result[0, :, 0, 0], [2.2489, 2.4286, 2.64], atol=1e-4)


@pytest.mark.parametrize("levels", [(2,), (3,), (3, 4), (2, 5), (2, 3, 4, 5)])
def test_levels_are_those_of_the_network(network: PartMask2Former, levels: tuple[int, ...]) -> None:
    """Although the stages after the last level aren't there any more."""
    with torch.no_grad():
        expected = network.encode(normalize_images(torch.from_numpy(IMAGES)))
    found = Encoder.from_network(network, levels=levels, bfloat16=False).levels(IMAGES)
    for level, one in zip(levels, found, strict=True):
        assert not one.requires_grad
        torch.testing.assert_close(one, expected[level - 2])


def test_later_stages_are_dropped(network: PartMask2Former) -> None:
    def size(*levels: int) -> int:
        return sum(p.numel() for p in Encoder.from_network(network, levels=levels)._backbone.parameters())

    assert size(2) < size(2, 3) < size(3, 4) < size(5)
    before = len(network.encode(torch.zeros(1, 3, 32, 32)))
    assert before == 4


def test_images_of_different_sizes_are_padded(small_network: PartMask2Former) -> None:
    encoder = Encoder.from_network(small_network, levels=(3,))
    small, large = IMAGES[0, :40, :60], IMAGES[1]
    small.flags.writeable = False  # as Pillow's arrays
    (maps,) = encoder.levels([small, large])
    assert maps.shape[-2:] == (8, 12)
    padded = np.round(255 * np.array(encoder.mean)) * np.ones((64, 96, 1))
    padded[:40, :60] = small
    (by_hand,) = encoder.levels(padded.astype(np.uint8)[None])
    torch.testing.assert_close(maps[:1], by_hand, atol=0.02, rtol=0.02)
    assert padded_size(40, 60) == (64, 64)
    assert padded_size(64, 96) == (64, 96)


def test_the_control_has_the_same_shape_and_other_values(network: PartMask2Former) -> None:
    trained = Encoder.from_network(network)
    control, again, other = (Encoder.random(trained, seed).levels(IMAGES) for seed in (1, 1, 2))
    for mine, first, second, third in zip(trained.levels(IMAGES), control, again, other, strict=True):
        assert mine.shape == first.shape
        assert torch.equal(first, second)
        assert not torch.allclose(mine, first)
        assert not torch.allclose(third, first)


def test_the_networks_own_encoder_is_untouched(small_network: PartMask2Former) -> None:
    small_network.train()
    Encoder.from_network(small_network)
    backbone = small_network.model.pixel_level_module.encoder
    assert backbone.training
    assert all(p.requires_grad for p in backbone.parameters())


def test_what_comes_after_the_last_level_is_not_computed(small_swin: PartMask2Former) -> None:
    backbone = Encoder.from_network(small_swin, levels=(3, 4))._backbone
    names = [name for name, _ in backbone.named_modules()]
    assert any(name.startswith("swin.encoder.layers.1.downsample") for name in names)
    assert not any(
        name.startswith(("swin.encoder.layers.2.downsample", "swin.encoder.layers.3")) for name in names
    )


def test_attention_is_one_operation(small_swin: PartMask2Former) -> None:
    """transformers' default, unless a saved configuration says otherwise."""
    assert Encoder.from_network(small_swin)._backbone.config._attn_implementation == "sdpa"


def test_bfloat16_stays_near(network: PartMask2Former) -> None:
    exact, rough = (
        Encoder.from_network(network, bfloat16=mixed).levels(IMAGES)[0] for mixed in (False, True)
    )
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert (rough - exact).norm() < 0.015 * exact.norm()


def test_bfloat16_is_chosen_where_it_is_native(
    small_network: PartMask2Former, small_swin: PartMask2Former, monkeypatch: pytest.MonkeyPatch
) -> None:
    for native in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda native=native: {"avx512_bf16": native})
        assert Encoder.from_network(small_swin).bfloat16 == native
        assert not Encoder.from_network(small_network).bfloat16
    assert not Encoder.from_network(small_swin, bfloat16=False).bfloat16
    assert not has_bfloat16(torch.device("meta"))


def test_loading(small_network: PartMask2Former, tmp_path: Path) -> None:
    expected = Encoder.from_network(small_network).levels(IMAGES)
    small_network.save_pretrained(tmp_path / "network")
    torch.testing.assert_close(Encoder.from_pretrained(tmp_path / "network").levels(IMAGES), expected)
    small_network.model.pixel_level_module.encoder.save_pretrained(tmp_path / "backbone")
    torch.testing.assert_close(Encoder.from_pretrained(tmp_path / "backbone").levels(IMAGES), expected)
    with pytest.raises(CheckpointError, match="there is none"):
        Encoder.from_pretrained(tmp_path / "nothing")


@pytest.mark.parametrize("levels", [(), (4, 3), (1,), (6,), (3, 3)])
def test_wrong_levels(small_network: PartMask2Former, levels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="levels"):
        Encoder.from_network(small_network, levels=levels)
