"""Masks of boxes against transformers' own processing, and their geometry in images of odd sizes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import SamProcessor
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from partdistillation.objects.grounded_sam import box_segmenters
from partdistillation.objects.grounded_sam.box_segmenters import BoxSegmenter
from partdistillation.objects.preprocessing import Exact, Longest, Preprocessing

CPU = torch.device("cpu")
BOXES = torch.tensor([[3.0, 4.0, 30.0, 30.0], [1.0, 2.0, 10.0, 11.0], [0.0, 0.0, 51.0, 37.0]])
HALF = (0.5, 0.5, 0.5)


def test_sam_as_transformers(models: Path, photograph: np.ndarray) -> None:
    segmenter = BoxSegmenter.from_pretrained(models / "sam", CPU)
    images = SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    processor: Any = SamProcessor(images)  # type: ignore[no-untyped-call]
    inputs = processor(photograph, input_boxes=[BOXES.tolist()], return_tensors="pt")
    with torch.no_grad():
        output = segmenter.network(
            pixel_values=inputs["pixel_values"],
            input_boxes=inputs["input_boxes"].float(),
            multimask_output=False,
        )
    expected = processor.post_process_masks(
        output.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )[0]
    found = list(segmenter(photograph, BOXES))
    assert np.array_equal(np.stack(found), expected[:, 0].numpy())
    assert 0 < np.mean(found) < 1


@pytest.mark.parametrize("kind", ["sam2", "sam2_video"])
def test_sam2_as_transformers(models: Path, photograph: np.ndarray, kind: str) -> None:
    """The whole network, and its small maps at the image's size, as its authors enlarge them."""
    segmenter = BoxSegmenter.from_pretrained(models / kind, CPU)
    stored = load_file(models / kind / "model.safetensors")
    for name, weight in segmenter.network.mask_decoder.state_dict().items():
        assert torch.equal(weight, stored[f"mask_decoder.{name}"])
    pixels = segmenter.preprocessing([photograph]).pixels
    scale = torch.tensor([64 / 51, 64 / 37, 64 / 51, 64 / 37])
    with torch.no_grad():
        output = segmenter.network(
            pixel_values=pixels, input_boxes=(BOXES * scale)[None], multimask_output=False
        )
    expected = interpolate(output.pred_masks[0], (37, 51), mode="bilinear", align_corners=False)[:, 0] > 0
    found = list(segmenter(photograph, BOXES))
    assert np.array_equal(np.stack(found), expected.numpy())
    assert 0 < np.mean(found) < 1


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_parts_of_the_boxes_give_the_same(
    models: Path, monkeypatch: pytest.MonkeyPatch, photograph: np.ndarray, kind: str
) -> None:
    segmenter = BoxSegmenter.from_pretrained(models / kind, CPU)
    together = list(segmenter(photograph, BOXES))
    monkeypatch.setattr(box_segmenters, "BOXES_AT_ONCE", 2)
    assert np.array_equal(list(segmenter(photograph, BOXES)), together)


