"""A part model by onnxruntime and by PyTorch: seconds a photograph, file sizes, and whether parts agree.

    python benchmarks/onnx_runtime.py [--repeats 5] [--encoders small efficientnet-lite0 swin-t]

Weights are random but for the backbone that is in a package, heads are made sure enough to give parts.
Half precision is the same file converted by onnxruntime's own tool, with float32 at both ends.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from timing import compare
from transformers import Mask2FormerConfig, SwinConfig

from partdistillation.config import LITE0, ArchitectureConfig
from partdistillation.errors import CheckpointError
from partdistillation.inference import OnnxPartSegmenter, PartSegmenter
from partdistillation.inference.base import BasePartSegmenter
from partdistillation.inference.onnx_export import export_onnx
from partdistillation.inference.onnx_segmenter import HEAD, NETWORK
from partdistillation.inference.result import Result
from partdistillation.models.backbones import SMALL
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import ModelInfo
from partdistillation.part_shapes import PartShapes, Scene
from partdistillation.runs.digests import write_digests
from partdistillation.stages.pretrain import new_model

IMAGE_SIZE = 384
NAMES = PartShapes.CATEGORIES


def swin_t() -> PartMask2Former:
    """Swin-T with the decoder of the published Mask2Former of that size."""
    backbone = SwinConfig(  # type: ignore[call-arg]
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    info = ModelInfo(NAMES, image_size=IMAGE_SIZE)
    return PartMask2Former.create(Mask2FormerConfig(backbone_config=backbone), info, seed=0)


def part_model(encoder: str) -> PartMask2Former:
    """A part model of the drawings' classes, 8 parts each."""
    if encoder == "swin-t":
        network = swin_t()
    else:
        architecture = ArchitectureConfig(backbone=SMALL if encoder == "small" else LITE0)
        network = new_model(architecture, NAMES, seed=0, image_size=IMAGE_SIZE)
    parts = network.with_head(NAMES, num_parts=8, seed=1)
    with torch.no_grad():
        parts.class_predictor.rows.mul_(8)  # type: ignore[operator]
    return parts.eval()


def half(folder: Path, out: Path) -> Path:
    """The model with float16 inside."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    converted = convert_float_to_float16(onnx.load(folder / NETWORK), keep_io_types=True)
    out.mkdir()
    for file in folder.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    onnx.save(converted, out / NETWORK)
    write_digests(out)
    return out


def call(segmenter: BasePartSegmenter[Any], scenes: list[Scene]) -> list[Result]:
    return [
        segmenter(scene.image, [(shape.mask, shape.category) for shape in scene.objects], min_score=0.0)
        for scene in scenes
    ]


def agreement(expected: list[Result], actual: list[Result]) -> str:
    """Of PyTorch's parts those that are the other's to the pixel, and those with an IoU of .95 or more."""
    parts = identical = alike = 0
    for theirs, ours in zip(expected, actual, strict=True):
        for instance, other in zip(theirs.objects, ours.objects, strict=True):
            masks = {part.part: part.mask for part in other.parts}
            for part in instance.parts:
                mask = masks.get(part.part, np.zeros_like(part.mask))
                parts += 1
                identical += np.array_equal(mask, part.mask)
                alike += (mask & part.mask).sum() >= 0.95 * (mask | part.mask).sum()
    return f"{identical} / {alike} of {parts}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--encoders", nargs="*", default=["small", "efficientnet-lite0", "swin-t"])
    arguments = parser.parse_args()
    scenes = [PartShapes(seed=5, size=IMAGE_SIZE)[number] for number in range(3)]
    print(
        "| encoder, precision | MB | s, torch | s, onnxruntime | ratio | identical / alike parts |",
        flush=True,
    )
    print("|---|---|---|---|---|---|", flush=True)
    for encoder in arguments.encoders:
        with tempfile.TemporaryDirectory() as temporary:
            model, folder = Path(temporary) / "model", Path(temporary) / "onnx"
            part_model(encoder).save_pretrained(model)
            export_onnx(model, folder)
            torch_side = PartSegmenter.from_pretrained(model, device="cpu")
            expected = call(torch_side, scenes)
            for precision in ("float32", "float16"):
                try:
                    place = folder if precision == "float32" else half(folder, Path(temporary) / "half")
                    ours = OnnxPartSegmenter.from_pretrained(place, device="cpu")
                    sides = {"torch": partial(call, torch_side, scenes), "onnx": partial(call, ours, scenes)}
                    times = compare(sides, arguments.repeats)
                except CheckpointError as error:
                    print(f"| {encoder}, {precision} | can't be run: {str(error)[:200]} |", flush=True)
                    continue
                size = sum((place / name).stat().st_size for name in (NETWORK, HEAD)) / 1e6
                walls = {name: timing.wall / len(scenes) for name, timing in times.items()}
                print(
                    f"| {encoder}, {precision} | {size:.1f} | {walls['torch']:.3f} | {walls['onnx']:.3f} | "
                    f"{walls['torch'] / walls['onnx']:.2f} | {agreement(expected, call(ours, scenes))} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
