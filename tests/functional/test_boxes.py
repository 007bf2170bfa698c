"""Overlap, suppression and deltas of boxes, against values by hand and loops that say what is meant."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from partdistillation.functional import boxes as module
from partdistillation.functional.boxes import (
    apply_deltas,
    clip_boxes,
    nms,
    pairwise_iou,
    torchvision_ops,
)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is computed without torchvision, in blocks of 4."""
    monkeypatch.setattr(module, "torchvision_ops", lambda: None)
    monkeypatch.setattr(module, "_BLOCK", 4)


def iou_of(one: list[float], other: list[float]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(wide, 0) * max(tall, 0)
    total = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (total - shared) if total > shared else math.nan


def naive_nms(boxes: Tensor, scores: Tensor, threshold: float, classes: list[int]) -> list[int]:
    kept: list[int] = []
    rows = boxes.tolist()
    for index in sorted(range(len(rows)), key=lambda one: -scores[one].item()):
        rivals = [one for one in kept if classes[one] == classes[index]]
        if all(not iou_of(rows[one], rows[index]) > threshold for one in rivals):
            kept.append(index)
    return kept


# Whole numbers, so that IoUs are exact, boxes without area happen, and equal scores and boxes are common.
box = st.tuples(*[st.integers(0, 12)] * 4).map(
    lambda c: [float(min(c[0], c[2])), float(min(c[1], c[3])), float(max(c[0], c[2])), float(max(c[1], c[3]))]
)
rows = st.lists(st.tuples(box, st.integers(0, 5), st.integers(0, 3)), max_size=30)


def test_overlap_by_hand() -> None:
    found = pairwise_iou(
        torch.tensor([[0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 5.0, 5.0]]),
        torch.tensor([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 1.0], [5.0, 5.0, 5.0, 5.0]]),
    )
    torch.testing.assert_close(found, torch.tensor([[1 / 7, 1 / 2, 0], [0, 0, math.nan]]), equal_nan=True)


def test_the_worse_of_two_goes_only_in_its_class() -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    scores = torch.tensor([0.5, 0.9, 0.7])
    assert nms(boxes, scores, 0.5).tolist() == [1, 2]
    assert nms(boxes, scores, 0.9).tolist() == [1, 2, 0]  # the IoU is 9 / 11
    assert nms(boxes, scores, 0.5, torch.tensor([0, 1, 0])).tolist() == [1, 2, 0]


def test_a_box_that_went_suppresses_nothing() -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [4.0, 0.0, 14.0, 10.0], [8.0, 0.0, 18.0, 10.0]])
    assert nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.4).tolist() == [0, 2]


@given(rows, st.sampled_from([0.0, 0.3, 0.5, 0.9]))
@settings(deadline=None, max_examples=200)
def test_suppression_is_the_greedy_loop(rows: list[tuple[list[float], int, int]], threshold: float) -> None:
    boxes = torch.tensor([row[0] for row in rows]).reshape(-1, 4)
    scores = torch.tensor([row[1] for row in rows], dtype=torch.float32)
    classes = [row[2] for row in rows]
    together = nms(boxes, scores, threshold)
    assert together.tolist() == naive_nms(boxes, scores, threshold, [0] * len(rows))
    apart = nms(boxes, scores, threshold, torch.tensor(classes, dtype=torch.long))
    assert apart.tolist() == naive_nms(boxes, scores, threshold, classes)


def test_thousands_of_classes_don_t_blur_boxes() -> None:
    """An offset a class, in float32, would make these two boxes one."""
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 7.0]]).repeat(2, 1)
    classes = torch.tensor([20_999, 20_999, 0, 0])
    assert sorted(nms(boxes, torch.tensor([0.9, 0.8, 0.7, 0.6]), 0.6, classes).tolist()) == [0, 1, 2, 3]
    assert sorted(nms(boxes, torch.tensor([0.9, 0.8, 0.7, 0.6]), 0.5, classes).tolist()) == [0, 2]


def test_deltas_by_hand() -> None:
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0]])  # 20 wide, 40 tall, centre (20, 40)
    deltas = torch.tensor([[1.0, -5.0, 5 * math.log(2), 0.0]])
    moved = apply_deltas(boxes, deltas, (10.0, 10.0, 5.0, 5.0))
    # the centre moves by 0.1 * 20 and -0.5 * 40; the width doubles
    torch.testing.assert_close(moved, torch.tensor([[2.0, 0.0, 42.0, 40.0]]))
    torch.testing.assert_close(apply_deltas(boxes, torch.zeros(1, 4), (1.0, 1.0, 1.0, 1.0)), boxes)


def test_a_side_grows_62_5_times_at_most() -> None:
    moved = apply_deltas(
        torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[0.0, 0.0, 1e4, 0.0]]), (1.0, 1.0, 1.0, 1.0)
    )
    torch.testing.assert_close(moved, torch.tensor([[-61.5, 0.0, 63.5, 2.0]]))


def test_boxes_end_at_the_image() -> None:
    boxes = torch.tensor([[-3.0, -2.0, 99.0, 98.0], [1.0, 2.0, 3.0, 4.0], [-5.0, 70.0, -1.0, 80.0]])
    expected = torch.tensor([[0.0, 0.0, 60.0, 40.0], [1.0, 2.0, 3.0, 4.0], [0.0, 40.0, 0.0, 40.0]])
    torch.testing.assert_close(clip_boxes(boxes, 40, 60), expected)


def test_torchvision_agrees() -> None:
    ops = torchvision_ops()
    if ops is None:
        pytest.skip("needs a torchvision that works with this PyTorch")
    random = torch.Generator().manual_seed(0)
    low = torch.rand(300, 2, generator=random) * 40
    boxes = torch.cat([low, low + torch.rand(300, 2, generator=random) * 30], dim=1)
    scores = torch.rand(300, generator=random)
    for threshold in (0.1, 0.5, 0.9):
        assert nms(boxes, scores, threshold).tolist() == ops.nms(boxes, scores, threshold).tolist()
