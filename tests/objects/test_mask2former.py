"""Objects from an instance segmentation network: scores by hand, classes, and one image at a time."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from partdistillation.errors import CheckpointError
from partdistillation.functional.masks import decode
from partdistillation.models.heads import ClassHead
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import class_probabilities, full_masks, run_network
from partdistillation.objects import ObjectSegmenter, to_object
from partdistillation.objects.mask2former import Mask2FormerObjects, find_instances, inference_size

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.fixture
def network(small_network: PartMask2Former) -> PartMask2Former:
    """Classes car, cat and tree; each query prefers one of them."""
    assert isinstance(small_network.class_predictor, ClassHead)
    with torch.no_grad():
        small_network.class_predictor.weight.mul_(6)
    return small_network


def test_scores_are_class_times_mean_mask_probability(network: PartMask2Former) -> None:
    view = run_network(network, IMAGE, inference_size(40, 60, network.info.image_size))
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


def test_saliency_is_the_most_that_any_query_says(network: PartMask2Former) -> None:
    """At least each query's own, since resizing is linear; at most the surest query's class."""
    (saliency,) = Mask2FormerObjects(network, 0.0).saliency([IMAGE])
    view = run_network(network, IMAGE, inference_size(40, 60, network.info.image_size))
    scores = class_probabilities(network, view).amax(dim=1)
    own = full_masks(view.mask_logits.sigmoid() * scores[:, None, None], view.geometry)
    assert saliency.shape == (40, 60)
    assert (saliency >= own.amax(dim=0).numpy() - 1e-6).all()
    assert 0 < saliency.max() <= float(scores.max())


def test_objects_of_each_image(network: PartMask2Former) -> None:
    find: ObjectSegmenter = Mask2FormerObjects(network, 0.0)
    assert find.vocabulary == ("car", "cat", "tree")
    whole, top, of_trees = find([IMAGE, IMAGE[:20]], ["tree", "car", "cat"]) + find([IMAGE], ["tree", "lamp"])
    expected = [to_object(*instance) for instance in find_instances(network, IMAGE, min_score=0)]
    assert whole == expected
    assert {one.category for one in of_trees} == {"tree"}
    assert all(decode(one.rle, 20, 60).sum() == one.area for one in top)
    assert find([IMAGE], []) == [[]]
    assert find([], ["car"]) == []
    assert find([IMAGE], ["lamp"]) == [[]]


def test_from_pretrained(network: PartMask2Former, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path / "model")
    find = Mask2FormerObjects.from_pretrained(tmp_path / "model", min_score=0.0, device="cpu")
    assert find([IMAGE], ["cat"]) == Mask2FormerObjects(network, 0.0)([IMAGE], ["cat"])
    network.with_head(["car"], num_parts=2, seed=0).save_pretrained(tmp_path / "parts")
    with pytest.raises(CheckpointError, match="found a part model"):
        Mask2FormerObjects.from_pretrained(tmp_path / "parts", min_score=0.0, device="cpu")


@pytest.mark.parametrize(
    ("height", "width", "trained_at", "size"),
    [
        (480, 640, 1024, 1067),  # as COCO's: a shorter side of 800
        (640, 480, 1024, 1067),
        (300, 900, 1024, 1333),  # would be 2400
        (500, 500, 1024, 800),
        (480, 640, 256, 267),
        (1, 1, 1, 1),
    ],
)
def test_images_are_seen_at_mask2former_s_size(height: int, width: int, trained_at: int, size: int) -> None:
    assert inference_size(height, width, trained_at) == size


def test_a_published_model_was_trained_at_1024_pixels(network: PartMask2Former, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["partdistillation"]  # what published models lack
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "sha256.json").unlink()
    found = Mask2FormerObjects.from_pretrained(tmp_path, min_score=0.0, device="cpu").network
    assert found.info.image_size == 1024