class FillsBoxes:
    """A segmenter's network whose masks are its boxes, in maps of a quarter of the size that it reads."""

    device = CPU

    def __init__(self, side: int) -> None:
        self.side = side
        self.images = 0

    def get_image_embeddings(self, pixels: Tensor) -> Tensor:
        assert pixels.shape == (1, 3, self.side, self.side)
        self.images += 1
        return pixels

    def __call__(
        self, image_embeddings: Tensor, input_boxes: Tensor, multimask_output: bool
    ) -> SimpleNamespace:
        assert image_embeddings.shape[0] == 1
        assert not multimask_output
        centres = torch.arange(self.side // 4) * 4 + 2.0
        left, top, right, bottom = input_boxes[0, :, :, None].unbind(dim=1)
        columns = torch.minimum(centres - left, right - centres)
        rows = torch.minimum(centres - top, bottom - centres)
        return SimpleNamespace(pred_masks=torch.minimum(rows[:, :, None], columns[:, None, :])[None, :, None])


@pytest.mark.parametrize(("height", "width"), [(37, 91), (91, 37), (64, 64), (301, 200), (9, 250)])
@pytest.mark.parametrize("padded", [True, False])
def test_masks_lie_in_their_boxes(height: int, width: int, padded: bool) -> None:
    """As SAM pads an image and as SAM 2 stretches it."""
    side = 512
    preprocessing = (
        Preprocessing(Longest(side), HALF, HALF, canvas=(side, side))
        if padded
        else Preprocessing(Exact(side, side), HALF, HALF)
    )
    network = FillsBoxes(side)
    boxes = torch.tensor(
        [
            [width // 5, height // 4, width - width // 7, height - height // 9],
            [0, 0, width, height],
            [width // 2, 0, width, height // 2],
        ],
        dtype=torch.float32,
    )
    image = np.zeros((height, width, 3), np.uint8)
    found = list(BoxSegmenter(network, preprocessing)(image, boxes))
    for mask, (left, top, right, bottom) in zip(found, boxes.int().tolist(), strict=True):
        expected = np.zeros((height, width), bool)
        expected[top:bottom, left:right] = True
        assert mask.shape == (height, width)
        overlap = (mask & expected).sum() / (mask | expected).sum()
        assert overlap > 0.97
        rows, columns = np.nonzero(mask)
        frame = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.abs(np.subtract(frame, (left, top, right, bottom))).max() <= 1
    assert network.images == 1, "the image is encoded once"


def test_without_boxes_the_image_is_not_encoded() -> None:
    network = FillsBoxes(64)
    segmenter = BoxSegmenter(network, Preprocessing(Exact(64, 64), HALF, HALF))
    assert list(segmenter(np.zeros((8, 8, 3), np.uint8), torch.zeros(0, 4))) == []
    assert network.images == 0


def test_sam2_settings_that_are_sams_are_corrected(models: Path, tmp_path: Path) -> None:
    """Some published SAM 2 models come with SAM's image settings."""
    for path in [*(models / "sam2").iterdir(), models / "sam" / "preprocessor_config.json"]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    preprocessing = BoxSegmenter.from_pretrained(tmp_path, CPU).preprocessing
    assert (preprocessing.size, preprocessing.canvas) == (Exact(64, 64), None)


CLICKS, INSIDE = torch.tensor([[20.5, 18.5], [40.5, 8.5]]), torch.tensor([True, False])


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("framed", [False, True])
def test_clicks_as_transformers(models: Path, photograph: np.ndarray, count: int, framed: bool) -> None:
    segmenter = BoxSegmenter.from_pretrained(models / "sam", CPU)
    images = SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    processor: Any = SamProcessor(images)  # type: ignore[no-untyped-call]
    prompts: dict[str, Any] = {
        "input_points": [[CLICKS[:count].tolist()]],
        "input_labels": [[INSIDE[:count].long().tolist()]],
    }
    if framed:
        prompts["input_boxes"] = [BOXES[:1].tolist()]
    inputs = processor(photograph, **prompts, return_tensors="pt")
    vague = count == 1 and not framed
    with torch.no_grad():
        output = segmenter.network(
            pixel_values=inputs["pixel_values"],
            **{name: inputs[name].float() for name in prompts if name != "input_labels"},
            input_labels=inputs["input_labels"],
            multimask_output=vague,
        )
    expected = processor.post_process_masks(
        output.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )[0][0]
    best = int(output.iou_scores[0, 0].argmax())
    view = segmenter.view(photograph)
    mask = segmenter.at_clicks(view, CLICKS[:count], INSIDE[:count], BOXES[0] if framed else None)
    assert np.array_equal(mask, expected[best].numpy())


@pytest.mark.parametrize("kind", ["sam2", "sam2_video"])
def test_clicks_of_sam2(models: Path, photograph: np.ndarray, kind: str) -> None:
    segmenter = BoxSegmenter.from_pretrained(models / kind, CPU)
    pixels = segmenter.preprocessing([photograph]).pixels
    with torch.no_grad():
        output = segmenter.network(
            pixel_values=pixels,
            input_points=(CLICKS * torch.tensor([64 / 51, 64 / 37]))[None, None],
            input_labels=INSIDE.long()[None, None],
            multimask_output=False,
        )
    expected = interpolate(output.pred_masks[0], (37, 51), mode="bilinear", align_corners=False)[0, 0] > 0
    mask = segmenter.at_clicks(segmenter.view(photograph), CLICKS, INSIDE)
    assert np.array_equal(mask, expected.numpy())
