"""Model directories: `config.json`, `preprocessor_config.json`, `model.safetensors`, `README.md`.

The files are those of transformers' Mask2Former, so that either loads what the other saved: the head is one
linear layer `class_predictor` (a part head's rows one after the other, "no object" last). What transformers
doesn't know is in `config.json` under `partdistillation`.
"""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, Mask2FormerModel
from transformers.utils import logging as transformers_logging

from partdistillation.data.canvas import IMAGENET_MEAN, IMAGENET_STD
from partdistillation.errors import CheckpointError
from partdistillation.models import efficientnet_lite, folders, hub
from partdistillation.models.heads import ClassHead, Head, PartHead
from partdistillation.runs import digests, terminal
from partdistillation.runs.atomic import explained, make_folder
from partdistillation.runs.digests import require_whole, write_digests

PREPROCESSOR = "preprocessor_config.json"
"""How transformers is to prepare images; nothing here reads it, as config.json says the same."""
PUBLISHED_IMAGE_SIZE = 1024
"""What Mask2Former's instance segmentation is trained at; published models' config.json doesn't say it."""

# The criterion's buffer, and Swin's last norm, whose output no level reads: published models lack them.
_NOT_NEEDED = ("criterion.empty_weight", ".swin.layernorm.weight", ".swin.layernorm.bias")

Metadata = Mapping[str, str | int | float]


@dataclass(frozen=True)
class ModelInfo:
    """What a network's weights don't tell."""

    class_names: tuple[str, ...]
    """Names of the head's classes; of its object classes, for a part head."""
    num_parts: int = 0
    """Parts an object class (K); 0 for a head without parts."""
    image_size: int = 640
    """Longest side, in pixels, of the images the network was trained on."""
    pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    """Mean of the RGB channels, scaled to 0..1, that is subtracted from an image."""
    pixel_std: tuple[float, float, float] = IMAGENET_STD
    frozen_norms: bool = False
    """Whether the backbone's batch norms keep the statistics that it was pretrained with."""
    normalize_mask_embeddings: bool = False
    """Whether mask embeddings are scaled to unit length (the released code's QUERY_FEATURE_NORMALIZE)."""

    @property
    def head(self) -> Literal["classes", "parts"]:
        return "parts" if self.num_parts else "classes"


class Network(NamedTuple):
    model: Mask2FormerModel
    head: Head
    info: ModelInfo


def _concerns_us(record: logging.LogRecord) -> bool:
    """Not transformers' remark that only Swin is a tested backbone; the tests here cover others."""
    message = record.getMessage()
    return not (message.startswith("Backbone ") and "is not a supported model" in message)


efficientnet_lite.register()
logging.getLogger("transformers.models.mask2former.configuration_mask2former").addFilter(_concerns_us)


_log = terminal.logger(__name__)


def load(source: str | Path) -> Network:
    """Read a model directory, or a published model by its hub name, as float32.

    Raises CheckpointError where files are missing, damaged or not Mask2Former's, or keys or shapes don't fit.
    """
    config = _parse_config(source, read_config(source))
    network = _build(source, config, _read_info(source, config))
    require_whole(Path(source))  # last: other errors say more of what is wrong
    if (Path(source) / digests.TRAINING).is_file() and digests.recorded(Path(source)) is None:
        _log.warning("%s has no %s, so damage of its files goes unnoticed", source, digests.FILE)
    return network


def from_state_dict(
    state: Mapping[str, torch.Tensor], config: Mask2FormerConfig, info: ModelInfo, *, origin: str
) -> Network:
    """A network from weights under the names of published models; `origin` is for error messages.

    Raises CheckpointError where keys or shapes don't fit the configuration.
    """
    config.num_labels = len(_row_names(info))
    return _build(origin, config, info, state_dict=dict(state))


def _build(source: str | Path, config: Mask2FormerConfig, info: ModelInfo, **weights: Any) -> Network:
    if not weights and _is_path(source):
        folders.check_size(Path(source), lambda: Mask2FormerForUniversalSegmentation(config))
    shell, report = read_weights(Mask2FormerForUniversalSegmentation, source, config=config, **weights)
    check_report(source, report)
    folders.check_finite(source, shell)
    return Network(shell.model, _make_head(source, shell.class_predictor, info), info)


