"""Checkpoints of the authors' code (detectron2's Mask2Former with a Swin backbone, and PartDistillation's).

Names are translated to those of transformers' published models; the architecture is read off the shapes.
PartDistillation's `class_embed` has N x K + 1 rows, which become a `PartHead`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import Mask2FormerConfig, SwinConfig

from partdistillation.convert.checkpoint_file import count_layers, read_checkpoint
from partdistillation.errors import CheckpointError
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import PUBLISHED_IMAGE_SIZE, Metadata, ModelInfo, from_state_dict
from partdistillation.settings import at_home

Weight = TypeVar("Weight")

COCO_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 classes of COCO instances, in the order of the published models' rows."""

# Buffers that are computed, and the criterion's; none is a weight.
_IGNORED = re.compile(r"relative_position_index$|num_batches_tracked$|^criterion\.|^pixel_(mean|std)$")

_HEAD, _PIXEL_DECODER, _PREDICTOR = "sem_seg_head.", "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."

# Applied in this order. `{a|b|c}` marks rows that are stored together there, and apart here.
_RENAMES = tuple(
    (re.compile(official), published)
    for official, published in (
        # backbone
        (r"^backbone\.", "model.pixel_level_module.encoder."),
        (r"\.patch_embed\.proj\.", ".embeddings.patch_embeddings.projection."),
        (r"\.patch_embed\.norm\.", ".embeddings.norm."),
        (r"^(model\.pixel_level_module\.encoder\.)layers\.", r"\1encoder.layers."),
        (r"\.attn\.relative_position_bias_table$", ".attention.self.relative_position_bias_table"),
        (r"\.attn\.qkv\.", ".attention.self.{query|key|value}."),
        (r"\.attn\.proj\.", ".attention.output.dense."),
        (r"(blocks\.\d+)\.norm1\.", r"\1.layernorm_before."),
        (r"(blocks\.\d+)\.norm2\.", r"\1.layernorm_after."),
        (r"\.mlp\.fc1\.", ".intermediate.dense."),
        (r"\.mlp\.fc2\.", ".output.dense."),
        (r"(module\.encoder)\.norm0\.", r"\1.hidden_states_norms.stage1."),
        (r"(module\.encoder)\.norm1\.", r"\1.hidden_states_norms.stage2."),
        (r"(module\.encoder)\.norm2\.", r"\1.hidden_states_norms.stage3."),
        (r"(module\.encoder)\.norm3\.", r"\1.hidden_states_norms.stage4."),
        # pixel decoder
        (r"^sem_seg_head\.pixel_decoder\.", "model.pixel_level_module.decoder."),
        (r"\.input_proj\.", ".input_projections."),
        (r"\.decoder\.transformer\.", ".decoder."),
        (r"(encoder\.layers\.\d+)\.norm1\.", r"\1.self_attn_layer_norm."),
        (r"(encoder\.layers\.\d+)\.norm2\.", r"\1.final_layer_norm."),
        (r"\.linear([12])\.", r".fc\1."),
        (r"\.decoder\.mask_features\.", ".decoder.mask_projection."),
        (r"\.(adapter|layer)_1\.(weight)$", r".\1_1.0.\2"),
        (r"\.(adapter|layer)_1\.norm\.", r".\1_1.1."),
        # transformer decoder
        (r"^sem_seg_head\.predictor\.class_embed\.", "class_predictor."),
        (r"^sem_seg_head\.predictor\.", "model.transformer_module."),
        (
            r"\.transformer_(self|cross)_attention_layers\.(\d+)\.norm\.",
            r".decoder.layers.\2.\1_attn_layer_norm.",
        ),
        (r"\.transformer_self_attention_layers\.(\d+)\.", r".decoder.layers.\1."),
        (r"\.self_attn\.in_proj_", ".self_attn.{q_proj|k_proj|v_proj}."),
        (r"\.transformer_cross_attention_layers\.(\d+)\.multihead_attn\.", r".decoder.layers.\1.cross_attn."),
        (r"\.transformer_ffn_layers\.(\d+)\.norm\.", r".decoder.layers.\1.final_layer_norm."),
        (r"\.transformer_ffn_layers\.(\d+)\.", r".decoder.layers.\1."),
        (r"\.decoder_norm\.", ".decoder.layernorm."),
        (r"\.query_feat\.", ".queries_features."),
        (r"\.query_embed\.", ".queries_embedder."),
        (r"\.mask_embed\.layers\.(\d)\.", r".decoder.mask_predictor.mask_embedder.\1.0."),
    )
)


