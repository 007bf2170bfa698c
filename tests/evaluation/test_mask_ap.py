"""Mask AP: hand-made cases, and COCOeval used the ordinary way, on files."""

import json
import logging
import math
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from partdistillation.data.coco import CocoDataset, read_instances
from partdistillation.errors import InputError
from partdistillation.evaluation.mask_ap import AVERAGES, FoundInstance, ImageInstances, MaskAp, score
from partdistillation.functional.masks import EncodedMask, encode, encoded_from_coco

SIZE = 100
HALF = 51 / 101
"""AP where half of the objects are found and nothing else: precision is 1 at the recalls 0, .01, ..., .5."""

Rectangle = tuple[int, int, int, int]
"""x0, y0, x1, y1"""
BIG, SMALL = (0, 0, 50, 40), (60, 60, 80, 80)
"""2000 pixels, which COCO calls medium, and 400."""


def mask(*rectangles: Rectangle) -> EncodedMask:
    pixels = np.zeros((SIZE, SIZE), np.bool_)
    for x0, y0, x1, y1 in rectangles:
        pixels[y0:y1, x0:x1] = True
    return EncodedMask(encode(pixels), SIZE, SIZE)


def annotation(image: int, category: int, rectangle: Rectangle, **more: Any) -> dict[str, Any]:
    segmentation = {"size": [SIZE, SIZE], "counts": mask(rectangle).counts.decode()}
    return {"image_id": image, "category_id": category, "segmentation": segmentation, **more}


def dataset(folder: Path, annotations: list[dict[str, Any]], images: int = 1) -> CocoDataset:
    document = {
        "images": [
            {"id": number, "file_name": f"{number}.png", "width": SIZE, "height": SIZE}
            for number in range(images)
        ],
        "info": {},  # pycocotools before 2.0.11 asks for it
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations)],
    }
    path = folder / "objects.json"
    path.write_text(json.dumps(document))
    return read_instances(path)


def measured(truth: CocoDataset, *found: list[FoundInstance]) -> MaskAp:
    """The predictions of the first images, in order."""
    pairs = zip(truth.images, found, strict=False)
    return score(truth, (ImageInstances(image, tuple(instances)) for image, instances in pairs))


# ---------------------------------------------------------------------- by hand


def test_perfect_predictions(tmp_path: Path) -> None:
    """Whatever the scores are, and in the area ranges that have objects."""
    truth = dataset(tmp_path, [annotation(0, 7, BIG), annotation(0, 9, SMALL)])
    found = measured(truth, [FoundInstance("cat", 0.1, mask(BIG)), FoundInstance("dog", 0.9, mask(SMALL))])
    assert (found.images, found.left_out, found.objects, found.predictions) == (1, 0, 2, 2)
    ones = {name for name, value in found.averages.items() if value == pytest.approx(1)}
    assert ones == set(AVERAGES) - {"APl", "ARl"}
    assert math.isnan(found.averages["APl"])
    assert found.categories == pytest.approx({"cat": 1.0, "dog": 1.0})


def test_one_object_missed(tmp_path: Path) -> None:
    truth = dataset(tmp_path, [annotation(0, 7, BIG), annotation(0, 7, SMALL)])
    found = measured(truth, [FoundInstance("cat", 0.5, mask(BIG))])
    assert found.averages["AP"] == pytest.approx(HALF)
    assert (found.averages["APm"], found.averages["APs"]) == pytest.approx((1.0, 0.0))
    assert found.averages["AR@100"] == 0.5


def test_an_image_without_predictions_counts_but_not_one_that_is_left_out(tmp_path: Path) -> None:
    truth = dataset(tmp_path, [annotation(0, 7, BIG), annotation(1, 7, BIG)], images=2)
    right = [FoundInstance("cat", 0.5, mask(BIG))]
    both, one = measured(truth, right, []), measured(truth, right)
    assert (both.images, both.left_out, both.objects) == (2, 0, 2)
    assert (one.images, one.left_out, one.objects) == (1, 1, 1)
    assert both.averages["AP"] == pytest.approx(HALF)
    assert one.averages["AP"] == pytest.approx(1)
    assert "(1 more can't be used)" in one.tables().markdown()