def read_weights(model_class: Any, source: str | Path, **arguments: Any) -> tuple[Any, dict[str, Any]]:
    """A model of a transformers class, as float32, and transformers' loading info, for `check_report`.

    Args:
        model_class: what to load.
        source: a model directory, or a published model's name; with a `state_dict` for error messages only.
        arguments: `config` and `state_dict`, by default the source's.

    Raises:
        CheckpointError: the files can't be read.
    """
    if "state_dict" not in arguments:
        folders.check_files(source)
    with quiet_transformers():
        try:
            model, report = model_class.from_pretrained(
                None if "state_dict" in arguments else source,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **arguments,
            )
        except Exception as error:  # transformers, safetensors and the hub client each have their own
            raise CheckpointError(f"{source}: the weights can't be read: {error}") from error
    return model, report


def save(directory: Path, network: Network, metadata: Metadata, dtype: torch.dtype) -> None:
    """Write a model directory: into a temporary one beside it first, which then takes its place."""
    directory = directory.absolute()
    with written_model(directory):
        make_folder(directory.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            new = temporary / "new"
            _write_files(new, network, metadata, dtype)
            if directory.exists():
                directory.rename(temporary / "old")
            new.rename(directory)
        finally:
            shutil.rmtree(temporary)


@contextmanager
def written_model(directory: Path) -> Iterator[None]:
    """As `explained`, of what writes weights too: their library has an error of its own for a full disk."""
    with explained(directory):
        try:
            yield
        except SafetensorError as error:
            raise OSError(str(error)) from error


def _write_files(directory: Path, network: Network, metadata: Metadata, dtype: torch.dtype) -> None:
    weight, bias = network.head.to_linear()
    config = Mask2FormerConfig.from_dict(network.model.config.to_dict())
    config.id2label = dict(enumerate(_row_names(network.info)))
    config.label2id = {name: row for row, name in config.id2label.items()}
    config.partdistillation = {"head": network.info.head, **asdict(network.info)}
    with torch.device("meta"):
        shell = Mask2FormerForUniversalSegmentation(config)
    state = {f"model.{name}": value for name, value in network.model.state_dict().items()}
    state |= {"class_predictor.weight": weight, "class_predictor.bias": bias}
    state = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for name, value in state.items()
    }
    with quiet_transformers():
        shell.save_pretrained(directory, state_dict=state, max_shard_size="1TB")
    (directory / "README.md").write_text(_model_card(network, metadata), encoding="utf-8")
    (directory / PREPROCESSOR).write_text(preprocessor(network.info), encoding="utf-8")
    write_digests(directory)
    for path in directory.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def preprocessor(info: ModelInfo) -> str:
    """The text of `PREPROCESSOR`: as the network reads images here, in the words of transformers."""
    values = {
        "image_processor_type": "Mask2FormerImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": info.image_size, "longest_edge": info.image_size},
        "size_divisor": 32,
        "resample": 2,  # bilinear, by Pillow's number
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": info.pixel_mean,
        "image_std": info.pixel_std,
        "do_reduce_labels": False,
        "ignore_index": 255,
    }
    return json.dumps(values, indent=1) + "\n"


def read_config(source: str | Path) -> dict[str, Any]:
    """The config.json of a model directory, or of a published model by its hub name.

    Raises CheckpointError where it, or (in a directory) the weights, are missing.
    """
    local = _is_path(source)
    if local:
        _check_files(Path(source))
        values = folders.read_json(Path(source) / folders.CONFIG)
    else:
        hub.try_once()
        try:
            with quiet_transformers():
                values, _ = Mask2FormerConfig.get_config_dict(source)
        except Exception as error:  # transformers and the hub client each have their own
            raise CheckpointError(hub.not_there(source, error)) from error
    folders.check_numbers(folders.check_object(values, source), f"{source}/{folders.CONFIG}")
    return values


def read_info(source: str | Path) -> ModelInfo:
    """What a model is, without loading its weights.

    Raises CheckpointError as `read_config`, and where it isn't a Mask2Former.
    """
    return _read_info(source, _parse_config(source, read_config(source)))


def _parse_config(source: str | Path, values: dict[str, Any]) -> Mask2FormerConfig:
    if values.get("model_type") != "mask2former":
        raise CheckpointError(
            f"{source}: expected a Mask2Former model, config.json says {values.get('model_type')!r}."
        )
    try:
        with quiet_transformers():
            return Mask2FormerConfig.from_dict(values)
    except Exception as error:  # strict configurations raise their own classes
        raise CheckpointError(f"{source}/config.json can't be used: {error}") from error


def _is_path(source: str | Path) -> bool:
    """Hub names are "owner/name"; a Path, or what else looks like one or is there, is a path."""
    text = str(source)
    looks_like_one = text.startswith((".", "/", "~")) or text.count("/") != 1
    return isinstance(source, Path) or looks_like_one or Path(text).exists()


