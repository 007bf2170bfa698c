"""Backbones for a new network: a published or local one with its weights, or a small one without."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoBackbone, AutoConfig, ResNetConfig
from transformers.utils.hub import cached_file

from partdistillation.data.canvas import IMAGENET_MEAN, IMAGENET_STD
from partdistillation.errors import CheckpointError
from partdistillation.models import folders, hub
from partdistillation.models.pretrained import check_report, read_weights
from partdistillation.models.sources import resolve
from partdistillation.models.vision_transformers import MAPS, grid_of, vision_part
from partdistillation.runs.digests import require_whole

SMALL = "small"
"""The backbone for small images and machines: a ResNet of 2.8 million weights, drawn at random."""

_NOT_PRETRAINED = "hidden_states_norms."
"""Norms of the maps that Swin and its like return: not part of the classifiers that are published."""
_AUTO: Any = AutoBackbone  # its methods are untyped


def backbone_config(name: str, *, drop_path: float | None = None) -> Any:
    """The configuration of a backbone that returns its last four maps: `small`, a directory or a hub name.

    A plain ViT's last four are of one scale; CLIP's and SAM's returns one map (see `vision_transformers`).

    `drop_path` takes the place of the configuration's own stochastic depth, in backbones that have it: Swin's
    are published with that of their classifiers.

    Raises:
        CheckpointError: it can't be read, or isn't a backbone's.
    """
    config = _small_config() if name == SMALL else _read_config(name)
    if config.model_type not in MAPS:
        config.out_features = config.stage_names[-4:]
    if drop_path is not None and hasattr(config, "drop_path_rate"):
        config.drop_path_rate = drop_path
    return config


def load_backbone(name: str) -> nn.Module:
    """A pretrained backbone, float32, from a directory or by its hub name.

    Raises:
        CheckpointError: there is none of that name, or its weights are missing, pickled or another model's.
    """
    config, path = backbone_config(name), resolve(name).path
    folders.check_files(path)
    if config.model_type in MAPS:
        maps = MAPS[config.model_type]
        backbone, report = read_weights(maps.model_class, path, config=config)
        backbone = maps(backbone)
    else:
        try:
            with torch.device("meta"):  # only for its class: AutoBackbone itself asks the hub about paths
                backbone_class = type(_AUTO.from_config(config))
        except Exception as error:  # strict configurations raise their own classes
            raise CheckpointError(f"{name}: no backbone can be made of its config.json: {error}") from error
        backbone, report = read_weights(backbone_class, path, config=config)
    missing = [key for key in report["missing_keys"] if not key.startswith(_NOT_PRETRAINED)]
    check_report(name, {**report, "missing_keys": missing, "unexpected_keys": ()})
    require_whole(Path(path))
    folders.check_finite(name, backbone)
    return backbone  # type: ignore[no-any-return]


def random_backbone(config: Any) -> nn.Module:
    """A backbone with random weights, drawn from PyTorch's generator."""
    if config.model_type in MAPS:
        maps = MAPS[config.model_type]
        return maps(maps.model_class(config))
    return _AUTO.from_config(config)  # type: ignore[no-any-return]


def pixel_statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the images that a backbone was trained on, as its preprocessor's file says.

    Where it has no such file, ImageNet's. CLIP's and SAM's are others than those.
    """
    path = resolve(name).path
    try:
        file = cached_file(path, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False)
        values = json.loads(Path(file).read_text(encoding="utf-8")) if file else {}
        mean, std = (tuple(map(float, values[key])) for key in ("image_mean", "image_std"))
    except (OSError, ValueError, TypeError, KeyError):
        return IMAGENET_MEAN, IMAGENET_STD
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        return IMAGENET_MEAN, IMAGENET_STD
    return mean, std


def _small_config() -> Any:
    return ResNetConfig(
        embedding_size=32, hidden_sizes=[32, 64, 128, 256], depths=[2, 2, 2, 2], layer_type="basic"
    )


def _read_config(name: str) -> Any:
    path = resolve(name).path
    if not isinstance(path, Path):
        hub.try_once()
    elif (path / folders.CONFIG).is_file():
        folders.check_numbers(folders.read_json(path / folders.CONFIG), name)
    try:
        config = AutoConfig.from_pretrained(path)
    except Exception as error:  # transformers and the hub client each have their own
        if not isinstance(path, Path):
            raise CheckpointError(hub.not_there(name, error)) from error
        raise CheckpointError(
            f"{name}: expected a backbone: {SMALL}, a directory or a published one's name; {error}"
        ) from error
    config = vision_part(config)
    if len(getattr(config, "stage_names", ())) < 4 and grid_of(config) is None:
        raise CheckpointError(
            f"{name}: expected a backbone of four stages, found a model of type {config.model_type}"
        )
    config.dtype = torch.float32  # that of the file's weights, else: float16 can't be trained
    return config