def test_thresholds(tmp_path: Path) -> None:
    """6 of 10 columns: an IoU of .6, which three of ten thresholds let pass."""
    truth = dataset(tmp_path, [annotation(0, 7, (0, 0, 10, 10))])
    found = measured(truth, [FoundInstance("cat", 0.5, mask((0, 0, 6, 10)))])
    assert found.averages["AP"] == pytest.approx(0.3)
    assert (found.averages["AP50"], found.averages["AP75"]) == pytest.approx((1.0, 0.0))


def test_a_better_scored_mistake_halves_precision_unless_it_lies_in_a_crowd(tmp_path: Path) -> None:
    found = [FoundInstance("cat", 0.9, mask(SMALL)), FoundInstance("cat", 0.5, mask(BIG))]
    alone = dataset(tmp_path, [annotation(0, 7, BIG)])
    assert measured(alone, found).averages["AP"] == pytest.approx(0.5)
    crowd = annotation(0, 7, (55, 55, 100, 100), iscrowd=1)
    crowded = measured(dataset(tmp_path, [annotation(0, 7, BIG), crowd]), found)
    assert (crowded.averages["AP"], crowded.objects) == pytest.approx((1.0, 1))


def test_classes_are_compared_by_name(tmp_path: Path) -> None:
    """The right mask of another class is a mistake; of a class that nobody asked about, nothing."""
    truth = dataset(tmp_path, [annotation(0, 7, BIG), annotation(0, 9, SMALL)])
    found = measured(truth, [FoundInstance("cat", 0.5, mask(BIG)), FoundInstance("cow", 0.9, mask(SMALL))])
    assert found.categories == pytest.approx({"cat": 1.0, "dog": 0.0})
    assert (found.averages["AP"], found.predictions) == pytest.approx((0.5, 1))


def test_the_file_s_area_says_what_is_small(tmp_path: Path) -> None:
    found = [FoundInstance("cat", 0.5, mask(BIG))]
    truth = dataset(tmp_path, [annotation(0, 7, BIG, area=1000.5)])
    averages = measured(truth, found).averages
    assert averages["APs"] == pytest.approx(1)
    assert math.isnan(averages["APm"])
    for unusable in (-1, "2000", None, True, math.inf):
        truth = dataset(tmp_path, [annotation(0, 7, BIG, area=unusable)])
        assert measured(truth, found).averages["APm"] == pytest.approx(1)


def test_without_true_objects_nothing_is_measured(tmp_path: Path) -> None:
    found = measured(dataset(tmp_path, []), [FoundInstance("cat", 0.5, mask(BIG))])
    assert all(math.isnan(value) for value in found.averages.values())
    assert found.categories == {}
    values = json.loads(found.tables().json())
    assert (values["averages"]["AP"], values["predictions"]) == (None, 1)


def test_the_table(tmp_path: Path) -> None:
    truth = dataset(tmp_path, [annotation(0, 7, BIG), annotation(0, 9, SMALL)])
    found = measured(truth, [FoundInstance("cat", 0.5, mask(BIG))]).tables()
    head, averages, classes = found.markdown().split("\n\n")
    assert head == "Images: 1; true objects: 2; predictions: 1. Mask AP in percent."
    assert averages.splitlines()[0].startswith("| AP | AP50 | AP75 | APs | APm | APl |")
    assert averages.splitlines()[2].startswith("| 50.0 | 50.0 | 50.0 | 0.0 | 100.0 | - |")
    assert classes.splitlines() == ["| class | AP |", "| --- | ---: |", "| cat | 100.0 |", "| dog | 0.0 |"]


# ---------------------------------------------------------------------- bad input


