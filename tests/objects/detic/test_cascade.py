"""Scores of boxes and class names, by hand; results that don't depend on how they are computed."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.functional.boxes import nms
from partdistillation.objects.detic.cascade import (
    Candidates,
    Regions,
    best_detections,
    candidates,
    unit_embeddings,
)

RANDOM = torch.Generator().manual_seed(0)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_a_score_by_hand() -> None:
    """Two stages, one box, two classes: the root of (the stages' mean probability x the proposal's score)."""
    vectors = torch.tensor([[[50.0, 0.0]], [[30.0, 40.0]]])
    regions = Regions(torch.tensor([[0.0, 0.0, 9.0, 9.0]]), vectors, torch.tensor([0.5]))
    embeddings = torch.tensor([[0.02, 0.0], [0.0, -0.02]]).expand(2, -1, -1)
    found = candidates(regions, embeddings, min_score=0.0, chunk=1)
    first = (sigmoid(1) + sigmoid(0.6)) / 2
    second = (sigmoid(0) + sigmoid(-0.8)) / 2
    torch.testing.assert_close(found.scores, torch.tensor([(first / 2) ** 0.5, (second / 2) ** 0.5]))
    assert found.classes.tolist() == [0, 1]
    above = candidates(regions, embeddings, min_score=(first / 2) ** 0.5 - 1e-4, chunk=1)
    assert above.classes.tolist() == [0]


def test_each_stage_may_have_its_embeddings() -> None:
    vectors = torch.tensor([[[50.0, 0.0]], [[50.0, 0.0]]])
    regions = Regions(torch.tensor([[0.0, 0.0, 9.0, 9.0]]), vectors, torch.tensor([1.0]))
    embeddings = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    found = candidates(regions, embeddings, min_score=0.0, chunk=9)
    torch.testing.assert_close(found.scores, torch.tensor([((1 + 0.5) / 2) ** 0.5]))


def test_unit_embeddings() -> None:
    nearly = torch.tensor([0.6, 0.8]).half().float()
    found = unit_embeddings(torch.stack([torch.tensor([3.0, 4.0]), nearly, torch.zeros(2)]))
    torch.testing.assert_close(found[0], torch.tensor([0.6, 0.8]))
    assert torch.equal(found[1], nearly)
    assert not found[2].any()


@pytest.fixture(scope="module")
def regions() -> Regions:
    low = torch.rand(50, 2, generator=RANDOM) * 60
    boxes = torch.cat([low, low + 10 + torch.rand(50, 2, generator=RANDOM) * 40], dim=1)
    vectors = 50 * torch.nn.functional.normalize(torch.randn(3, 50, 8, generator=RANDOM), dim=-1)
    return Regions(boxes, vectors, torch.rand(50, generator=RANDOM))


@pytest.mark.parametrize("chunk", [1, 7, 64, 65, 1000])
def test_the_chunk_changes_nothing(regions: Regions, chunk: int) -> None:
    """Not even the order of equal scores: every second class is the one before, again."""
    one = torch.nn.functional.normalize(torch.randn(32, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    embeddings = one.repeat_interleave(2, dim=0).expand(3, -1, -1)
    expected = candidates(regions, embeddings, min_score=0.3, chunk=64)
    found = candidates(regions, embeddings, min_score=0.3, chunk=chunk)
    torch.testing.assert_close(found.scores, expected.scores)
    best = [best_detections(regions.boxes, one, iou_threshold=0.5, top=30) for one in (found, expected)]
    pairs = [set(zip(one.rows.tolist(), one.classes.tolist(), strict=True)) for one in best]
    assert pairs[0] == pairs[1]
    assert len(pairs[0]) == 30


def test_no_classes_and_no_boxes(regions: Regions) -> None:
    none = candidates(regions, torch.zeros(3, 0, 8), min_score=0.0, chunk=4)
    assert [len(values) for values in none] == [0, 0, 0]
    empty = Regions(torch.zeros(0, 4), torch.zeros(3, 0, 8), torch.zeros(0))
    assert len(candidates(empty, torch.ones(3, 5, 8), min_score=0.0, chunk=4).rows) == 0
    assert len(best_detections(empty.boxes, none, iou_threshold=0.5, top=3).rows) == 0


@given(st.integers(1, 12), st.integers(0, 100), st.integers(0, 2**31))
@settings(deadline=None, max_examples=50)
def test_few_pairs_are_looked_at_and_nothing_is_missed(top: int, count: int, seed: int) -> None:
    """Many pairs are almost one box, so that the first ones don't leave enough."""
    random = torch.Generator().manual_seed(seed)
    low = torch.randint(0, 3, (10, 2), generator=random) * 30.0 + torch.rand(10, 2, generator=random)
    boxes = torch.cat([low, low + 20], dim=1)
    scores = torch.rand(count, generator=random).sort(descending=True).values
    pairs = Candidates(
        torch.randint(0, 10, (count,), generator=random),
        torch.randint(0, 2, (count,), generator=random),
        scores,
    )
    found = best_detections(boxes, pairs, iou_threshold=0.5, top=top)
    kept = nms(boxes[pairs.rows], scores, 0.5, pairs.classes)[:top]
    assert found.rows.tolist() == pairs.rows[kept].tolist()
    assert found.classes.tolist() == pairs.classes[kept].tolist()