def _check_files(directory: Path) -> None:
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: expected a model directory, there is none. Check the path.")
    names = {path.name for path in directory.iterdir()}
    pickles = sorted(name for name in names if name.endswith((".bin", ".pth", ".pkl", ".pt")))
    hint = (
        f" {pickles[0]} is a pickle, which is never loaded; `partdistill convert` makes model directories"
        " of the authors' checkpoints."
        if pickles
        else " Is the directory complete?"
    )
    if not names:  # a URL where nothing is, too
        hint = " Check its name; a run has its model in OUT/part_model, once it has finished."
    inner = sorted(path.parent.name for path in directory.glob("*/config.json"))
    if inner and "model.safetensors" not in names:  # a run's folder, or one of several models
        hint = f" There are models in it: {', '.join(inner)}."
    if "config.json" not in names:
        raise CheckpointError(f"{directory}: expected config.json, found {sorted(names) or 'nothing'}.{hint}")
    if not names & {"model.safetensors", "model.safetensors.index.json"}:
        raise CheckpointError(f"{directory}: expected model.safetensors, found {sorted(names)}.{hint}")


def check_report(source: str | Path, report: Mapping[str, Any]) -> None:
    """Raise CheckpointError where transformers' loading info has keys or shapes that don't fit."""
    missing = sorted(name for name in report["missing_keys"] if not name.endswith(_NOT_NEEDED))
    problems = [
        *(f"missing {name}" for name in missing),
        *(f"unexpected {name}" for name in sorted(report["unexpected_keys"])),
        *(
            f"{name} has shape {tuple(shape)}, expected {tuple(expected)}"
            for name, shape, expected in sorted(report["mismatched_keys"])
        ),
    ]
    if problems:
        listed = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise CheckpointError(f"{source}: the weights aren't those of its config.json: {listed}.")


def _read_info(source: str | Path, config: Mask2FormerConfig) -> ModelInfo:
    section: Any = getattr(config, "partdistillation", None)
    if section is None:  # a published Mask2Former
        names: Any = config.id2label
        if sorted(names) != list(range(len(names))):
            raise CheckpointError(
                f"{source}/config.json: id2label: expected the names of classes 0 to {len(names) - 1}, found "
                f"{sorted(names)[:5]} ..."
            )
        if wrong := [name for name in names.values() if not isinstance(name, str)]:
            raise CheckpointError(f"{source}/config.json: id2label: expected names, found {wrong[0]!r:.80}")
        return ModelInfo(tuple(names[row] for row in range(len(names))), image_size=PUBLISHED_IMAGE_SIZE)
    try:
        return ModelInfo(**folders.checked_section(section))
    except (KeyError, TypeError, ValueError) as error:
        reason = f"expected {error}, found none" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{source}/config.json: section partdistillation: {reason}") from error


def _make_head(source: str | Path, linear: nn.Linear, info: ModelInfo) -> Head:
    expected = len(info.class_names) * max(info.num_parts, 1) + 1
    if linear.out_features != expected:
        raise CheckpointError(
            f"{source}: expected {expected} rows of class_predictor for {len(info.class_names)} classes with"
            f" {info.num_parts} parts, found {linear.out_features}."
        )
    if info.head == "parts":
        return PartHead.from_linear(linear.weight.detach(), linear.bias.detach(), info.num_parts)
    return ClassHead.from_linear(linear.weight.detach(), linear.bias.detach())


def _row_names(info: ModelInfo) -> tuple[str, ...]:
    if info.head == "classes":
        return info.class_names
    return tuple(f"{name}/{part}" for name in info.class_names for part in range(info.num_parts))


def _model_card(network: Network, metadata: Metadata) -> str:
    info = network.info
    config: Any = network.model.config
    parameters = sum(p.numel() for p in [*network.model.parameters(), *network.head.parameters()])
    what = {
        "classes": f"{len(info.class_names)} classes",
        "parts": f"{info.num_parts} part classes for each of {len(info.class_names)} object classes",
    }[info.head]
    classes = ", ".join(info.class_names[:20]) + (", ..." if len(info.class_names) > 20 else "")
    rows = {
        "Predicts": what,
        "Classes": classes,
        "Backbone": config.backbone_config.model_type,
        "Queries": config.num_queries,
        "Parameters": f"{parameters:,}",
        "Image size": f"{info.image_size} px",
        **metadata,
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""---
library_name: partdistillation
pipeline_tag: image-segmentation
---
# PartMask2Former

A Mask2Former network as used by PartDistillation.

| | |
|---|---|
{table}

Load it with `PartMask2Former.from_pretrained(directory)`, or as a plain Mask2Former with transformers'
`Mask2FormerForUniversalSegmentation.from_pretrained(directory)`.
"""


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' load report and progress bars: problems are raised as errors here."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
