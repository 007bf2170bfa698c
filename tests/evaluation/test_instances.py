"""An instance segmentation model on a data set."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from partdistillation.data.coco import CocoDataset, read_instances
from partdistillation.data.images import load_image
from partdistillation.errors import CheckpointError, InputError
from partdistillation.evaluation.instances import find_all, measure, ranked_instances
from partdistillation.functional.masks import decode
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import class_probabilities, full_masks, run_network
from partdistillation.models.sources import resolve
from partdistillation.objects.mask2former import inference_size
from partdistillation.part_shapes import write_coco

BUILTIN = "builtin:part-shapes"
COUNT = 4


@pytest.fixture(scope="module")
def network() -> PartMask2Former:
    return PartMask2Former.from_pretrained(resolve(BUILTIN).path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_coco(tmp_path, "val", seed=11, count=COUNT)
    return tmp_path


@pytest.fixture
def truth(data: Path) -> CocoDataset:
    return read_instances(data / "objects_val.json")


def test_the_built_in_model_finds_the_drawings_objects(data: Path, truth: CocoDataset) -> None:
    found = measure(BUILTIN, data / "val", truth, device="cpu")
    assert (found.images, found.left_out) == (COUNT, 0)
    assert found.objects == sum(len(truth.of(image.id)) for image in truth.images)
    assert found.averages["AP50"] > 0.25  # at random it is 0


def test_the_official_rule(network: PartMask2Former, data: Path) -> None:
    """The hundred best of all pairs, written out with full matrices; queries come several times."""
    image = load_image(data / "val/000000.png")
    names = network.info.class_names
    classes = {row: name for row, name in enumerate(names) if row != 1}
    found = list(ranked_instances(network, image, classes))

    view = run_network(
        network, image, inference_size(image.shape[0], image.shape[1], network.info.image_size)
    )
    with torch.no_grad():
        logits = full_masks(view.mask_logits, view.geometry)
        inside = (logits > 0).flatten(1).float()
        quality = (logits.flatten(1).sigmoid() * inside).sum(1) / (inside.sum(1) + 1e-6)
        classified = class_probabilities(network, view)
    pairs = [
        (float(classified[query, row]), query, row)
        for query in range(len(classified))
        for row in range(len(names))
        if row != 1
    ]
    wanted = [one for one in sorted(pairs, reverse=True)[:100] if inside[one[1]].any()]
    assert len({query for _, query, _ in wanted}) < len(wanted) == len(found)
    by_score = sorted(found, key=lambda one: -one.score)
    expected = sorted(wanted, key=lambda one: -one[0] * float(quality[one[1]]))
    for one, (probability, query, row) in zip(by_score, expected, strict=True):
        assert one.category == names[row]
        assert one.score == pytest.approx(probability * float(quality[query]), rel=1e-4)
        np.testing.assert_array_equal(decode(*one.mask), (logits[query] > 0).numpy())


def test_images_that_cant_be_used_are_left_out_and_named(
    data: Path, truth: CocoDataset, network: PartMask2Former, caplog: pytest.LogCaptureFixture
) -> None:
    torn, other = data / "val/000000.png", data / "val/000001.png"
    torn.write_bytes(torn.read_bytes()[:500])
    document = json.loads(truth.path.read_text())
    document["images"][1]["width"] += 1
    document["images"][2]["width"] = None
    truth.path.write_text(json.dumps(document))
    with caplog.at_level(logging.WARNING):
        found = measure(BUILTIN, data / "val", read_instances(truth.path), device="cpu")
    assert (found.images, found.left_out) == (1, 3)
    assert "3 of 4 images are left out of mask AP" in caplog.text
    assert f"{other}: expected 97 x 96 pixels as the annotations say, found 96 x 96" in caplog.text


def test_no_image_can_be_used(data: Path, truth: CocoDataset) -> None:
    for path in (data / "val").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"expected images of .* found none that can be used"):
        measure(BUILTIN, data / "val", truth, device="cpu")


def renamed(truth: CocoDataset, names: list[str]) -> CocoDataset:
    document = json.loads(truth.path.read_text())
    for category, name in zip(document["categories"], names, strict=False):
        category["name"] = name
    truth.path.write_text(json.dumps(document))
    return read_instances(truth.path)


def test_classes_the_model_doesnt_know(
    data: Path, truth: CocoDataset, network: PartMask2Former, caplog: pytest.LogCaptureFixture
) -> None:
    partly = renamed(truth, ["unheard of"])
    with caplog.at_level(logging.WARNING):
        assert len(list(find_all(network, data / "val", partly))) == COUNT
    assert "the model doesn't know 1 classes of" in caplog.text
    altogether = renamed(truth, [f"unknown {number}" for number in range(len(truth.categories))])
    with pytest.raises(InputError, match=r"expected classes of the model in .*, found none: .* and \d+ more"):
        measure(BUILTIN, data / "val", altogether, device="cpu")


def test_a_part_model_is_refused(
    data: Path, truth: CocoDataset, network: PartMask2Former, tmp_path: Path
) -> None:
    network.with_head(["car"], num_parts=2, seed=0).save_pretrained(tmp_path / "parts")
    with pytest.raises(CheckpointError, match="expected an instance segmentation model, found a part model"):
        measure(tmp_path / "parts", data / "val", truth, device="cpu")
