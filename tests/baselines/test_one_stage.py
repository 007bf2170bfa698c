"""The one-stage baseline, with colours as features: a colour is a part class, wherever it is in an object."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from partdistillation.baselines import one_stage
from partdistillation.config import Inputs, Recipe
from partdistillation.errors import SettingsChanged
from partdistillation.functional.masks import decode, encode
from partdistillation.runs.records import Object, ObjectRow
from partdistillation.stages import part_classes
from partdistillation.stages.pixel_features import PixelFeatures

RED, BLUE, GREEN = (200, 30, 30), (30, 30, 200), (20, 160, 20)


def colour_map(image: np.ndarray) -> Tensor:
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % 32), (0, -width % 32), (0, 0)))
    return torch.from_numpy(padded).movedim(-1, 0).float()


colours = PixelFeatures(colour_map)


def flag(folder: Path, name: str, left: tuple[int, int, int], right: tuple[int, int, int]) -> ObjectRow:
    """An image of 64 x 48 with a flag of two colours, larger on the left."""
    image = np.full((48, 64, 3), 120, np.uint8)
    mask = np.zeros((48, 64), np.bool_)
    mask[8:40, 8:56] = True
    image[8:40, 8:40], image[8:40, 40:56] = left, right
    Image.fromarray(image).save(folder / name)
    found = Object(0, "flag", 1.0, int(mask.sum()), (0.0, 0.0, 1.0, 1.0), encode(mask))
    return ObjectRow(name, name, 64, 48, "ok", "", (found,))


def recipe() -> Recipe:
    plain = Recipe()
    return replace(
        plain,
        segments=replace(plain.segments, image_size=64, metric="l2"),
        ranking=replace(plain.ranking, num_parts=3, restarts=3),
    )


def test_a_colour_is_a_part_class_over_the_whole_data_set(
    tmp_path: Path, write_stage: Callable[[Path, Any], Path]
) -> None:
    settings = recipe()
    rows = [
        flag(tmp_path, "a.png", RED, BLUE),
        flag(tmp_path, "b.png", BLUE, GREEN),
        flag(tmp_path, "c.png", GREEN, RED),
    ]
    pixels = [one_stage.pixel_row(row, tmp_path, colours, settings.segments) for row in rows]
    assert all(found.count == one_stage.PIXELS_PER_OBJECT for row in pixels for found in row.objects)
    write_stage(tmp_path / "pixels", pixels)
    inputs = Inputs(out=tmp_path)
    folder = one_stage.find_part_classes(inputs, settings, tmp_path)
    centroids = part_classes.read(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert one_stage.find_part_classes(inputs, settings, tmp_path) == folder  # not again
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    description = json.loads((folder / "part_classes.json").read_text())
    assert description["classes"] == {"flag": {"pixels": 3 * one_stage.PIXELS_PER_OBJECT, "part_classes": 3}}
    other = replace(settings, ranking=replace(settings.ranking, num_parts=2))
    with pytest.raises(SettingsChanged, match=r"num_parts: was 3, is now 2"):
        one_stage.find_part_classes(inputs, other, tmp_path)
    classes = {tuple(one): place for place, one in enumerate(centroids["flag"].astype(int).tolist())}
    assert set(classes) == {RED, BLUE, GREEN}

    parts = [one_stage.part_row(row, tmp_path, colours, centroids, settings.segments) for row in rows]
    for row, (left, right) in zip(parts, [(RED, BLUE), (BLUE, GREEN), (GREEN, RED)], strict=True):
        found = {part.part: decode(part.rle, 48, 64) for part in row.objects[0].parts}
        assert set(found) == {classes[left], classes[right]}
        assert found[classes[left]][8:40, 8:40].all()
        assert found[classes[right]][8:40, 40:56].all()
        assert sum(mask.sum() for mask in found.values()) == 32 * 48
