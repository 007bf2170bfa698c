"""Detectors against transformers' own processing, and where a box ends up in images of odd sizes."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, GroundingDinoProcessor
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

from partdistillation.errors import InputError
from partdistillation.objects.grounded_sam import text_detectors
from partdistillation.objects.grounded_sam.text_detectors import GroundingDino, Owlv2, load_detector
from partdistillation.objects.preprocessing import Longest, Preprocessing, Shortest

CPU = torch.device("cpu")
GROUNDING_DINOS = ("grounding-dino", "mm-grounding-dino")
NAMES = ["bird", "bird house", "Birdhouse", "cat", "St. Bernards"]
ODD_SIZES = [(37, 91), (91, 37), (64, 64), (5, 203), (203, 5)]


def grounding_dino(models: Path, kind: str) -> GroundingDino:
    detector = load_detector(models / kind, CPU)
    assert isinstance(detector, GroundingDino)
    return detector


def owlv2(models: Path) -> Owlv2:
    detector = load_detector(models / "owlv2", CPU)
    assert isinstance(detector, Owlv2)
    return detector


@pytest.mark.parametrize("kind", GROUNDING_DINOS)
def test_grounding_dino_as_transformers(models: Path, photograph: np.ndarray, kind: str) -> None:
    """Boxes are those of `post_process_grounded_object_detection`, scores those of the names' letters."""
    detector = grounding_dino(models, kind)
    tokenizer: Any = AutoTokenizer.from_pretrained(models / kind)
    images = GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96})
    processor: Any = GroundingDinoProcessor(images, tokenizer)  # type: ignore[no-untyped-call]
    names = NAMES[:4]
    inputs = processor(images=photograph, text=names, return_tensors="pt")
    with torch.no_grad():
        output = detector.network(**inputs)
    theirs = processor.post_process_grounded_object_detection(
        output, threshold=-1.0, text_threshold=0.0, target_sizes=[photograph.shape[:2]]
    )[0]
    text = ". ".join(names).lower() + "."
    encoding = tokenizer(text)
    expected, end = [], 0
    for name in names:
        start = text.index(name.lower(), end)
        end = start + len(name)
        tokens = sorted({encoding.char_to_token(place) for place in range(start, end) if text[place] != " "})
        expected.append(output.logits[0].sigmoid()[:, tokens].amax(dim=1))
    found = detector(photograph, names)
    torch.testing.assert_close(found.boxes, theirs["boxes"])
    scores, labels = torch.stack(expected).max(dim=0)
    torch.testing.assert_close(found.scores, scores)
    assert torch.equal(found.labels, labels)
    assert len(set(labels.tolist())) > 1
    assert (found.scores <= theirs["scores"] + 1e-6).all(), "theirs count the periods, too"


@pytest.mark.parametrize("kind", GROUNDING_DINOS)
def test_names_of_several_texts_are_merged(models: Path, photograph: np.ndarray, kind: str) -> None:
    """16 tokens hold seven names of a letter, so that the others are asked for by themselves."""
    detector = grounding_dino(models, kind)
    names = list("abcdefghi")
    found = detector(photograph, names)
    first, second = (detector(photograph, some) for some in (names[:7], names[7:]))
    assert len(found.scores) == 60
    torch.testing.assert_close(found.boxes, torch.cat([first.boxes, second.boxes]))
    torch.testing.assert_close(found.scores, torch.cat([first.scores, second.scores]))
    assert found.labels.tolist() == [*first.labels.tolist(), *(second.labels + 7).tolist()]


def test_a_period_inside_a_name_does_not_end_it(models: Path, photograph: np.ndarray) -> None:
    detector = grounding_dino(models, "grounding-dino")
    with_period, without = (detector(photograph, [name, "cat"]) for name in ("St. Bernards", "st bernards"))
    assert torch.equal(with_period.scores, without.scores)
    with pytest.raises(InputError, match=r"class name ' \.': expected 1 to 13 tokens"):
        detector(photograph, ["cat", " ."])


@pytest.mark.parametrize(("height", "width"), [(3, 200), (200, 3), (1, 300)])
def test_strips_have_boxes_too(models: Path, height: int, width: int) -> None:
    """The network needs more places in its maps than it has queries."""
    detector = grounding_dino(models, "grounding-dino")
    found = detector(np.zeros((height, width, 3), np.uint8), ["bird"])
    assert len(found.boxes) == 30
    assert torch.isfinite(found.boxes).all()


class FramesBrightPixels:
    """A detector's network that frames what is white in the images it is given: its only box."""

    device = CPU

    config = SimpleNamespace(max_text_len=16, text_config=SimpleNamespace(max_position_embeddings=64))

    def __call__(self, pixel_values: Tensor, pixel_mask: Tensor, input_ids: Tensor) -> SimpleNamespace:
        assert pixel_mask.shape == (1, *pixel_values.shape[2:])
        logits = torch.full((1, 1, 16), -5.0)
        logits[0, 0, input_ids.shape[1] - 3] = 2.0  # the last word's
        return SimpleNamespace(pred_boxes=self.frame(pixel_values[0])[None, None], logits=logits)

    def image_embedder(self, pixels: Tensor) -> tuple[Tensor, None]:
        return self.frame(pixels[0])[None, None, None], None

    def box_predictor(self, features: Tensor, places: Tensor) -> Tensor:
        assert torch.equal(features, places.flatten(1, 2))
        return features

    def class_predictor(self, features: Tensor, names: Tensor) -> tuple[Tensor]:
        return (features.new_full((1, 1, names.shape[1]), 2.0),)

    def frame(self, pixels: Tensor) -> Tensor:
        rows, columns = (pixels.mean(dim=0) > 0.5).nonzero(as_tuple=True)
        height, width = pixels.shape[1:]
        top, bottom = rows.min() / height, (rows.max() + 1) / height
        left, right = columns.min() / width, (columns.max() + 1) / width
        return torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])