def load_official_state_dict(
    state: Mapping[str, Tensor | np.ndarray],
    *,
    class_names: Sequence[str] | None = None,
    num_parts: int = 0,
    normalize_mask_embeddings: bool = False,
    image_size: int = 640,
) -> PartMask2Former:
    """A network, in `eval()` mode and float32, with the weights of the authors' code.

    That is detectron2's Mask2Former with a Swin backbone; the architecture is read off the shapes.

    Args:
        state: weights with official names, also those of Mask2Former's first version, of any float type.
        class_names: the N names, by default COCO's for 80 classes without parts, else "0", "1", ...
        num_parts: with it (8 in the released models) the rows of `class_embed` are those of N object classes'
            parts, class after class, then "no object"; else one a class.
        normalize_mask_embeddings: the released code's QUERY_FEATURE_NORMALIZE.
        image_size: the longest side, in pixels, at which the network is to see images.

    Raises:
        CheckpointError: a weight is missing, unknown or of another shape, which the message names; or the
            rows don't divide by `num_parts`.
    """
    weights = {
        name: torch.as_tensor(value).float()
        for name, value in _current_names(state).items()
        if not _IGNORED.search(name)
    }
    config = _infer_config(weights)
    rows = len(weights["sem_seg_head.predictor.class_embed.weight"]) - 1
    count, rest = divmod(rows, num_parts or 1)
    if rest:
        raise CheckpointError(f"expected {num_parts} class rows for each object class, found {rows} rows.")
    default = COCO_NAMES if count == len(COCO_NAMES) and not num_parts else map(str, range(count))
    names = tuple(default if class_names is None else class_names)
    if len(names) != count:
        raise CheckpointError(
            f"expected {count} class names, as the checkpoint has rows; found {len(names)}."
        )
    info = ModelInfo(names, num_parts, image_size, normalize_mask_embeddings=normalize_mask_embeddings)
    published = dict(pair for name, value in weights.items() for pair in translate(name, value))
    return PartMask2Former(*from_state_dict(published, config, info, origin="official checkpoint")).eval()


def convert_checkpoint(
    path: str | Path,
    out: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    num_parts: int = 0,
    normalize_mask_embeddings: bool = False,
    metadata: Metadata | None = None,
) -> None:
    """Convert a `.pth` or `.pkl` file of the authors' code to a model directory.

    Nothing in the file is executed: `.pth` is read with `weights_only`, `.pkl` by an unpickler that knows
    arrays and containers only. What training leaves beside the weights (the optimizer's state, averaged
    weights, the iteration) isn't used. The model is said to be trained at 1024 pixels if it finds objects, at
    640 if it finds parts. Raises CheckpointError where the file holds anything else, or doesn't fit.
    """
    network = load_official_state_dict(
        read_checkpoint(at_home(Path(path))),
        class_names=class_names,
        num_parts=num_parts,
        normalize_mask_embeddings=normalize_mask_embeddings,
    )
    if not num_parts and len(network.info.class_names) > 1:  # one class: PartDistillation's proposals
        network.info = replace(network.info, image_size=PUBLISHED_IMAGE_SIZE)
    network.save_pretrained(out, metadata={"Converted from": Path(path).name, **(metadata or {})})


