"""A photograph, and the models of a run that see an object on it."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from partdistillation import config
from partdistillation.config import Inputs, Recipe
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.objects import OBJECTS_MODEL
from partdistillation.objects.object_features import object_feature
from partdistillation.objects.salient_classes import FILE as MEANS
from partdistillation.recipes import SMALL
from partdistillation.runs.digests import write_digests


def photograph(width: int = 96, height: int = 64) -> Image.Image:
    """A bright object in the middle of a dark ground, half of both sides, its right half bluish."""
    pixels = np.full((height, width, 3), 20, np.uint8)
    pixels[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = (250, 240, 230)
    pixels[height // 4 : 3 * height // 4, width // 2 : 3 * width // 4] = (190, 240, 250)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_models(run: Path, recipe: Recipe, write_network: Callable[..., Path]) -> None:
    """A part model of cars and cats, with what finds objects: whatever stands out looks like a car."""
    network = PartMask2Former.from_pretrained(Path(recipe.encoder)).with_head(
        ["car", "cat"], num_parts=3, seed=1
    )
    pixels = np.asarray(photograph())
    feature = object_feature(network, pixels, pixels.max(axis=2) > 100)
    network.save_pretrained(run / "part_model")
    finder = run / "part_model" / OBJECTS_MODEL
    write_network(finder / "net.onnx")
    save_file({"car": feature, "cat": -feature}, finder / MEANS)
    write_digests(finder)
    run.mkdir(exist_ok=True)
    (run / config.CONFIG_FILE).write_text(config.to_yaml(SMALL, Inputs(out=run)), encoding="utf-8")
