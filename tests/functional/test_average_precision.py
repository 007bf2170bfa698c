"""Average precision worked out by hand; in tests/evaluation/test_part_precision.py pycocotools judges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.functional.average_precision import (
    MAX_DETECTIONS,
    Totals,
    average_precisions,
    match_detections,
)

IMAGES, THRESHOLDS = 5, 3


def hits(*values: bool) -> np.ndarray:
    return np.array(values)[:, None]


def average_precision(scores: np.ndarray, found: np.ndarray, positives: int) -> np.ndarray:
    """Of one image that counts once."""
    images, once = np.zeros(len(scores), np.int64), np.ones((1, 1), np.uint8)
    (alone,) = precisions(scores, found, images, once, np.array([positives]))
    return np.asarray(alone)


def precisions(
    scores: np.ndarray, hits: np.ndarray, images: np.ndarray, weights: np.ndarray, positives: np.ndarray
) -> np.ndarray:
    """Of detections in any order, by the weights (replicate, image) and true parts of images."""
    ranked = np.argsort(-scores, kind="stable")
    drawn = weights.T.astype(np.int64)
    totals = Totals(drawn[images].sum(axis=0), hits.T.astype(np.int64) @ drawn[images], positives @ drawn)
    some = [ranked[start : start + 3] for start in range(0, len(ranked), 3)]
    return average_precisions(((hits[part], weights.T[images[part]]) for part in reversed(some)), totals)


def test_precision_at_each_recall() -> None:
    scores = np.array([0.9, 0.8, 0.7])
    assert average_precision(scores, hits(True, False, True), 2)[0] == pytest.approx(
        (51 * 1.0 + 50 * 2 / 3) / 101
    )  # recalls 0 ... .50 at precision 1, .51 ... 1 at 2 of 3
    assert average_precision(scores, hits(False, False, True), 2)[0] == pytest.approx(51 / 101 / 3)
    assert average_precision(scores, hits(True, True, True), 3)[0] == pytest.approx(1.0)


def test_nothing_to_find_and_nothing_found() -> None:
    assert np.isnan(average_precision(np.zeros(1), hits(False), 0)[0])
    assert average_precision(np.zeros(0), np.zeros((0, 1), np.bool_), 3)[0] == 0.0


def test_best_detections_take_free_parts() -> None:
    overlaps = np.array([[0.9, 0.6, 0.2]])
    scores, found = match_detections(overlaps, np.array([0.1, 0.5, 0.9]))
    assert scores.tolist() == [0.9, 0.5, 0.1]
    assert found[:, 0].tolist() == [False, True, False]  # IoU .5: the middle one takes it
    assert found[:, 4].tolist() == [False, False, True]  # IoU .7: only the last overlaps enough
    many, _ = match_detections(np.zeros((0, 150)), np.arange(150.0))
    assert len(many) == MAX_DETECTIONS


# ---------------------------------------------------------------------- images that count several times


def random_set(seed: int, levels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores (`levels` different ones), hits, images, and weights and true parts of the images."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 20))
    images = np.sort(rng.integers(0, IMAGES, count))
    scores = rng.integers(0, levels, count) / levels
    hits = rng.random((count, THRESHOLDS)) < rng.random()
    positives = np.bincount(images[hits.any(axis=1)], minlength=IMAGES) + rng.integers(0, 3, IMAGES)
    return scores, hits, images, rng.poisson(1.0, (8, IMAGES)).astype(np.uint8), positives


@settings(deadline=None)  # the first call may compile
@given(st.integers(0, 10_000), st.sampled_from([3, 1000]))
def test_a_weight_is_so_many_copies_of_the_image(seed: int, levels: int) -> None:
    scores, hits, images, weights, positives = random_set(seed, levels)
    found = precisions(scores, hits, images, weights, positives)
    for row, drawn in zip(found, weights, strict=True):
        copies = np.repeat(np.arange(len(scores)), drawn[images])
        expected = average_precision(scores[copies], hits[copies], int((drawn * positives).sum()))
        np.testing.assert_allclose(row, expected, rtol=1e-12)


def test_by_hand() -> None:
    """A hit, a miss and a hit in three images; the miss's counts 0, 1 and 2 times."""
    weights = np.array([[1, 0, 1], [1, 1, 1], [1, 2, 1]], dtype=np.uint8)
    hits = np.array([[True], [False], [True]])
    scores, images = np.array([0.9, 0.8, 0.7]), np.arange(3)
    found = precisions(scores, hits, images, weights, np.array([1, 0, 1]))
    half = 51 / 101  # recalls from 0 to .5
    assert found[:, 0] == pytest.approx([1.0, half + (1 - half) * 2 / 3, half + (1 - half) * 2 / 4])


def test_without_true_parts_or_detections() -> None:
    nothing = np.zeros((0, 2), dtype=np.bool_), np.zeros(0, dtype=np.int64)
    weights = np.array([[1], [0]], dtype=np.uint8)
    found = precisions(np.zeros(0), *nothing, weights, np.array([3]))
    assert (found[0] == 0.0).all()
    assert np.isnan(found[1]).all()
