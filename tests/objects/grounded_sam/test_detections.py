"""Which boxes are kept, by hand."""

import torch

from partdistillation.objects.grounded_sam.detections import MOST_BOXES, Detections, best


def detections(*rows: tuple[list[float], int, float]) -> Detections:
    boxes, labels, scores = zip(*rows, strict=True)
    return Detections(torch.tensor(boxes, dtype=torch.float32), torch.tensor(labels), torch.tensor(scores))


def test_best_first_from_the_lowest_score_on() -> None:
    found = detections(([0, 0, 4, 4], 0, 0.25), ([5, 5, 9, 9], 1, 0.75), ([0, 5, 4, 9], 0, 0.125))
    kept = best(found, 10, 10, min_score=0.25)
    assert kept.scores.tolist() == [0.75, 0.25]
    assert kept.labels.tolist() == [1, 0]
    assert kept.boxes.tolist() == [[5, 5, 9, 9], [0, 0, 4, 4]]


def test_duplicates_of_a_class_go_those_of_another_stay() -> None:
    """17 of 20 pixels in common are an IoU of .85; 15 of 20 of .75."""
    found = detections(
        ([0, 0, 20, 1], 0, 0.9), ([0, 0, 17, 1], 0, 0.8), ([0, 0, 17, 1], 1, 0.7), ([0, 0, 15, 1], 0, 0.6)
    )
    assert best(found, 1, 20, min_score=0.0).scores.tolist() == torch.tensor([0.9, 0.7, 0.6]).tolist()


def test_what_was_dropped_drops_nothing() -> None:
    """Each of the three overlaps the next by .85, the first and the last by .7."""
    found = detections(([0, 0, 20, 1], 0, 0.9), ([3, 0, 20, 1], 0, 0.8), ([6, 0, 20, 1], 0, 0.7))
    assert len(best(found, 1, 20, min_score=0.0).scores) == 2


def test_boxes_are_cut_at_the_border_and_dropped_outside() -> None:
    found = detections(([-3, -2, 40, 5], 0, 0.5), ([30, 2, 35, 5], 0, 0.9), ([2, 3, 2, 9], 0, 0.9))
    kept = best(found, 20, 30, min_score=0.0)
    assert kept.boxes.tolist() == [[0, 0, 30, 5]]


def test_no_more_than_a_hundred() -> None:
    rows = [([float(x), 0.0, x + 1.0, 1.0], 0, x / 200) for x in range(MOST_BOXES + 20)]
    kept = best(detections(*rows), 1, 200, min_score=0.0)
    assert len(kept.scores) == MOST_BOXES
    assert kept.boxes[0, 0] == MOST_BOXES + 19
