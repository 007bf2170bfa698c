"""Preprocessing of published models, against transformers' Pillow processors and by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from partdistillation.data.canvas import IMAGENET_MEAN, IMAGENET_STD
from partdistillation.errors import CheckpointError
from partdistillation.objects.preprocessing import Exact, Longest, Preprocessing, Shortest

HALF = (0.5, 0.5, 0.5)
sides = st.integers(1, 90)


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


def imagenet(size: Exact | Longest | Shortest, canvas: tuple[int, int] | None = None) -> Preprocessing:
    return Preprocessing(size, IMAGENET_MEAN, IMAGENET_STD, canvas=canvas)


def test_by_hand() -> None:
    """Two pixels become four columns: a quarter of the way between pixel centres, and none at the ends."""
    image = np.array([[[0, 0, 0], [255, 100, 0]]], np.uint8)
    prepared = Preprocessing(Exact(1, 4), HALF, (0.25, 0.5, 1.0))([image])
    red, green, blue = prepared.pixels[0]
    expected = (torch.tensor([[0, 64, 191, 255]]) / 255 - 0.5) / 0.25
    assert torch.allclose(red, expected)
    assert torch.allclose(green, (torch.tensor([[0, 25, 75, 100]]) / 255 - 0.5) / 0.5)
    assert torch.equal(blue, torch.full((1, 4), -0.5))
    assert prepared.inside.all()
    assert image.tolist() == [[[0, 0, 0], [255, 100, 0]]], "the input stays as it is"


def test_padding() -> None:
    """To the largest height and the largest width of the batch, or to the canvas."""
    prepare = Preprocessing(Longest(6), HALF, HALF)
    batch = [photo(6, 3), photo(2, 6)]
    padded, canvas = prepare(batch), replace(prepare, canvas=(6, 9))(batch)
    assert padded.sizes == canvas.sizes == ((6, 3), (2, 6))
    assert padded.pixels.shape == (2, 3, 6, 6)
    assert canvas.pixels.shape == (2, 3, 6, 9)
    for row, (height, width) in enumerate(canvas.sizes):
        assert canvas.inside[row].sum() == height * width
        assert canvas.inside[row, :height, :width].all()
        assert not canvas.pixels[row].permute(1, 2, 0)[~canvas.inside[row]].any()
    expected = torch.from_numpy(batch[0]).permute(2, 0, 1) / 127.5 - 1
    assert torch.allclose(padded.pixels[0, :, :, :3], expected, atol=1e-6)
    assert torch.equal(prepare(batch[:1]).pixels, padded.pixels[:1, :, :, :3]), "alone as in the batch"
    with pytest.raises(ValueError, match="expected a canvas of at least"):
        imagenet(Longest(64), canvas=(64, 60))


@settings(max_examples=30, deadline=None)
@given(sides, sides)
def test_longest_side_as_sam(height: int, width: int) -> None:
    oracle = SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    prepare = imagenet(Longest(64), canvas=(64, 64))
    image = photo(height, width)
    try:
        expected = oracle(images=image, return_tensors="pt", input_data_format="channels_last")
    except ValueError:  # strips that it rounds to nothing
        assert min(height, width) / max(height, width) * 64 < 0.5
        assert min(prepare([image]).sizes[0]) == 1
        return
    prepared = prepare([image])
    assert prepared.sizes == tuple(map(tuple, expected["reshaped_input_sizes"].tolist()))
    assert torch.allclose(prepared.pixels, expected["pixel_values"].float(), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 90), st.integers(8, 90))
def test_shortest_side_as_grounding_dino(height: int, width: int) -> None:
    oracle = GroundingDinoImageProcessorPil(size={"shortest_edge": 40, "longest_edge": 66})
    images = [photo(height, width), photo(30, 50)]
    expected = oracle(images=images, return_tensors="pt", input_data_format="channels_last")
    prepared = imagenet(Shortest(40, 66))(images)
    assert torch.allclose(prepared.pixels, expected["pixel_values"].float(), atol=1e-5)
    assert torch.equal(prepared.inside, expected["pixel_mask"].bool())


def test_settings_are_those_of_the_model(tmp_path: Path) -> None:
    default = imagenet(Exact(10, 20))
    assert Preprocessing.from_pretrained(tmp_path, default) == default
    write(tmp_path, {"image_mean": HALF, "size": {"height": 4, "width": 6}, "do_pad": None})
    assert Preprocessing.from_pretrained(tmp_path, default) == Preprocessing(Exact(4, 6), HALF, IMAGENET_STD)
    SamImageProcessorPil(image_std=HALF, resample=3).save_pretrained(tmp_path)
    expected = Preprocessing(Longest(1024), IMAGENET_MEAN, HALF, Image.Resampling.BICUBIC, (1024, 1024))
    assert Preprocessing.from_pretrained(str(tmp_path), default) == expected
    GroundingDinoImageProcessorPil().save_pretrained(tmp_path)
    assert Preprocessing.from_pretrained(tmp_path, default) == imagenet(Shortest(800, 1333))
    write(tmp_path, {"image_processor": {"size": {"longest_edge": 9}}}, "processor_config.json")
    assert Preprocessing.from_pretrained(tmp_path, default) == imagenet(Longest(9)), "the newer file first"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"do_normalize": False}, "expected image settings with do_normalize, found it switched off"),
        ({"size": {"width": 3}}, "expected height and width, longest_edge, or both edges; found"),
        ({"image_mean": [0.5]}, "settings can't be used"),
        ({"resample": 77}, "settings can't be used"),
        ({"size": {"longest_edge": 8}, "pad_size": {"height": 4, "width": 8}}, "at least"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, found: dict[str, Any], message: str) -> None:
    write(tmp_path, found)
    with pytest.raises(CheckpointError, match=message):
        Preprocessing.from_pretrained(tmp_path, imagenet(Exact(10, 20)))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="they can't be read"):
        Preprocessing.from_pretrained(tmp_path, imagenet(Exact(10, 20)))


def write(directory: Path, values: dict[str, Any], name: str = "preprocessor_config.json") -> None:
    (directory / name).write_text(json.dumps(values), encoding="utf-8")
