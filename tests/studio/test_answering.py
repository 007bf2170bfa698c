"""The worker's answers, here in one process: who finds the objects, and what stays in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch

from partdistillation.errors import InputError
from partdistillation.functional import masks
from partdistillation.functional.masks import decoded
from partdistillation.inference import PartSegmenter
from partdistillation.models.heads import ClassHead
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.objects import saliency_weights
from partdistillation.objects.grounded_sam.box_segmenters import BoxSegmenter
from partdistillation.studio import answering
from partdistillation.studio.answering import Answering
from partdistillation.studio.pieces import Click
from partdistillation.studio.questions import (
    LEAST_SCORE,
    LEAST_SHARE,
    Correct,
    Know,
    Known,
    Look,
    Seen,
    Upload,
)

from ..objects.grounded_sam.conftest import save_sam
from .tiny_models import encoded, photograph

UPLOAD = Upload("id", "a.png", encoded(photograph()))


@pytest.fixture
def model(small_network: PartMask2Former, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A part model alone; no saliency network is installed."""
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(saliency_weights, "_BESIDE", tmp_path / "none")
    small_network.with_head(["car", "cat"], num_parts=3, seed=1).save_pretrained(tmp_path / "part_model")
    return tmp_path / "part_model"


def test_where_nothing_finds_objects_clicks_make_them(model: Path) -> None:
    answers = Answering()
    known = answers(Know(model))
    assert isinstance(known, Known)
    assert not known.finds
    seen = answers(Look(model, UPLOAD))
    assert isinstance(seen, Seen)
    assert seen.objects == ()
    made = answers(Correct(model, UPLOAD, None, "cat", [Click(30, 30, inside=True)]))
    bright = np.asarray(photograph())[..., 0] > 220  # its left half is of one colour
    assert np.mean(decoded(made.mask) ^ bright) < 0.03  # type: ignore[attr-defined]


def test_the_instance_segmentation_model_beside_it_is_used(
    model: Path, small_network: PartMask2Former
) -> None:
    assert isinstance(small_network.class_predictor, ClassHead)
    with torch.no_grad():
        small_network.class_predictor.weight.mul_(20)
    small_network.save_pretrained(model / "objects_model")
    seen = Answering()(Look(model, UPLOAD))
    assert isinstance(seen, Seen)
    expected = PartSegmenter.from_pretrained(model)(
        photograph(), min_ratio=LEAST_SHARE, min_score=LEAST_SCORE, min_object_score=LEAST_SCORE
    )
    assert [entry.category for entry in seen.objects] == [entry.category for entry in expected.objects]
    assert [len(entry.parts) for entry in seen.objects] == [len(entry.parts) for entry in expected.objects]


def test_of_many_classes_one_must_be_chosen(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "MOST_GUESSED", 1)
    with pytest.raises(InputError, match="choose the object's"):
        Answering()(Correct(model, UPLOAD, None, None, [Click(30, 30, inside=True)]))


def test_a_photograph_is_decoded_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answering()
    answers(Look(model, UPLOAD))
    monkeypatch.setattr(answering, "photograph", None)
    answers(Look(model, UPLOAD))


def test_a_model_for_clicks_is_asked_with_all_of_them(model: Path, tmp_path: Path) -> None:
    save_sam(tmp_path / "sam")
    segmenter = BoxSegmenter.from_pretrained(tmp_path / "sam", torch.device("cpu"))
    clicks = [Click(30, 30, inside=True), Click(3, 4, inside=False)]
    pixels = np.asarray(photograph())
    points, inside = torch.tensor([[30.5, 30.5], [3.5, 4.5]]), torch.tensor([True, False])
    before = np.zeros(pixels.shape[:2], bool)
    before[10:40, 20:50] = True
    answers = Answering()
    for mask, frame in ((None, None), (masks.encoded(before), torch.tensor(masks.box(before)))):
        expected = segmenter.at_clicks(segmenter.view(pixels), points, inside, frame)
        made = answers(Correct(model, UPLOAD, mask, "cat", clicks, str(tmp_path / "sam")))
        assert np.array_equal(decoded(made.mask), expected)  # type: ignore[attr-defined]
