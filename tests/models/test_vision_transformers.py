"""Plain ViTs: what their map is called and covers; CLIP's and SAM's, whose classes are no backbones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionModel,
    Dinov2Config,
    DINOv3ViTConfig,
    ResNetConfig,
    SamConfig,
    SamModel,
    SamVisionModel,
    SwinConfig,
    VitDetConfig,
)

from partdistillation.data.canvas import IMAGENET_MEAN, IMAGENET_STD
from partdistillation.errors import CheckpointError, ConfigError
from partdistillation.models.backbones import load_backbone, pixel_statistics
from partdistillation.models.encoder import Encoder
from partdistillation.models.vision_transformers import Grid, grid_of
from partdistillation.stages.pretrain import is_backbone

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 72, 3), np.uint8)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip")
    text: Any = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50,
                 "intermediate_size": 16, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
    vision: Any = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 16,
                   "intermediate_size": 16, "image_size": 64}  # fmt: skip
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    statistics = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics))
    return folder


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sam")
    vision: Any = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 16,
                   "image_size": 96, "patch_size": 16, "output_channels": 8, "global_attn_indexes": [1],
                   "window_size": 2}  # fmt: skip
    SamModel(SamConfig(vision_config=vision)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("config", "grid"),
    [
        (Dinov2Config(), Grid(14, 14, 4)),
        (Dinov2Config(patch_size=13), Grid(13, 13, 4)),
        (Dinov2Config(patch_size=8), Grid(8, 8, 3)),
        (Dinov2Config(patch_size=32), Grid(32, 32, 5)),
        (DINOv3ViTConfig(), Grid(16, 16, 4)),
        (VitDetConfig(), Grid(16, 16, 4)),
        (SwinConfig(), None),
        (ResNetConfig(), None),
    ],
)
def test_how_an_image_is_divided(config: Any, grid: Grid | None) -> None:
    assert grid_of(config) == grid


def by_hand(encoder: Encoder, height: int, width: int) -> torch.Tensor:
    """The image normalised, the mean colour right of it and below."""
    pixels = np.zeros((height, width, 3), np.float32)
    pixels[: len(IMAGE), : len(IMAGE[0])] = (IMAGE / 255 - np.array(encoder.mean)) / np.array(encoder.std)
    return torch.from_numpy(pixels).movedim(-1, 0)[None]


def test_clip_s_map_is_that_of_its_patches(clip: Path) -> None:
    encoder = Encoder.from_pretrained(str(clip), levels=(3, 4), bfloat16=False)
    assert (encoder.level_numbers, encoder.stride, encoder.mean) == ((4,), 16, (0.48, 0.46, 0.41))
    (level,) = encoder.levels([IMAGE])
    assert level.shape == (1, 16, 3, 5)
    with torch.no_grad():
        model: Any = CLIPVisionModel.from_pretrained(clip)
        tokens = model(by_hand(encoder, 48, 80), interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(level[0, :, 1, 2], tokens[0, 1 + 5 + 2], atol=1e-4, rtol=1e-4)


def test_sam_s_images_are_padded_to_the_size_of_its_positions(sam: Path) -> None:
    encoder = Encoder.from_pretrained(str(sam), levels=(4,), bfloat16=False)
    assert encoder.stride == 96
    (level,) = encoder.levels([IMAGE])
    assert level.shape == (1, 8, 6, 6)
    with torch.no_grad():
        model: Any = SamVisionModel.from_pretrained(sam)
        expected = model(by_hand(encoder, 96, 96)).last_hidden_state
    torch.testing.assert_close(level, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["clip", "sam"])
def test_the_control_has_other_values(name: str, request: pytest.FixtureRequest) -> None:
    trained = Encoder.from_pretrained(str(request.getfixturevalue(name)), levels=(4,))
    control = Encoder.random(trained, 1)
    (mine,), (theirs,) = trained.levels([IMAGE]), control.levels([IMAGE])
    assert mine.shape == theirs.shape
    assert not torch.allclose(mine, theirs, atol=0)


def test_a_level_that_it_lacks_is_refused(clip: Path) -> None:
    with pytest.raises(ConfigError, match="expected 4 among them, the only one of a plain ViT"):
        Encoder(load_backbone(str(clip)), levels=(5,))


def test_stage_3_does_not_train_on_one_scale(clip: Path) -> None:
    with pytest.raises(CheckpointError, match=r"found a plain ViT .* --segments\.encoders"):
        is_backbone(str(clip))


@pytest.mark.parametrize(
    "text",
    [
        None,
        "[]",
        "{}",
        '{"image_mean": [1, 2], "image_std": [1, 1]}',
        '{"image_mean": [0, 0, 0], "image_std": [1, 1, 0]}',
        "no JSON",
    ],
)
def test_statistics_that_are_missing_or_odd_are_imagenet_s(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "preprocessor_config.json").write_text(text)
    assert pixel_statistics(str(tmp_path)) == (IMAGENET_MEAN, IMAGENET_STD)
