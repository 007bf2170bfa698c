"""Backbones for a new network: a published or local one with its weights, or a small one without."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoBackbone, AutoConfig, ResNetConfig

from partdistillation.errors import CheckpointError
from partdistillation.models import folders
from partdistillation.models.pretrained import quiet_transformers
from partdistillation.models.sources import resolve

SMALL = "small"
"""The backbone for small images and machines: a ResNet of 2.8 million weights, drawn at random."""

_NOT_PRETRAINED = "hidden_states_norms."
"""Norms of the maps that Swin and its like return: not part of the classifiers that are published."""
_AUTO: Any = AutoBackbone  # its methods are untyped


def backbone_config(name: str, *, drop_path: float | None = None) -> Any:
    """The configuration of a backbone that returns its last four maps: `small`, a directory or a hub name.

    `drop_path` takes the place of the configuration's own stochastic depth, in backbones that have it: Swin's
    are published with that of their classifiers.

    Raises:
        CheckpointError: it can't be read, or isn't a backbone's.
    """
    config = _small_config() if name == SMALL else _read_config(name)
    config.out_features = config.stage_names[-4:]
    if drop_path is not None and hasattr(config, "drop_path_rate"):
        config.drop_path_rate = drop_path
    return config


def load_backbone(name: str) -> nn.Module:
    """A pretrained backbone, float32, from a directory or by its hub name.

    Raises:
        CheckpointError: there is none of that name, or its weights are missing, pickled or another model's.
    """
    config = backbone_config(name)
    source = resolve(name).path
    folders.check_files(source)
    try:
        with torch.device("meta"):  # only for its class: AutoBackbone itself asks the hub about paths
            backbone_class: Any = type(_AUTO.from_config(config))
        with quiet_transformers():
            backbone, report = backbone_class.from_pretrained(
                source,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # transformers, safetensors and the hub client each have their own
        raise CheckpointError(f"{name}: the backbone's weights can't be read: {error}") from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(_NOT_PRETRAINED))
    if missing:
        raise CheckpointError(
            f"{name}: expected the weights of its config.json, found none of {', '.join(missing[:4])}"
            + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        )
    folders.check_finite(name, backbone)
    return backbone  # type: ignore[no-any-return]


def _small_config() -> Any:
    return ResNetConfig(
        embedding_size=32, hidden_sizes=[32, 64, 128, 256], depths=[2, 2, 2, 2], layer_type="basic"
    )


def _read_config(name: str) -> Any:
    source = resolve(name).path
    if (Path(source) / folders.CONFIG).is_file():
        folders.check_numbers(folders.read_json(Path(source) / folders.CONFIG), name)
    try:
        config = AutoConfig.from_pretrained(source)
    except Exception as error:  # transformers and the hub client each have their own
        raise CheckpointError(
            f"{name}: expected a backbone: {SMALL}, a directory or a published one's name; {error}"
        ) from error
    if len(getattr(config, "stage_names", ())) < 4:
        raise CheckpointError(
            f"{name}: expected a backbone of four stages, found a model of type {config.model_type}"
        )
    config.dtype = torch.float32  # that of the file's weights, else: float16 can't be trained
    return config
