"""Objects from an instance segmentation network: scores by hand, classes, and rows for every input."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from partdistillation.data.images import ImageInput
from partdistillation.errors import CheckpointError
from partdistillation.functional.masks import decode
from partdistillation.models.heads import ClassHead
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.objects import ObjectSource
from partdistillation.objects.mask2former import Mask2FormerObjects, find_instances
from partdistillation.postprocess import class_probabilities, full_masks, run_network

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
EVERYTHING = {"max_objects": 10, "min_area": 0.0, "min_score": 0.0, "device": "cpu"}


@pytest.fixture
def network(small_network: PartMask2Former) -> PartMask2Former:
    """Classes car, cat and tree; each query prefers one of them."""
    assert isinstance(small_network.class_predictor, ClassHead)
    with torch.no_grad():
        small_network.class_predictor.weight.mul_(6)
    return small_network


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for folder in ("cat", "other"):
        (tmp_path / folder).mkdir()
        Image.fromarray(IMAGE).save(tmp_path / folder / "a.png")
    return tmp_path


def photo(root: Path, category: str) -> ImageInput:
    name = f"{category}/a.png"
    return ImageInput(name, name, root / name, category)


def segmenter(network: PartMask2Former, **changes: object) -> Mask2FormerObjects:
    settings = {"max_objects": 10, "min_area": 0.0, "min_score": 0.0, **changes}
    return Mask2FormerObjects(network, **settings)  # type: ignore[arg-type]


def test_scores_are_class_times_mean_mask_probability(network: PartMask2Former) -> None:
    view = run_network(network, IMAGE, network.info.image_size)
    probabilities = class_probabilities(network, view)
    logits = full_masks(view.mask_logits, view.geometry)
    expected = {}
    for query in range(len(logits)):
        inside = logits[query] > 0
        if inside.any():
            best, label = probabilities[query].max(dim=0)
            mean = (logits[query].sigmoid() * inside).sum() / (inside.sum() + 1e-6)
            expected[network.info.class_names[label], int(inside.sum())] = float(best * mean)
    found = {(i.category, int(i.mask.sum())): i.score for i in find_instances(network, IMAGE, min_score=0)}
    assert found == pytest.approx(expected, abs=1e-5)
    assert len(found) > 1


def test_low_scores_and_other_classes_are_left_out(network: PartMask2Former) -> None:
    every = sorted(find_instances(network, IMAGE, min_score=0), key=lambda one: -one.score)
    limit = (every[0].score + every[1].score) / 2
    assert [i.score for i in find_instances(network, IMAGE, min_score=limit)] == [every[0].score]
    names = {i.category for i in find_instances(network, IMAGE, min_score=0, classes=frozenset({"tree"}))}
    assert names == {"tree"}
    assert not list(find_instances(network, IMAGE, min_score=0, classes=frozenset({"lamp"})))


def test_rows(network: PartMask2Former, images: Path) -> None:
    find: ObjectSource = segmenter(network, max_objects=2)
    in_cats, elsewhere = find([photo(images, "cat"), photo(images, "other")])
    assert (elsewhere.status, elsewhere.width, elsewhere.height) == ("ok", 60, 40)
    assert [one.object_id for one in elsewhere.objects] == [0, 1]
    assert elsewhere.objects[0].score >= elsewhere.objects[1].score
    best = max(find_instances(network, IMAGE, min_score=0), key=lambda one: one.score)
    assert np.array_equal(decode(elsewhere.objects[0].rle, 40, 60), best.mask)
    assert {one.category for one in in_cats.objects} == {"cat"}, "the folder tells the class"


def test_what_cannot_be_used_is_rejected(network: PartMask2Former, images: Path) -> None:
    (images / "other/a.png").write_bytes(b"no image")
    bad, missing = (
        photo(images, "other"),
        ImageInput("b", "b.png", images / "b.png", problem="expected a file name in UTF-8"),
    )
    strict = segmenter(network, min_score=1.0)
    rows = strict([bad, missing, photo(images, "cat")])
    assert [row.status for row in rows] == ["rejected"] * 3
    assert rows[0].reason.startswith("expected a JPEG")
    assert rows[1].reason == "expected a file name in UTF-8"
    assert (rows[2].reason, rows[2].width) == ("no objects", 60)


def test_from_pretrained(network: PartMask2Former, images: Path, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path / "model")
    find = Mask2FormerObjects.from_pretrained(tmp_path / "model", **EVERYTHING)  # type: ignore[arg-type]
    assert find([photo(images, "other")]) == segmenter(network)([photo(images, "other")])
    network.with_head(["car"], num_parts=2, seed=0).save_pretrained(tmp_path / "parts")
    with pytest.raises(CheckpointError, match="found a part model"):
        Mask2FormerObjects.from_pretrained(tmp_path / "parts", **EVERYTHING)  # type: ignore[arg-type]