def _current_names(state: Mapping[str, Weight]) -> dict[str, Weight]:
    """The names that Mask2Former's code has now, which renames those of its first version when it loads them.

    Then the pixel decoder's weights lay in the head itself, and the queries' features were `static_query`.
    Weights that were saved from within a data-parallel wrapper have `module.` in front.
    """
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    names = {name: name.replace("static_query", "query_feat") for name in state}
    if not any(name.startswith(_PIXEL_DECODER) for name in state):
        names |= {
            name: _PIXEL_DECODER + name.removeprefix(_HEAD)
            for name in state
            if name.startswith(_HEAD) and not name.startswith(_PREDICTOR)
        }
    return {names[name]: value for name, value in state.items()}


def translate(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The published name (or three names, for rows stored together) and value of an official weight."""
    for pattern, published in _RENAMES:
        name = pattern.sub(published, name)
    together = re.fullmatch(r"(.*)\{(.*)\}(.*)", name)
    if together is None:
        yield name, value
        return
    parts = together[2].split("|")
    for part, rows in zip(parts, value.chunk(len(parts)), strict=True):
        yield together[1] + part + together[3], rows


def _infer_config(weights: Mapping[str, Tensor]) -> Mask2FormerConfig:
    """The architecture, from names and shapes; raises CheckpointError where the decisive ones are missing."""
    try:
        return Mask2FormerConfig(backbone_config=_infer_backbone(weights), **_infer_decoders(weights))
    except KeyError as error:
        raise CheckpointError(
            "expected the weights of a Mask2Former with a Swin backbone under the names of the authors'"
            f" detectron2 code; {error.args[0]} is missing."
        ) from error


def _infer_backbone(weights: Mapping[str, Tensor]) -> SwinConfig:
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    values = infer_swin(shapes, "backbone.")
    values["drop_path_rate"] = 0.3  # of both codes' Swin-B and -L
    values["out_features"] = [f"stage{number}" for number in range(1, 1 + len(values["depths"]))]
    return SwinConfig(**values)


def infer_swin(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> dict[str, Any]:
    """The fields of a Swin's configuration, from its weights' shapes by official names after `prefix`."""
    channels, _, _, patch = shapes[prefix + "patch_embed.proj.weight"]
    layers = prefix + "layers."
    stages = range(max(1, count_layers(shapes, re.escape(layers) + r"(\d+)\.")))
    tables = [shapes[f"{layers}{stage}.blocks.0.attn.relative_position_bias_table"] for stage in stages]
    return {
        "embed_dim": channels,
        "patch_size": patch,
        "depths": [count_layers(shapes, rf"{re.escape(layers)}{stage}\.blocks\.(\d+)\.") for stage in stages],
        "num_heads": [heads for _, heads in tables],
        "window_size": (round(tables[0][0] ** 0.5) + 1) // 2,
        "mlp_ratio": shapes[layers + "0.blocks.0.mlp.fc1.weight"][0] / channels,
    }


def _infer_decoders(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    pixel, predictor = _PIXEL_DECODER, _PREDICTOR
    layer = pixel + "transformer.encoder.layers.0."
    levels = len(weights[pixel + "transformer.level_embed"])
    samples = 4  # points a head and level: fixed in both codes
    return {
        "feature_size": weights[pixel + "mask_features.weight"].shape[1],
        "mask_feature_size": len(weights[pixel + "mask_features.weight"]),
        "hidden_dim": weights[predictor + "query_feat.weight"].shape[1],
        "num_queries": len(weights[predictor + "query_feat.weight"]),
        "num_attention_heads": len(weights[layer + "self_attn.attention_weights.bias"]) // (levels * samples),
        "encoder_layers": count_layers(weights, re.escape(pixel) + r"transformer\.encoder\.layers\.(\d+)\."),
        "encoder_feedforward_dim": len(weights[layer + "linear1.bias"]),
        "decoder_layers": 1
        + count_layers(weights, re.escape(predictor) + r"transformer_ffn_layers\.(\d+)\."),
        "dim_feedforward": len(weights[predictor + "transformer_ffn_layers.0.linear1.bias"]),
    }
