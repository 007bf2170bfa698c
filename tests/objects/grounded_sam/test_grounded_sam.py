"""Objects by name, end to end from model directories, and what is said about wrong ones."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from partdistillation.errors import CheckpointError, InputError
from partdistillation.functional.masks import area, box, decode
from partdistillation.objects import ObjectSegmenter
from partdistillation.objects.grounded_sam import GroundedSamObjects
from partdistillation.objects.grounded_sam.detections import MOST_BOXES

DETECTORS = ("grounding-dino", "mm-grounding-dino", "owlv2")
NAMES = ("bird", "bird house", "cat")


def load(models: Path, detector: str, segmenter: str = "sam2", min_score: float = 0.0) -> GroundedSamObjects:
    return GroundedSamObjects.from_pretrained(
        models / detector, models / segmenter, min_score=min_score, device="cpu"
    )


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("segmenter", ["sam", "sam2"])
def test_objects(models: Path, photograph: np.ndarray, detector: str, segmenter: str) -> None:
    find: ObjectSegmenter = load(models, detector, segmenter)
    assert isinstance(find, ObjectSegmenter)
    assert find.vocabulary is None
    (objects,) = find([photograph], NAMES)
    assert 0 < len(objects) <= MOST_BOXES
    assert [one.score for one in objects] == sorted((one.score for one in objects), reverse=True)
    for one in objects:
        assert one.object_id == 0
        assert one.category in NAMES
        assert 0 <= one.score <= 1
        assert one.area == area(one.rle, 37, 51) > 0
        assert one.box == box(decode(one.rle, 37, 51))


@pytest.mark.parametrize("detector", DETECTORS)
def test_an_image_alone_or_with_others(models: Path, photograph: np.ndarray, detector: str) -> None:
    find = load(models, detector)
    others = [np.zeros((70, 20, 3), np.uint8), photograph[:, ::-1], np.full((16, 90, 3), 200, np.uint8)]
    before = photograph.copy()
    together = find([others[0], photograph, *others[1:]], NAMES)
    assert together[1] == find([photograph], NAMES)[0]
    assert together[3] == find([others[2]], NAMES)[0]
    assert np.array_equal(photograph, before)


@pytest.mark.parametrize("detector", DETECTORS)
def test_low_scores_are_left_out(models: Path, photograph: np.ndarray, detector: str) -> None:
    (every,) = load(models, detector)([photograph], NAMES)
    limit = every[len(every) // 2].score
    (some,) = load(models, detector, min_score=limit)([photograph], NAMES)
    assert some == [one for one in every if one.score >= limit]
    assert load(models, detector, min_score=1.1)([photograph], NAMES) == [[]]


def test_no_names_and_no_images(models: Path, photograph: np.ndarray) -> None:
    find = load(models, "owlv2")
    assert find([photograph, photograph], []) == [[], []]
    assert find([], NAMES) == []


def test_a_name_given_twice_is_one_class(models: Path, photograph: np.ndarray) -> None:
    find = load(models, "grounding-dino")
    assert find([photograph], ["bird", "cat", "bird"]) == find([photograph], ["bird", "cat"])


def test_a_name_without_words(models: Path, photograph: np.ndarray) -> None:
    with pytest.raises(InputError, match="class name '': expected 1 to 13 tokens"):
        load(models, "grounding-dino")([photograph], ["bird", ""])


def test_models_of_another_kind(models: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected Grounding DINO, .*, config.json says 'sam'"):
        load(models, "sam")
    with pytest.raises(CheckpointError, match=r"expected SAM or SAM 2 .*, config.json says 'owlv2'"):
        load(models, "owlv2", "owlv2")


def test_models_that_are_not_there(models: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a model directory or a published model's name"):
        load(models, "owlv3")
    with pytest.raises(CheckpointError, match=r"expected config\.json, found nothing"):
        GroundedSamObjects.from_pretrained(models / "owlv2", tmp_path, min_score=0.0, device="cpu")
    with pytest.raises(CheckpointError, match="expected a model directory or the name of a published model"):
        GroundedSamObjects.from_pretrained("nobody/nothing", models / "sam", min_score=0.0, device="cpu")


def test_weights_of_another_size(models: Path, tmp_path: Path) -> None:
    broken = tmp_path / "sam"
    shutil.copytree(models / "sam", broken)
    config = json.loads((broken / "config.json").read_text(encoding="utf-8"))
    config["mask_decoder_config"]["iou_head_hidden_dim"] = 8
    (broken / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"mask_decoder\.iou_prediction_head.* has shape"):
        GroundedSamObjects.from_pretrained(models / "owlv2", broken, min_score=0.0, device="cpu")


def test_weights_that_are_missing_or_damaged(models: Path, tmp_path: Path) -> None:
    broken = tmp_path / "owlv2"
    shutil.copytree(models / "owlv2", broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="the weights can't be read"):
        GroundedSamObjects.from_pretrained(broken, models / "sam", min_score=0.0, device="cpu")
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"expected model\.safetensors"):
        GroundedSamObjects.from_pretrained(broken, models / "sam", min_score=0.0, device="cpu")


def test_a_model_without_its_tokenizer(models: Path, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(models / "grounding-dino" / name, broken)
    with pytest.raises(
        CheckpointError, match="expected a tokenizer of 1040 tokens beside the model, found 5"
    ):
        GroundedSamObjects.from_pretrained(broken, models / "sam", min_score=0.0, device="cpu")