@pytest.mark.parametrize(("height", "width"), ODD_SIZES)
@pytest.mark.parametrize("kind", ["grounding-dino", "owlv2"])
def test_boxes_lie_where_the_object_is(models: Path, height: int, width: int, kind: str) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    top, left, bottom, right = height // 5, width // 3, height - height // 7, width - width // 6
    image[top:bottom, left:right] = 255
    network = FramesBrightPixels()
    half = (0.5, 0.5, 0.5)
    if kind == "owlv2":
        detector: Any = Owlv2(network, None, Preprocessing(Longest(480), half, half, canvas=(480, 480)))
        detector._embeddings["bird"] = torch.zeros(4)
    else:
        tokenizer = grounding_dino(models, kind).tokenizer
        detector = GroundingDino(network, tokenizer, Preprocessing(Shortest(400, 600), half, half))
    found = detector(image, ["bird"])
    # a pixel of the network's, in the image's; and half a pixel of the image's, where it was enlarged
    tolerance = max(1.0, max(height, width) / 400)
    expected = torch.tensor([[left, top, right, bottom]], dtype=torch.float32)
    torch.testing.assert_close(found.boxes, expected, atol=tolerance, rtol=0)
    torch.testing.assert_close(found.scores, torch.tensor([2.0]).sigmoid())
    assert found.labels.tolist() == [0]


def test_owlv2_as_transformers(models: Path, monkeypatch: pytest.MonkeyPatch, photograph: np.ndarray) -> None:
    """The whole network and `post_process_object_detection`, for an image that fits into 48 x 32 exactly."""
    detector = owlv2(models)
    monkeypatch.setattr(text_detectors, "NAMES_AT_ONCE", 3)
    photograph = photograph[:34]
    texts = [f"a photo of a {name.lower()}" for name in NAMES]
    tokens = detector._tokenizer(texts, padding="max_length", max_length=24, return_tensors="pt")
    prepared = detector._preprocessing([photograph])
    assert prepared.sizes == ((32, 48),)
    pixels = detector._blackened(prepared.pixels, prepared.inside)
    with torch.no_grad():
        output = detector._network(pixel_values=pixels, **tokens)
    theirs: Any = Owlv2ImageProcessorPil().post_process_object_detection(
        output, threshold=-1.0, target_sizes=[photograph.shape[:2]]
    )[0]
    found = detector(photograph, NAMES)
    torch.testing.assert_close(found.boxes, theirs["boxes"], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(found.scores, theirs["scores"])
    assert torch.equal(found.labels, theirs["labels"])
    assert {label >= 3 for label in found.labels.tolist()} == {True, False}, "both parts have a best name"
    again = detector(photograph, NAMES[::-1])  # from what was kept of the names
    torch.testing.assert_close(again.scores, found.scores)
    assert torch.equal(4 - again.labels, found.labels)


def test_owlv2_reads_images_as_transformers(models: Path) -> None:
    """An enlarged gradient: no filter against aliasing, which differs."""
    detector = owlv2(models)
    rows, columns = np.mgrid[:16, :24]
    image = np.stack([rows * 10, columns * 8, rows * 5 + columns * 4], axis=2).astype(np.uint8)
    theirs: Any = Owlv2ImageProcessorPil(size={"height": 48, "width": 48})(image, return_tensors="pt")
    prepared = detector._preprocessing([image])
    ours = detector._blackened(prepared.pixels, prepared.inside)
    difference = (ours - theirs["pixel_values"]).abs()
    assert difference[:, :, 34:].max() < 1e-6, "black below"
    # borders are enlarged in other ways; the rest differs by the rounding to 8 bits, of which one is .015
    assert difference[:, :, 2:30, 2:-2].max() < 0.03


def test_owlv2_cuts_long_names_and_says_so(
    models: Path, photograph: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    detector = owlv2(models)
    long = "bird" * 10
    for _ in range(2):
        found = detector(photograph, ["cat", long])
    assert torch.isfinite(found.scores).all()
    (record,) = caplog.records
    assert (
        record.getMessage()
        == f"1 names are cut to the 24 tokens that the model reads, such as {'a photo of a ' + long!r}"
    )


def test_image_settings_come_from_the_directory(models: Path) -> None:
    detector = grounding_dino(models, "grounding-dino")
    assert detector.preprocessing.size == Shortest(64, 96)
    square = owlv2(models)._preprocessing
    assert (square.size, square.canvas) == (Longest(48), (48, 48))
    assert replace(square, mean=text_detectors.CLIP_MEAN, std=text_detectors.CLIP_STD) == square
