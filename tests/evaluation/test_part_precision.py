"""Mask AP of parts: pycocotools is the judge."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from partdistillation.evaluation import ImageParts, PredictedPart, TruePart, evaluate
from partdistillation.evaluation.bootstrap import image_weights
from partdistillation.evaluation.part_precision import PrecisionCounter
from partdistillation.functional.masks import pairwise_iou

SIZE = 24
NAMES = {"car": ("body", "wheel"), "bird": ("head", "wing", "tail")}


def blob(rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    top, left = rng.integers(0, SIZE - 8, 2)
    height, width = rng.integers(3, 9, 2)
    mask[top : top + height, left : left + width] = True
    return mask


def shifted(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.roll(mask, rng.integers(-1, 2, 2), axis=(0, 1))


def random_images(seed: int, count: int = 12) -> list[ImageParts]:
    rng = np.random.default_rng(seed)
    images = []
    for number in range(count):
        truth, found = [], []
        for category in NAMES:
            for name in rng.choice(NAMES[category], rng.integers(0, 3)):
                truth.append(TruePart(category, str(name), blob(rng)))
            own = [part for part in truth if part.category == category]
            for _ in range(rng.integers(0, 4)):
                part = int(rng.integers(0, 4))
                mask = shifted(np.asarray(own[rng.integers(len(own))].mask), rng) if own else blob(rng)
                found.append(PredictedPart(category, mask, float(rng.random()), part))
        images.append(ImageParts(truth, found, f"image {number:02}"))
    return images


def judged(
    images: list[ImageParts], categories: dict[tuple[str, str], int], names: Any
) -> tuple[float, float]:
    """COCOeval's AP and AP50; `names` maps (class, part id) to a part, None to one category for all."""
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number, image in enumerate(images, 1):
        for part in image.ground_truth:
            rle = coco_mask.encode(np.asfortranarray(np.asarray(part.mask)))
            category = 1 if names is None else categories[part.category, part.name]
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": category,
                                "segmentation": rle, "area": float(np.asarray(part.mask).sum()),
                                "bbox": [0, 0, 1, 1], "iscrowd": 0})  # fmt: skip
        for one in image.predictions:
            if names is None:
                category = 1
            elif (one.category, one.part) in names:
                category = categories[one.category, names[one.category, one.part]]
            else:
                continue
            rle = coco_mask.encode(np.asfortranarray(np.asarray(one.mask)))
            results.append(
                {"image_id": number, "category_id": category, "segmentation": rle, "score": one.score}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": number, "height": SIZE, "width": SIZE} for number in range(1, len(images) + 1)],
            "annotations": annotations,
            "categories": [{"id": number} for number in ([1] if names is None else categories.values())],
        }
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0]), float(judge.stats[1])


@pytest.mark.parametrize("seed", range(3))
def test_agnostic_and_named_precision_are_those_of_pycocotools(seed: int) -> None:
    images = random_images(seed)
    scores = evaluate(images, protocol="strict")
    pairs = [(category, name) for category, names in NAMES.items() for name in names]
    categories = {pair: number for number, pair in enumerate(pairs, 1)}
    names = {
        (its.category, part_id): part.part
        for its in scores.categories
        for part in its.parts
        for part_id in part.part_ids
    }
    assert (scores.ap, scores.ap50) == pytest.approx(judged(images, categories, None), abs=1e-12)
    assert (scores.part_ap, scores.part_ap50) == pytest.approx(judged(images, categories, names), abs=1e-12)
    assert 0 < scores.part_ap50 < 1


def test_replicates_are_repeated_images() -> None:
    """Every number of `scores` is the first one of a counter that has seen the images as often as drawn."""
    images = random_images(7)
    names = {"car": {0: "body", 1: "wheel", 2: "body"}, "bird": {0: "head", 1: "wing", 3: "tail"}}

    def counted(drawn: Sequence[ImageParts]) -> dict[str, np.ndarray]:
        counter = PrecisionCounter()
        for one in drawn:
            overlaps = np.zeros((len(one.ground_truth), len(one.predictions)))
            if overlaps.size:
                overlaps = pairwise_iou(*(np.stack([np.asarray(part.mask) for part in parts])
                                          for parts in (one.ground_truth, one.predictions)))  # fmt: skip
            counter.add(
                one.image_id, image_weights(one.image_id), one.ground_truth, one.predictions, overlaps
            )
        return counter.scores(names)

    found = counted(images)
    weights = np.stack([image_weights(one.image_id) for one in images])
    for replicate in range(15):
        again = counted([one for one, draws in zip(images, weights[:, replicate], strict=True)
                         for _ in range(draws)])  # fmt: skip
        for name in found:
            assert found[name][replicate] == pytest.approx(again[name][0], abs=1e-12), name
    assert np.ptp(found["part_ap"]) > 0


def test_order_of_images_does_not_matter() -> None:
    images = random_images(5)
    forwards, backwards = (evaluate(order, protocol="strict") for order in (images, images[::-1]))
    assert (forwards.ap, forwards.part_ap) == (backwards.ap, backwards.part_ap)
    assert forwards.intervals == backwards.intervals


def test_proposals_without_part_ids_have_no_named_precision() -> None:
    truth = TruePart("car", "body", blob(np.random.default_rng(0)))
    image = ImageParts([truth], [PredictedPart("car", truth.mask, 0.5)], "a")
    scores = evaluate([image], protocol="strict", named=False)
    assert (scores.ap, scores.ap50) == pytest.approx((1.0, 1.0))
    assert np.isnan([scores.part_ap, scores.part_ap50, scores.nmi, scores.ari]).all()