def test_a_bad_annotation_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = {"image_id": 0, "category_id": 7, "segmentation": {"size": [5, 5], "counts": "1"}}
    truth = dataset(tmp_path, [annotation(0, 7, BIG), bad])
    with caplog.at_level(logging.WARNING):
        found = measured(truth, [FoundInstance("cat", 0.5, mask(BIG))])
    assert (found.averages["AP"], found.objects) == pytest.approx((1.0, 1))
    assert "annotation 1 is left out: Expected a run-length encoding of the image's size" in caplog.text


def test_what_cant_be_scored(tmp_path: Path) -> None:
    truth = dataset(tmp_path, [annotation(0, 7, BIG)])
    (image,) = truth.images
    with pytest.raises(InputError, match=r"expected images of .* found none"):
        score(truth, [])
    with pytest.raises(InputError, match=r"expected each image once, found 0\.png again"):
        score(truth, [ImageInstances(image, ()), ImageInstances(image, ())])
    other = EncodedMask(encode(np.ones((3, 4), np.bool_)), 3, 4)
    with pytest.raises(
        InputError, match=r"0\.png: expected a mask of the image's size \(100, 100\) .* \(3, 4\)"
    ):
        score(truth, [ImageInstances(image, (FoundInstance("cat", 0.5, other),))])


# ---------------------------------------------------------------------- another judge


@pytest.mark.parametrize("seed", range(3))
def test_as_cocoeval_on_files(tmp_path: Path, seed: int) -> None:
    """Forty images with polygons, crowds and jittered, mixed-up and invented predictions."""
    rng = np.random.default_rng(seed)
    annotations, results, found = [], [], []
    for image in range(40):
        instances = []
        for _ in range(rng.integers(0, 6)):
            x, y, width, height = rng.integers(0, 60, 2).tolist() + rng.integers(4, 40, 2).tolist()
            category = int(rng.choice([7, 9]))
            polygon = [x, y, x + width, y, x + width, y + height, x + 1.5, y + height - 0.5]
            crowd = rng.random() < 0.1
            counts = mask((x, y, x + width, y + height)).counts.decode()
            segmentation = {"size": [SIZE, SIZE], "counts": counts} if crowd else [polygon]
            size = 0.8 * width * height
            annotations.append(
                {"image_id": image, "category_id": category, "segmentation": segmentation,
                 "area": size, "iscrowd": int(crowd), "bbox": [x, y, width, height]}
            )  # fmt: skip
        for _ in range(rng.integers(0, 8)):
            x, y, width, height = rng.integers(0, 60, 2).tolist() + rng.integers(4, 40, 2).tolist()
            mine = [one for one in annotations if one["image_id"] == image]
            shape = mask((x, y, x + width, y + height))
            if mine and rng.random() < 0.7:
                shape = encoded_from_coco(mine[rng.integers(len(mine))]["segmentation"], SIZE, SIZE)
            category = int(rng.choice([7, 9]))
            value = float(rng.integers(1, 20)) / 20  # many are equal
            instances.append(FoundInstance({7: "cat", 9: "dog"}[category], value, shape))
            segmentation = {"size": [SIZE, SIZE], "counts": shape.counts.decode()}
            results.append(
                {"image_id": image, "category_id": category, "score": value, "segmentation": segmentation}
            )
        found.append(instances)
    truth = dataset(tmp_path, annotations, images=40)
    ours = measured(truth, *found)
    assert 0.05 < ours.averages["AP"] < 0.95
    np.testing.assert_allclose(list(ours.averages.values()), judged(truth.path, results), rtol=0, atol=1e-12)


def judged(path: Path, results: list[dict[str, Any]]) -> list[float]:
    document = json.loads(path.read_text())
    for one in document["annotations"]:
        one["id"] += 1  # COCOeval takes the object 0 for none
    path.write_text(json.dumps(document))
    with redirect_stdout(StringIO()):
        truth: Any = COCO(str(path))
        evaluation: Any = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [math.nan if value < 0 else float(value) for value in evaluation.stats]
