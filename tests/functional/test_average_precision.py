"""Average precision worked out by hand; in tests/evaluation/test_part_precision.py pycocotools judges."""

import numpy as np
import pytest

from partdistillation.functional.average_precision import (
    MAX_DETECTIONS,
    average_precision,
    match_detections,
)


def hits(*values: bool) -> np.ndarray:
    return np.array(values)[:, None]


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
