"""Unique proposals, filters and the ranking function, with values computed by hand."""

import math

import numpy as np
import pytest
import torch

from partdistillation.errors import ConfigError, InputError
from partdistillation.functional.ranking import (
    Distance,
    Proposals,
    assign_pixels,
    part_probabilities,
    unique_parts,
    unique_proposals,
)

OBJECT = torch.tensor([[True] * 10, [False] * 10])
SCORES = torch.tensor([0.9, 0.8, 0.2, 0.95])
FEATURES = torch.arange(8.0).view(4, 2)


def logits() -> torch.Tensor:
    """Pixels 0-5 go to query 0, 6-8 to query 1, 9 to query 2; query 3 is strong only outside the object."""
    masks = torch.full((4, 2, 10), -6.0)
    masks[0, 0, :6] = 4
    masks[1, 0, 5:9] = 3
    masks[2, 0, 9] = 4
    masks[3, 1] = 5
    return masks


def unique(
    *, per_pixel: bool = True, min_ratio: float = 0.05, min_score: float = 0.3, keep_all_if_none: bool = False
) -> Proposals:
    return unique_proposals(
        logits(),
        SCORES,
        FEATURES,
        OBJECT,
        per_pixel=per_pixel,
        min_ratio=min_ratio,
        min_score=min_score,
        keep_all_if_none=keep_all_if_none,
    )


def test_pixels_go_to_the_largest_product_inside_the_object() -> None:
    assigned = assign_pixels(logits(), SCORES, OBJECT)
    assert assigned[0].tolist() == [0] * 6 + [1] * 3 + [2]
    assert assigned[1].tolist() == [-1] * 10


def test_the_score_decides_between_equal_masks() -> None:
    masks = torch.zeros(2, 1, 1)
    mask = torch.ones(1, 1, dtype=torch.bool)
    assert assign_pixels(masks, torch.tensor([0.4, 0.6]), mask).item() == 1
    assert assign_pixels(masks, torch.tensor([0.5, 0.5]), mask).item() == 0


def test_unique_proposals_and_both_filters() -> None:
    found = unique()
    assert found.queries.tolist() == [0, 1]
    assert found.ratios.tolist() == pytest.approx([0.6, 0.3])
    assert torch.equal(found.scores, SCORES[:2])
    assert torch.equal(found.features, FEATURES[:2])
    assert found.masks[1].nonzero().tolist() == [[0, 6], [0, 7], [0, 8]]


def test_area_filter_alone() -> None:
    assert unique(min_score=-1, min_ratio=0.1).queries.tolist() == [0, 1]
    assert unique(min_score=-1).queries.tolist() == [0, 1, 2]


def test_thresholds_are_strict() -> None:
    assert unique(min_ratio=0.5, min_score=float(SCORES[0])).queries.tolist() == []


def test_overlapping_masks() -> None:
    found = unique(per_pixel=False)
    assert found.queries.tolist() == [0, 1]
    assert found.ratios.tolist() == pytest.approx([0.6, 0.4])


def test_where_none_passes_all_are_dropped_or_kept() -> None:
    assert unique(min_score=0.99).queries.tolist() == []
    assert unique(min_score=0.99).masks.shape == (0, 2, 10)
    assert unique(min_score=0.99, keep_all_if_none=True).queries.tolist() == [0, 1, 2]
    # The filters follow one another: the second is skipped among those that passed the first.
    assert unique(min_ratio=0.5, min_score=0.99, keep_all_if_none=True).queries.tolist() == [0]


def test_parts_are_merged_by_label_before_the_filters() -> None:
    parts = unique_parts(
        logits(),
        SCORES,
        torch.tensor([7, 2, 2, 7]),
        OBJECT,
        min_ratio=0.35,
        min_score=0.3,
        keep_all_if_none=False,
    )
    assert parts.labels.tolist() == [2, 7]
    assert parts.ratios.tolist() == pytest.approx([0.4, 0.6])
    # Query 3 has label 7 and a better score, but no pixel of the object.
    assert parts.scores.tolist() == pytest.approx([0.8, 0.9])
    assert parts.masks.sum(dim=(1, 2)).tolist() == [4, 6]


def test_refuses_masks_that_do_not_fit(unchecked: None) -> None:
    with pytest.raises(InputError, match="empty"):
        unique_parts(
            logits(),
            SCORES,
            torch.zeros(4).long(),
            OBJECT & False,
            min_ratio=0,
            min_score=0,
            keep_all_if_none=False,
        )
    with pytest.raises(InputError, match="object mask"):
        unique_parts(
            logits(),
            SCORES,
            torch.zeros(4).long(),
            OBJECT[:1],
            min_ratio=0,
            min_score=0,
            keep_all_if_none=False,
        )


@pytest.mark.parametrize(
    ("distance", "similarities"), [("l2", (0, -5)), ("released_21k", (-25, -25)), ("dot", (25, 0))]
)
def test_probabilities_by_hand(distance: Distance, similarities: tuple[float, float]) -> None:
    """The feature (3, 4) against the centroids (3, 4), 5 from the origin, and the origin itself."""
    centroids = np.array([[3, 4], [0, 0]], dtype=np.float32)
    found = part_probabilities(np.array([[3, 4]], dtype=np.float32), centroids, distance=distance)
    ratio = math.exp(similarities[0] - similarities[1])
    assert found[0].tolist() == pytest.approx([ratio / (1 + ratio), 1 / (1 + ratio)])


def test_probabilities_do_not_underflow() -> None:
    found = part_probabilities(np.array([[1e4, 0]]), np.array([[0.0, 0], [1, 0]]), distance="l2")
    assert found[0].tolist() == pytest.approx([1 / (1 + math.e), math.e / (1 + math.e)])


def test_probabilities_refuse_what_does_not_fit(unchecked: None) -> None:
    with pytest.raises(InputError, match="dim"):
        part_probabilities(np.zeros((2, 3)), np.zeros((2, 4)), distance="l2")
    with pytest.raises(InputError, match="at least one centroid"):
        part_probabilities(np.zeros((2, 3)), np.zeros((0, 3)), distance="l2")
    with pytest.raises(ConfigError, match="cosine"):
        part_probabilities(np.zeros((2, 3)), np.zeros((2, 3)), distance="cosine")  # type: ignore[arg-type]
