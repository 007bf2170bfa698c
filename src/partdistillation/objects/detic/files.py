"""Detic's model directories: `config.json` and `model.safetensors`.

The backbone's weights have the names that transformers publishes Swin's under, with `backbone.` before.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor
from transformers import SwinBackbone

from partdistillation.errors import CheckpointError
from partdistillation.models.folders import check_finite
from partdistillation.models.layers import hasten_linears
from partdistillation.models.pretrained import check_report, quiet_transformers, read_weights
from partdistillation.objects.detic.config import DeticConfig
from partdistillation.objects.detic.network import DeticNetwork
from partdistillation.objects.detic.pyramid import swin_config
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.digests import file_digest, require_whole, write_digests

BACKBONE = "backbone."
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


def load(directory: Path) -> DeticNetwork:
    """The network of a model directory: float32, in `eval()` mode.

    Raises:
        CheckpointError: it isn't there, isn't a Detic, or its weights don't fit its config.json.
    """
    for name in (_CONFIG, _WEIGHTS):
        if not (directory / name).is_file():
            raise CheckpointError(
                f"{directory}: expected a Detic's model directory with {_CONFIG} and {_WEIGHTS}, found no "
                f"{name}. Make one of the authors' .pth file with `partdistill convert detic`."
            )
    config = DeticConfig.read(directory / _CONFIG)
    try:
        weights = load_file(directory / _WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{directory / _WEIGHTS}: the weights can't be read: {error}") from error
    network = from_weights(weights, config, origin=str(directory))
    require_whole(directory)
    return network


def from_weights(weights: Mapping[str, Tensor], config: DeticConfig, *, origin: str) -> DeticNetwork:
    """A network with the weights of a model directory; `origin` is for error messages.

    Raises:
        CheckpointError: weights are missing, unknown or of another shape than `config` says.
    """
    try:
        with torch.device("meta"):  # all its weights are replaced
            network = DeticNetwork(config)
    except Exception as error:  # strict configurations raise their own classes
        raise CheckpointError(f"{origin}: no network can be made of these settings: {error}") from error
    own = {name: value for name, value in weights.items() if not name.startswith(BACKBONE)}
    of_backbone = {name.removeprefix(BACKBONE): weights[name] for name in weights.keys() - own.keys()}
    swin = swin_config(config)
    network.backbone, report = read_weights(SwinBackbone, origin, config=swin, state_dict=of_backbone)
    hasten_linears(network.backbone)
    check_report(origin, _with_own(report, network, own))
    values = {name: value.float() for name, value in own.items()}
    network.load_state_dict(values, strict=False, assign=True)
    check_finite(origin, network)
    return network.eval()


def save(directory: Path, network: DeticNetwork) -> None:
    """Write a model directory; each of its files is whole or as it was, config.json the last.

    Beside the weights lies their SHA-256. config.json is the user's to change.
    """
    make_folder(directory)
    replace_file(directory / _WEIGHTS, to_bytes(_published(network), metadata={"format": "pt"}))
    write_digests(directory, {_WEIGHTS: file_digest(directory / _WEIGHTS)})
    replace_file(directory / _CONFIG, network.config.to_json().encode())


def _published(network: DeticNetwork) -> dict[str, Tensor]:
    """All weights by their names in the file."""
    backbone: Any = network.backbone
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        # only transformers knows which names it publishes its weights under
        backbone.save_pretrained(folder, max_shard_size="1TB")
        weights = {BACKBONE + name: value for name, value in load_file(Path(folder, _WEIGHTS)).items()}
    own = {name: value for name, value in network.state_dict().items() if not name.startswith(BACKBONE)}
    return weights | {name: value.detach().cpu().contiguous() for name, value in own.items()}


def _with_own(
    report: Mapping[str, Any], network: DeticNetwork, own: Mapping[str, Tensor]
) -> dict[str, set[Any]]:
    """The backbone's loading info by the names in the file, and what doesn't fit of all else."""
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    expected = {name for name in shapes if not name.startswith(BACKBONE)}
    missing, unexpected = (
        {BACKBONE + name for name in report[f"{what}_keys"]} for what in ("missing", "unexpected")
    )
    pairs = {(name, own[name].shape, shapes[name]) for name in expected & own.keys()}
    return {
        "missing_keys": missing | (expected - own.keys()),
        "unexpected_keys": unexpected | (own.keys() - expected),
        "mismatched_keys": {pair for pair in pairs if pair[1] != pair[2]}
        | {(BACKBONE + name, *sizes) for name, *sizes in report["mismatched_keys"]},
    }
