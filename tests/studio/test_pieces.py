"""Clicks on nested squares of saliency, and on plain colours."""

import numpy as np
import pytest
from jaxtyping import Bool, Float32

from partdistillation.studio.pieces import Click, corrected

SIDE = 100
PIXELS = np.zeros((SIDE, SIDE, 3), np.uint8)


def square(x0: int, y0: int, side: int) -> Bool[np.ndarray, "side side"]:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[y0 : y0 + side, x0 : x0 + side] = True
    return mask


OBJECT, FAINT, OTHER = square(10, 10, 40), square(50, 10, 20), square(10, 70, 20)


@pytest.fixture
def saliency() -> Float32[np.ndarray, "side side"]:
    """An object, something fainter that touches it, and something else."""
    return np.where(OBJECT, 1, np.where(FAINT, 0.45, np.where(OTHER, 0.95, 0))).astype(np.float32)


def test_a_click_on_what_was_missed_adds_its_piece(saliency: Float32[np.ndarray, "side side"]) -> None:
    mask = corrected(PIXELS, saliency, OBJECT, [Click(60, 20, True)])
    assert _iou(mask, OBJECT | FAINT) > 0.95


def test_a_click_beside_the_object_takes_what_is_fainter(saliency: Float32[np.ndarray, "side side"]) -> None:
    mask = corrected(PIXELS, saliency, OBJECT | FAINT, [Click(60, 20, False)])
    assert _iou(mask, OBJECT) > 0.95


def test_another_piece_is_another_object(saliency: Float32[np.ndarray, "side side"]) -> None:
    made = corrected(PIXELS, saliency, None, [Click(20, 80, True)])
    assert _iou(made, OTHER) > 0.9
    both = corrected(PIXELS, saliency, None, [Click(20, 80, True), Click(30, 30, True)])
    assert _iou(both, OTHER | OBJECT) > 0.9
    without = corrected(PIXELS, saliency, both, [Click(20, 80, False)])
    assert not without[80, 20]


def test_clicks_taken_back_leave_no_trace(saliency: Float32[np.ndarray, "side side"]) -> None:
    before = OBJECT.copy()
    assert np.array_equal(corrected(PIXELS, saliency, OBJECT, []), OBJECT)
    corrected(PIXELS, saliency, OBJECT, [Click(60, 20, True)])
    assert np.array_equal(OBJECT, before)


def test_without_saliency_like_colours_count() -> None:
    colours = np.where(OTHER[..., None], np.array([200, 30, 30]), 0).astype(np.uint8)
    assert _iou(corrected(colours, None, None, [Click(20, 80, True)]), OTHER) > 0.9
    left = corrected(colours, None, OBJECT | OTHER, [Click(20, 80, False)])
    assert _iou(left, OBJECT) > 0.9


def test_every_click_has_its_way(saliency: Float32[np.ndarray, "side side"]) -> None:
    """Wherever it is: the last one's pixel is as it says."""
    noise = np.random.default_rng(0)
    colours = noise.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    for known in (saliency, None):
        for x, y, inside in noise.integers(0, [SIDE, SIDE, 2], (30, 3)).tolist():
            mask = corrected(colours, known, OBJECT | OTHER, [Click(x, y, bool(inside))])
            assert mask[y, x] == bool(inside)


def _iou(mask: Bool[np.ndarray, "side side"], other: Bool[np.ndarray, "side side"]) -> float:
    return float((mask & other).sum() / (mask | other).sum())
