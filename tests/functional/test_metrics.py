"""Average recall against pycocotools, confusion and IoU against scikit-learn, mappings by hand."""

import contextlib
import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import jaccard_score

from partdistillation.errors import InputError
from partdistillation.functional.masks import EncodedMasks, encode
from partdistillation.functional.metrics import (
    IOU_THRESHOLDS,
    ImageMasks,
    RecallCounter,
    apply_mapping,
    average_over_classes,
    average_recall,
    confusion_matrix,
    hungarian_match,
    label_map,
    majority_vote,
    mean_iou,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval


Mask = NDArray[np.bool_]


def coco_average_recall(images: Sequence[ImageMasks], ks: Sequence[int]) -> dict[int, float]:
    """AR@k by COCOeval itself: one category, area range "all"."""

    def annotation(mask: Mask, image: int, **extra: Any) -> dict[str, Any]:
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"image_id": image, "category_id": 1, "segmentation": rle, "area": int(mask.sum()), **extra}

    size = {"height": 12, "width": 10}
    truth, found = COCO(), COCO()
    info = [{"id": i, **size} for i in range(len(images))]
    true = [annotation(m, i, iscrowd=0) for i, image in enumerate(images) for m in np.asarray(image.truth)]
    proposals = [
        annotation(m, i, score=float(s))
        for i, image in enumerate(images)
        for m, s in zip(np.asarray(image.proposals), image.scores, strict=True)
    ]
    for coco, annotations in ((truth, true), (found, proposals)):
        coco.dataset = {
            "images": info,
            "categories": [{"id": 1, "name": "part"}],
            "annotations": [{"id": j + 1, "bbox": [0, 0, 1, 1], **a} for j, a in enumerate(annotations)],
        }
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
    judge = COCOeval(truth, found, "segm")
    judge.params.useCats = 0
    judge.params.maxDets = list(ks)
    judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
    with contextlib.redirect_stdout(io.StringIO()):
        judge.evaluate()
        judge.accumulate()
    recall = judge.eval["recall"]  # threshold x category x area x k
    return {k: float(recall[:, 0, 0, i].mean()) for i, k in enumerate(ks)}


