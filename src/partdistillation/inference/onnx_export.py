"""A part model as a folder that onnxruntime runs without torch (`inference.onnx_segmenter`)."""

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from partdistillation.errors import CheckpointError, ConfigError, to_install
from partdistillation.inference.base import BasePartSegmenter
from partdistillation.inference.inputs import ObjectMask
from partdistillation.inference.onnx_segmenter import (
    CONFIG,
    HEAD,
    INPUT,
    NETWORK,
    OUTPUTS,
    OnnxInfo,
    OnnxPartSegmenter,
)
from partdistillation.inference.result import FoundPart
from partdistillation.inference.segmenter import PartSegmenter, objects_model_in
from partdistillation.models.heads import PartHead
from partdistillation.models.part_mask2former import PartMask2Former, mask_logits
from partdistillation.models.sources import folder_of
from partdistillation.objects import OBJECTS_MODEL
from partdistillation.objects.object_features import coarse_features
from partdistillation.objects.salient_classes import FILE as MEANS
from partdistillation.part_shapes import PartShapes
from partdistillation.runs.atomic import explained, new_folder, replace_file
from partdistillation.runs.digests import write_digests
from partdistillation.runs.part_table import FILE as PART_TABLE
from partdistillation.runs.part_table import write_part_table

OPSET = 20
_EXAMPLE = (1, 3, 96, 128)
"""Any size will do: height and width are left open, in multiples of 32."""


class _Graph(nn.Module):
    """What is exported of a network: the decoder's last layer, and what tells classes of objects apart."""

    def __init__(self, network: PartMask2Former) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        levels = self.network.encode(pixels)
        output = self.network.decode(levels)
        return output.queries[-1, 0], mask_logits(output)[0], coarse_features(levels)


def export_onnx(part_model: str | Path, out: Path) -> Path:
    """Write a part model as the folder `out` for `OnnxPartSegmenter`; return it.

    A saliency network that finds the objects goes with it, an instance segmentation model doesn't.

    Raises:
        CheckpointError: `part_model` can't be loaded, or isn't a part model.
        ConfigError: onnxscript isn't installed.
        StoreError: `out` holds something, or can't be written.
    """
    part_model = folder_of(part_model)
    with new_folder(out) as place:
        segmenter = PartSegmenter.from_pretrained(part_model, device="cpu")
        network, info = segmenter.network, segmenter.network.info
        head = network.class_predictor
        assert isinstance(head, PartHead)  # as PartSegmenter has checked
        replace_file(place / NETWORK, onnx_bytes(network))
        rows = {name: values.detach() for name, values in head.state_dict().items()}
        replace_file(place / HEAD, save(rows))
        if segmenter.part_table.classes:
            write_part_table(place / PART_TABLE, segmenter.part_table)
        finder = objects_model_in(part_model)
        if finder is not None and (finder / MEANS).is_file():
            with explained(out):
                shutil.copytree(finder, place / OBJECTS_MODEL, copy_function=shutil.copyfile)
        description = OnnxInfo(
            info.class_names, info.num_parts, info.image_size, info.pixel_mean, info.pixel_std
        )
        replace_file(place / CONFIG, description.to_json().encode())
        write_digests(place)
    return out


def onnx_bytes(network: PartMask2Former) -> bytes:
    """The network as an ONNX file's content; all but the head, for one image of any size.

    The network is changed: it attends step by step from now on, as exporting Swin needs it.

    Raises:
        ConfigError: onnxscript isn't installed.
    """
    for module in network.modules():
        config = getattr(module, "config", None)
        if getattr(config, "_attn_implementation", None) is not None:
            config._attn_implementation = "eager"  # type: ignore[union-attr]
    sides = {side: 32 * torch.export.Dim(name) for side, name in ((2, "rows"), (3, "columns"))}
    with _quiet():
        try:
            program: Any = torch.onnx.export(
                _Graph(network).eval().requires_grad_(False),
                (torch.zeros(_EXAMPLE),),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[*OUTPUTS],
                dynamic_shapes={INPUT: sides},
                verbose=False,
            )
        except ImportError as error:
            raise ConfigError(f"exporting needs onnxscript: {to_install('onnx')} ({error})") from error
    content: bytes = program.model_proto.SerializeToString()
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks: on torchvision, which isn't needed, and what it doesn't simplify."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


class Agreement(NamedTuple):
    """How near onnxruntime comes to PyTorch on a few drawings."""

    difference: float
    """The largest of mask logits."""
    parts: int
    """That PyTorch finds."""
    same: int
    """Of them the ones that onnxruntime finds with the same mask, to a pixel in a hundred."""

    def __str__(self) -> str:
        parts = f"{self.same} of {self.parts} parts agree"
        return f"Largest difference of mask logits {self.difference:.1g}; {parts}"


def verify(part_model: str | Path, folder: Path, *, drawings: int = 6) -> Agreement:
    """Compare the exported model with the part model, on drawings of several sizes with their objects.

    Raises:
        CheckpointError: one of them can't be loaded, or over one part in a hundred differs.
    """
    theirs = PartSegmenter.from_pretrained(part_model, device="cpu")
    ours = OnnxPartSegmenter.from_pretrained(folder, device="cpu")
    difference, parts, same = 0.0, 0, 0
    for number in range(drawings):
        scene = PartShapes(seed=0, size=96 + 32 * number)[number]
        image = np.ascontiguousarray(scene.image[number:, : -3 * number or None])
        masks = [shape.mask[number:, : -3 * number or None] for shape in scene.objects]
        names = ours.class_names
        objects = [
            ObjectMask(mask, names[place % len(names)]) for place, mask in enumerate(masks) if mask.any()
        ]
        logits = theirs._look(image).mask_logits.numpy() - ours._look(image).mask_logits
        difference = max(difference, float(np.abs(logits).max()))
        expected, actual = (_parts(segmenter, image, objects) for segmenter in (theirs, ours))
        parts += len(expected)
        same += sum(key in actual and _alike(part, actual[key]) for key, part in expected.items())
    agreement = Agreement(difference, parts, same)
    if same < 0.99 * parts:
        raise CheckpointError(f"{folder}: expected the parts of {part_model}, found: {agreement}")
    return agreement


def _parts(
    segmenter: BasePartSegmenter[Any], image: np.ndarray, objects: list[ObjectMask]
) -> dict[tuple[int, int], FoundPart]:
    """All parts, by the object's place and the part class."""
    result = segmenter(image, objects, min_ratio=0.0, min_score=0.0)
    return {(place, part.part): part for place, shape in enumerate(result.objects) for part in shape.parts}


def _alike(part: FoundPart, other: FoundPart) -> bool:
    return bool((part.mask & other.mask).sum() >= 0.99 * (part.mask | other.mask).sum())
