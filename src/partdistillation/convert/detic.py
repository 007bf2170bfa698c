"""Checkpoints of the authors' Detic (detectron2), `Detic_LCOCOI21k_CLIP_SwinB_896b32_4x_ft4x_max-size.pth`.

The architecture is read off the shapes. What these don't tell (thresholds, image sizes) is read off the
authors' YAML where there is one, else it is the published checkpoint's, and stands in the converted model's
config.json, where it can be changed. The class embeddings in the file
(`roi_heads.box_predictor.K.cls_score.zs_weight`, of the 22,047 names of its training, once a cascade stage)
are left out, whatever their number: classes are named when the model runs.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partdistillation.convert.checkpoint_file import count_layers, read_checkpoint
from partdistillation.convert.mask2former import infer_swin
from partdistillation.convert.mask2former import translate as translate_mask2former
from partdistillation.errors import CheckpointError
from partdistillation.objects.detic.config import STRIDES, DeticConfig
from partdistillation.objects.detic.files import BACKBONE, from_weights, save
from partdistillation.objects.detic.network import DeticNetwork
from partdistillation.settings import at_home

# Buffers that are computed, what only training reads, and the classifier of the training's own class names.
_IGNORED = re.compile(
    r"relative_position_index$|\.attn_mask$|^pixel_(mean|std)$|\.freq_weight$|\.cls_score\.zs_weight$"
)

_SWIN = "backbone.bottom_up."
_HEAD = "proposal_generator.centernet_head."

_RENAMES = tuple(
    (re.compile(official), ours)
    for official, ours in (
        (r"^backbone\.fpn_(lateral|output)(\d)\.", r"pyramid.\1.\2."),
        (r"^backbone\.top_block\.p(\d)\.", r"pyramid.extra.\1."),
        (r"^proposal_generator\.centernet_head\.bbox_tower\.", "proposals.tower."),
        (r"^proposal_generator\.centernet_head\.bbox_pred\.", "proposals.distances."),
        (r"^proposal_generator\.centernet_head\.agn_hm\.", "proposals.heat."),
        (r"^proposal_generator\.centernet_head\.scales\.(\d)\.scale$", r"proposals.scales.\1"),
        (r"^roi_heads\.box_head\.(\d)\.fc(\d+)\.", r"cascade.\1.layers.\2."),
        (r"^roi_heads\.box_predictor\.(\d)\.cls_score\.linear\.", r"cascade.\1.embed."),
        (r"^roi_heads\.box_predictor\.(\d)\.bbox_pred\.", r"cascade.\1.deltas."),
        (r"^roi_heads\.mask_head\.mask_fcn(\d+)\.", r"masks.layers.\1."),
        (r"^roi_heads\.mask_head\.deconv\.", "masks.upsample."),
        (r"^roi_heads\.mask_head\.predictor\.", "masks.logits."),
    )
)

# What the network takes for granted: another value in the YAML means another network.
_GRANTED: Mapping[str, object] = {
    "MODEL.META_ARCHITECTURE": "CustomRCNN",
    "MODEL.PROPOSAL_GENERATOR.NAME": "CenterNet",
    "MODEL.CENTERNET.ONLY_PROPOSAL": True,
    "MODEL.CENTERNET.WITH_AGN_HM": True,
    "MODEL.CENTERNET.CENTER_NMS": False,
    "MODEL.CENTERNET.FPN_STRIDES": list(STRIDES),
    "MODEL.CENTERNET.NORM": "GN",
    "MODEL.CENTERNET.NOT_NMS": False,
    "MODEL.ROI_HEADS.NAME": "DeticCascadeROIHeads",
    "MODEL.ROI_HEADS.IN_FEATURES": ["p3", "p4", "p5"],
    "MODEL.ROI_HEADS.ONE_CLASS_PER_PROPOSAL": False,
    "MODEL.ROI_BOX_HEAD.USE_ZEROSHOT_CLS": True,
    "MODEL.ROI_BOX_HEAD.NORM_WEIGHT": True,
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": True,
    "MODEL.ROI_BOX_HEAD.MULT_PROPOSAL_SCORE": True,
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": "ROIAlignV2",
    "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO": 0,
    "INPUT.FORMAT": "RGB",
}

_FIELDS: Mapping[str, str] = {
    "delta_weights": "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS",
    "temperature": "MODEL.ROI_BOX_HEAD.NORM_TEMP",
    "mask_resolution": "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION",
    "heat_threshold": "MODEL.CENTERNET.INFERENCE_TH",
    "proposals_per_level": "MODEL.CENTERNET.PRE_NMS_TOPK_TEST",
    "proposal_nms": "MODEL.CENTERNET.NMS_TH_TEST",
    "proposals": "MODEL.CENTERNET.POST_NMS_TOPK_TEST",
    "score_threshold": "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
    "detection_nms": "MODEL.ROI_HEADS.NMS_THRESH_TEST",
    "max_detections": "TEST.DETECTIONS_PER_IMAGE",
    "min_size": "INPUT.MIN_SIZE_TEST",
    "max_size": "INPUT.MAX_SIZE_TEST",
}


def load_official_state_dict(
    state: Mapping[str, Tensor | np.ndarray], settings: Mapping[str, Any] | None = None
) -> DeticNetwork:
    """A network, in `eval()` mode and float32, with the weights of the authors' code (Swin backbone).

    The architecture is read off the shapes; `objects.detic.files.save` writes the folder that `partdistill
    convert detic` does, and `objects.detic.files.load` reads it.

    Args:
        state: official names, any float type.
        settings: the authors' YAML, merged with what it is based on, as nested dictionaries, for thresholds,
            numbers of boxes and image sizes; without it, what shapes don't tell is as in the
            published Swin-B (see `infer_config`).

    Raises:
        CheckpointError: a weight is missing, unknown or of another shape, which the message names; or the
            settings are those of another network.
    """
    official = {name: torch.as_tensor(value) for name, value in state.items() if not _IGNORED.search(name)}
    config = infer_config(official, settings)
    weights = dict(pair for name, value in official.items() for pair in translate(name, value.float()))
    return from_weights(weights, config, origin="official checkpoint")


def convert_checkpoint(path: str | Path, out: str | Path) -> None:
    """Convert a `.pth` or `.pkl` file of Detic with a Swin backbone to a model directory.

    Nothing in the file is executed (see `read_checkpoint`).

    Raises:
        CheckpointError: it holds anything but arrays, or another model's; keys and shapes are named.
    """
    try:
        network = load_official_state_dict(read_checkpoint(at_home(Path(path))))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    save(Path(out), network)


def translate(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """An official weight under our names (three, for the attention's rows that are stored together)."""
    if name.startswith(_SWIN):  # the same Swin as in the authors' Mask2Former
        of_mask2former = "backbone." + name.removeprefix(_SWIN)
        for published, rows in translate_mask2former(of_mask2former, value):
            yield published.replace("model.pixel_level_module.encoder.", BACKBONE, 1), rows
        return
    for pattern, ours in _RENAMES:
        name = pattern.sub(ours, name)
    yield name, value


def infer_config(
    state: Mapping[str, Tensor | np.ndarray], settings: Mapping[str, Any] | None = None
) -> DeticConfig:
    """The configuration that official weights tell by their shapes.

    Args:
        state: weights by their official names.
        settings: the authors' YAML, merged with what it is based on, for what shapes don't tell; without it,
            that is as in the published Swin-B.

    Raises:
        CheckpointError: decisive weights are missing, or the settings are those of another network.
    """
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    try:
        values = infer_swin(shapes, _SWIN) | _of_heads(shapes)
    except KeyError as error:
        raise CheckpointError(
            "expected the weights of a Detic with a Swin backbone under the names of the authors' detectron2 "
            f"code; {error.args[0]} is missing."
        ) from error
    except ValueError as error:
        raise CheckpointError(
            f"expected the weights of a Detic, found one with another number of axes: {error}"
        ) from error
    config = DeticConfig.of(values | _of_settings(settings or {}))
    stages = count_layers(shapes, r"roi_heads\.box_predictor\.(\d+)\.")
    if stages != len(config.delta_weights):
        raise CheckpointError(
            f"expected {len(config.delta_weights)} cascade stages (roi_heads.box_predictor), found {stages}."
        )
    return config


def _of_heads(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    channels = shapes["backbone.fpn_lateral3.weight"][0]
    box_head = "roi_heads.box_head.0.fc"
    layers = range(1, count_layers(shapes, re.escape(box_head) + r"(\d+)\."))
    mask_convs = count_layers(shapes, r"roi_heads\.mask_head\.mask_fcn(\d+)\.") - 1
    return {
        "pyramid_channels": channels,
        # a convolution, its norm and its activation
        "proposal_convs": -(-count_layers(shapes, re.escape(_HEAD) + r"bbox_tower\.(\d+)\.") // 3),
        "fc_dims": tuple(shapes[f"{box_head}{layer}.weight"][0] for layer in layers),
        "embedding_dim": shapes["roi_heads.box_predictor.0.cls_score.linear.weight"][0],
        "box_resolution": round((shapes[box_head + "1.weight"][1] / channels) ** 0.5),
        "mask_convs": max(mask_convs, 0),
        "mask_channels": shapes["roi_heads.mask_head.predictor.weight"][1],
    }


def _of_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(_flat(settings))
    for name, expected in _GRANTED.items():
        if values.get(name, expected) != expected:
            raise CheckpointError(f"settings: expected {name} {expected}, found {values[name]}.")
    fields = {field: values[name] for field, name in _FIELDS.items() if name in values}
    for field, name in (("pixel_mean", "MODEL.PIXEL_MEAN"), ("pixel_std", "MODEL.PIXEL_STD")):
        if name in values:
            fields[field] = tuple(value / 255 for value in values[name])
    return fields


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