def random_images(seed: int, count: int = 4, proposals: int = 12, noise: float = 0.1) -> list[ImageMasks]:
    """Blocks as true parts; proposals are shifted copies, so that many overlaps (and many ties) occur."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        labels = rng.integers(0, 4, (4, 5)).repeat(3, 0).repeat(2, 1)
        truth = np.stack([labels == i for i in range(4) if (labels == i).any()])
        picked = truth[rng.integers(0, len(truth), rng.integers(0, proposals + 1))]
        masks = picked ^ (rng.random(picked.shape) < noise * rng.random((len(picked), 1, 1)))
        images.append(ImageMasks(truth, masks, np.round(rng.random(len(masks)), 1)))
    return images


def encoded(masks: Mask | EncodedMasks) -> EncodedMasks:
    masks = np.asarray(masks)
    return EncodedMasks([encode(mask) for mask in masks], masks.shape[1], masks.shape[2])


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_average_recall_equals_pycocotools(seed: int, noise: float) -> None:
    images = random_images(seed, noise=noise)
    ks = (1, 2, 5, 10, 200)
    ours = average_recall(images, ks).average
    assert ours == pytest.approx(coco_average_recall(images, ks), abs=1e-9)
    encodings = [ImageMasks(encoded(one.truth), encoded(one.proposals), one.scores) for one in images]
    assert average_recall(encodings, ks).average == ours


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), proposals=st.integers(1, 8), noise=st.floats(0, 1))
def test_average_recall_equals_pycocotools_on_any_input(seed: int, proposals: int, noise: float) -> None:
    images = random_images(seed, count=2, proposals=proposals, noise=noise)
    ours = average_recall(images, (1, 3, 100)).average
    assert ours == pytest.approx(coco_average_recall(images, (1, 3, 100)), abs=1e-9)


def test_thresholds_are_those_of_pycocotools() -> None:
    assert np.array_equal(IOU_THRESHOLDS, COCOeval(iouType="segm").params.iouThrs)


def test_average_recall_of_a_known_case() -> None:
    truth = np.zeros((2, 1, 20), dtype=bool)
    truth[0, 0, :10] = True
    truth[1, 0, 10:] = True
    proposals = np.zeros((2, 1, 20), dtype=bool)
    proposals[0, 0, :10] = True  # IoU 1 with the first
    proposals[1, 0, 10:17] = True  # IoU .7 with the second: found at 5 of 10 thresholds (.5 ... .7)
    recall = average_recall([ImageMasks(truth, proposals, np.array([0.2, 0.9]))], (1, 2))
    assert recall.recalls[2] == (1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5)
    assert recall.average == pytest.approx({1: 0.25, 2: 0.75})
    assert (recall.positives, recall.images) == (2, 1)


def test_protocols_differ_where_greedy_orders_differ() -> None:
    # The better-scored proposal overlaps both parts, and the second a little more, which the other covers.
    overlaps, scores = np.array([[0.60, 0.0], [0.62, 0.95]]), np.array([0.9, 0.8])
    by_score, by_overlap = RecallCounter((2,)), RecallCounter((2,), protocol="paper")
    by_score.add(overlaps, scores)
    by_overlap.add(overlaps, scores)
    assert by_score.result().average[2] == pytest.approx(10 / 20)  # the second part only, by one or the other
    assert by_overlap.result().average[2] == pytest.approx((10 + 3) / 20)


def test_images_without_proposals_count_only_in_the_strict_protocol() -> None:
    mask = np.ones((1, 4, 4), dtype=bool)
    images = [ImageMasks(mask, mask, np.array([1.0])), ImageMasks(mask, mask[:0], np.array([]))]
    assert average_recall(images, (10,)).average[10] == pytest.approx(0.5)
    assert average_recall(images, (10,), protocol="paper").average[10] == pytest.approx(1.0)


def test_no_truth_gives_nan_and_proposals_of_such_images_do_not_matter() -> None:
    mask = np.ones((1, 4, 4), dtype=bool)
    empty = ImageMasks(mask[:0], mask, np.array([0.5]))
    assert np.isnan(average_recall([empty], (1,)).average[1])
    assert average_recall([empty, ImageMasks(mask, mask, np.array([0.1]))], (1,)).average[1] == 1.0


def test_ks_must_be_positive() -> None:
    with pytest.raises(ValueError, match="k >= 1"):
        RecallCounter((0, 1))


def test_label_map_later_mask_wins() -> None:
    masks = np.zeros((2, 1, 3), dtype=bool)
    masks[0, 0, :2] = True
    masks[1, 0, 1:] = True
    assert label_map(masks, [4, 0]).tolist() == [[5, 1, 1]]


def test_confusion_has_the_background_last() -> None:
    predicted, truth = np.array([[0, 1, 2, 2]]), np.array([[1, 1, 0, 3]])
    matrix = confusion_matrix(predicted, truth, num_predicted=2, num_truth=3)
    assert matrix.tolist() == [[1, 0, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0]]


def test_confusion_refuses_labels_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"expected predicted labels 0..1, found 0..2"):
        confusion_matrix(np.array([[0, 2]]), np.array([[0, 1]]), num_predicted=1, num_truth=1)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), parts=st.integers(1, 6))
def test_confusion_and_iou_equal_scikit_learn(seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, parts + 1, (7, 9))
    predicted = np.where(rng.random((7, 9)) < 0.6, truth, rng.integers(0, parts + 1, (7, 9)))
    ours = confusion_matrix(predicted, truth, num_predicted=parts, num_truth=parts)
    order = [*range(1, parts + 1), 0]
    assert np.array_equal(ours, sklearn_confusion(predicted.ravel(), truth.ravel(), labels=order))
    judged = jaccard_score(truth.ravel(), predicted.ravel(), labels=order[:-1], average=None, zero_division=0)
    present = np.isin(order[:-1], truth)
    scores = mean_iou(ours)
    assert scores.iou[present] == pytest.approx(judged[present])
    assert np.isnan(scores.iou[~present]).all()


def test_majority_vote_ignores_the_background_and_may_repeat() -> None:
    confusion = np.array([[5, 1, 90], [4, 3, 0], [0, 0, 7], [2, 2, 0], [9, 9, 9]])
    assert majority_vote(confusion).tolist() == [0, 0, 0, 0]
    assert majority_vote(confusion[:, 2:]).tolist() == [-1, -1, -1, -1]


def test_hungarian_match_is_one_to_one() -> None:
    confusion = np.array([[5, 4, 0], [4, 0, 0], [0, 0, 9], [1, 1, 1]])
    assert hungarian_match(confusion).tolist() == [1, 0, -1]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), ids=st.integers(0, 5), parts=st.integers(0, 4))
def test_mapping_keeps_every_pixel(seed: int, ids: int, parts: int) -> None:
    confusion = np.random.default_rng(seed).integers(0, 50, (ids + 1, parts + 1))
    for mapping in (majority_vote(confusion), hungarian_match(confusion)):
        mapped = apply_mapping(confusion, mapping)
        assert np.array_equal(mapped.sum(axis=0), confusion.sum(axis=0))
        used = mapping[mapping >= 0]
        assert np.isin(np.flatnonzero(mapped[:-1].sum(axis=1)), used).all()


def test_mean_iou_of_a_known_case() -> None:
    confusion = np.array([[6, 0, 0, 2], [0, 0, 0, 4], [2, 3, 0, 0], [2, 1, 0, 80]])
    scores = mean_iou(confusion)
    assert scores.iou == pytest.approx([0.5, 0.0, np.nan], nan_ok=True)
    assert scores.accuracy == pytest.approx([0.6, 0.0, np.nan], nan_ok=True)
    assert scores.precision == pytest.approx([0.75, 0.0, 0.0])
    assert scores.mean_iou == 0.25
    assert scores.pixels.tolist() == [10, 4, 0]


def test_a_stack_of_matrices_is_scored_as_each_alone() -> None:
    stack = np.random.default_rng(0).integers(0, 3, (2, 6, 5, 4)) * np.arange(2)[:, None, None, None]
    for map_ids in (majority_vote, hungarian_match):
        scores = mean_iou(apply_mapping(stack, map_ids(stack)))
        assert scores.iou.shape == (2, 6, 3)
        for place in np.ndindex(2, 6):
            alone = mean_iou(apply_mapping(stack[place], map_ids(stack[place])))
            np.testing.assert_array_equal(scores.iou[place], alone.iou)
            np.testing.assert_array_equal(scores.precision[place], alone.precision)
    averages = average_over_classes([scores, scores])
    assert averages.c_miou.shape == (2, 6)
    assert np.isnan(averages.a_miou[0]).all()  # these matrices are empty
    assert averages.c_miou[1, 2] == pytest.approx(np.nanmean(scores.iou[1, 2]))


def test_mean_iou_refuses_an_unmapped_matrix() -> None:
    with pytest.raises(ValueError, match="apply_mapping"):
        mean_iou(np.zeros((3, 4), dtype=int))


def test_averages_over_classes_and_over_parts() -> None:
    one = mean_iou(np.array([[8, 0], [0, 0]]))
    three = mean_iou(np.diag([5, 0, 0, 0]) + np.array([[0, 0, 0, 0]] * 3 + [[5, 6, 0, 0]]))
    empty = mean_iou(np.zeros((2, 2), dtype=int))
    averages = average_over_classes([one, three, empty])
    assert averages.c_miou == pytest.approx((1 + 0.25) / 2)
    assert averages.a_miou == pytest.approx((1 + 0.5 + 0) / 3)
    assert np.isnan(average_over_classes([]).c_miou)


# ---------------------------------------------------------------------- what people have


@pytest.mark.usefixtures("unchecked")
def test_masks_of_other_kinds_have_the_same_recall() -> None:
    truth, proposals = np.zeros((1, 4, 4), bool), np.zeros((2, 4, 4), bool)
    truth[0, :2] = proposals[0, :2] = proposals[1, :, 3] = True
    expected = average_recall([ImageMasks(truth, proposals, np.array([0.9, 0.8]))])
    assert expected.average[1] == 1.0
    lists: Any = (truth.tolist(), (proposals * 255).astype(np.uint8), [0.9, 0.8])
    tensors: Any = (torch.from_numpy(truth).float(), list(proposals), torch.tensor([0.9, 0.8]))
    for image in (lists, tensors):
        assert average_recall(iter([image])) == expected
    nothing: Any = (truth, [], [])
    assert average_recall([nothing]).average[1] == 0.0
    wrong: list[Any] = [
        (truth * 0.5, proposals, [0.9, 0.8]),
        (truth, proposals, [0.9]),
        (truth, proposals, [0.9, np.nan]),
        (truth, proposals[:, :3], [0.9, 0.8]),
        (None, proposals, [0.9, 0.8]),
    ]
    for image in wrong:
        with pytest.raises(InputError):
            average_recall([image])


@pytest.mark.usefixtures("unchecked")
def test_confusions_of_other_kinds() -> None:
    counts: Any = [[5, 1, 0], [0, 7, 2], [1, 1, 9]]
    forms: list[Any] = [counts, torch.tensor(counts), np.array(counts, np.float32)]
    for confusion in forms:
        assert majority_vote(confusion).tolist() == hungarian_match(confusion).tolist() == [0, 1]
        assert mean_iou(apply_mapping(confusion, [0, 1])).iou.tolist() == pytest.approx([5 / 7, 7 / 11])  # type: ignore[arg-type]
    for mapping in ([0, 2], [0, -2], [0, 7], None):
        with pytest.raises(InputError):
            apply_mapping(np.array(counts), mapping)  # type: ignore[arg-type]
    for nothing in (None, [], [1, 2], "counts"):
        with pytest.raises(InputError):
            majority_vote(nothing)  # type: ignore[arg-type]


@pytest.mark.usefixtures("unchecked")
def test_label_maps_of_other_kinds() -> None:
    rows: Any = [[0, 1], [2, 2]]
    counted = confusion_matrix(rows, torch.tensor(rows), num_predicted=2, num_truth=2)  # type: ignore[arg-type]
    assert counted.tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 1]]
    for wrong in ([[0, 1.5], [2, 2]], [[0, 1]], None):
        with pytest.raises(InputError):
            confusion_matrix(rows, wrong, num_predicted=2, num_truth=2)  # type: ignore[arg-type]
