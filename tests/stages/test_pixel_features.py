"""What pixels are compared by: levels scaled or not, one encoder or several, ViTs, and the controls."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Dinov2Backbone, Dinov2Config

from partdistillation.config import Recipe, SegmentsConfig
from partdistillation.errors import ConfigError
from partdistillation.models.encoder import Encoder
from partdistillation.objects.detic.config import DeticConfig
from partdistillation.objects.detic.files import save
from partdistillation.objects.detic.network import DeticNetwork
from partdistillation.stages.pixel_features import (
    encoder_files,
    encoder_settings,
    make_features,
)
from partdistillation.stages.pretrain import start_of

CPU = torch.device("cpu")
GREY = (120, 120, 120)


def two_coloured(height: int, width: int) -> np.ndarray:
    """An image with a rectangle, red on the left and blue on the right."""
    image = np.full((height, width, 3), GREY, np.uint8)
    image[height // 4 : -4, 4 : width // 2] = (200, 30, 30)
    image[height // 4 : -4, width // 2 : -4] = (30, 30, 200)
    return image


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A DINOv2 with patches of 14 pixels."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vit")
    config = Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=56)
    Dinov2Backbone(config).save_pretrained(folder)
    return str(folder)


def test_a_detic_gives_the_features_of_its_backbone(tmp_path: Path) -> None:
    tiny = DeticConfig(
        embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=4, pyramid_channels=32,
        proposal_convs=1, fc_dims=(8, 8), embedding_dim=8, mask_convs=1, mask_channels=8,
        pixel_mean=(0.1, 0.2, 0.3),
    )  # fmt: skip
    network = DeticNetwork.create(tiny, seed=0)
    save(tmp_path, network)
    image = two_coloured(64, 96)
    with torch.no_grad():
        level3, level4, _ = network.backbone(network.pixels([image])).feature_maps
    config = SegmentsConfig(levels=(3, 4))
    found = make_features(str(tmp_path), config, torch.device("cpu"))(image)
    torch.testing.assert_close(found[:16], level3[0], atol=0.02, rtol=0.02)  # may be in bfloat16
    assert found.shape == (16 + level4.shape[1], 8, 12)
    with pytest.raises(ConfigError, match=r"expected some of 3, 4, 5.* Detic"):
        make_features(str(tmp_path), replace(config, levels=(2, 3)), torch.device("cpu"))


def test_features_are_the_encoders_or_a_controls(tiny_recipe: Recipe) -> None:
    image = two_coloured(40, 64)
    maps = {}
    for kind in ("encoder", "random", "rgb_xy"):
        config = SegmentsConfig(
            features=kind, levels=(3, 4), seed=1
        )  # stage 0's own weights are drawn from 0
        maps[kind] = make_features(tiny_recipe.encoder, config, torch.device("cpu"))(image)
    trained = Encoder.from_pretrained(tiny_recipe.encoder, levels=(3, 4))
    assert torch.equal(maps["encoder"][: maps["encoder"].shape[0] // 2], trained.levels([image])[0][0])
    assert maps["random"].shape == maps["encoder"].shape
    assert not torch.equal(maps["random"], maps["encoder"])
    colour, position = maps["rgb_xy"][:3], maps["rgb_xy"][3:]
    assert maps["rgb_xy"].shape == (5, 16, 16)  # at 1/4 of the padded image
    torch.testing.assert_close(colour[:, 0, 0], torch.tensor(GREY) / 255)
    assert position[:, 3, 8].tolist() == [8 / 16, 3 / 16]


def test_levels_can_count_alike(tiny_recipe: Recipe) -> None:
    image = two_coloured(40, 64)
    config = SegmentsConfig(levels=(2, 3), level_norm="unit")
    features = make_features(tiny_recipe.encoder, config, CPU)(image)
    fine, coarse = Encoder.from_pretrained(tiny_recipe.encoder, levels=(2, 3)).levels([image])
    width = fine.shape[1]
    lengths = features[:width].norm(dim=0)[fine[0].any(dim=0)]  # in the padding all may be 0
    assert len(lengths) > 100
    torch.testing.assert_close(lengths, torch.ones(len(lengths)))
    torch.testing.assert_close(features[:width] * fine[0].norm(dim=0), fine[0], atol=1e-5, rtol=1e-4)
    raw = make_features(tiny_recipe.encoder, replace(config, level_norm="none"), CPU)(image)
    torch.testing.assert_close(raw[:width], fine[0])
    assert features[width:].norm(dim=0).max() <= 1 + 1e-5  # upsampled between unit vectors: shorter
    assert coarse.shape[1] == len(features) - width


def test_a_vit_s_map_covers_the_image_padded_to_its_patches(vit: str) -> None:
    image = two_coloured(40, 64)
    features = make_features(vit, SegmentsConfig(levels=(3, 4)), CPU)
    assert features.stride == 14
    assert features(image).shape == (16, 3, 5)  # 42 x 70 pixels
    mask = np.ones((1, 40, 64), np.bool_)
    assert features.padded(mask).shape == (1, 42, 70)
    assert features.padded(mask).sum() == 40 * 64


def test_encoders_are_read_one_after_the_other(vit: str, tiny_recipe: Recipe) -> None:
    """On one field: 224 is the least that both strides divide."""
    image = two_coloured(40, 64)
    config = SegmentsConfig(levels=(3, 4), encoders=(vit, tiny_recipe.encoder))
    both = make_features("not/asked", config, CPU)
    assert both.stride == 224
    found = both(image)
    (tokens,) = Encoder.from_pretrained(vit).levels([image], stride=224)
    fine, coarse = Encoder.from_pretrained(tiny_recipe.encoder).levels([image], stride=224)
    assert tokens.shape[2:] == (16, 16)
    assert found.shape == (tokens.shape[1] + fine.shape[1] + coarse.shape[1], 28, 28)
    torch.testing.assert_close(found[16 : 16 + fine.shape[1]], fine[0])
    assert encoder_settings("x", config) == {"encoder": [vit, tiny_recipe.encoder]}
    assert encoder_files("x/y", config) == [Path(vit), Path(tiny_recipe.encoder)]
    assert encoder_settings(vit, SegmentsConfig()) == {"encoder": vit}


def test_a_published_encoder_is_held_at_its_commit(
    published: Callable[[Path, str], str], tiny_recipe: Recipe, tmp_path: Path
) -> None:
    """What has begun with a commit goes on with that alone, by whatever name."""
    shutil.copytree(tiny_recipe.encoder, tmp_path / "model")
    first = published(tmp_path / "model", "owner/name")
    (tmp_path / "model/README.md").write_text("of later")
    second = published(tmp_path / "model", "owner/name")
    old, new = f"owner/name@{first}", f"owner/name@{second}"
    config, architecture = SegmentsConfig(), tiny_recipe.pretrain
    for name in ("owner/name", "owner/name@main", new):
        assert encoder_settings(name, config) == {"encoder": new}
    assert encoder_settings(old, config) == {"encoder": old}
    assert encoder_settings("", replace(config, encoders=("owner/name",))) == {"encoder": [new]}
    assert start_of("owner/name@main", architecture) == start_of(new, architecture) == {"encoder": [new]}
    assert start_of(old, architecture) == {"encoder": [old]}


def test_a_level_that_a_vit_lacks_is_refused(vit: str) -> None:
    with pytest.raises(ConfigError, match=r"expected 4 among them, .* plain ViT with patches of 14 pixels"):
        make_features(vit, SegmentsConfig(levels=(2, 3)), CPU)
