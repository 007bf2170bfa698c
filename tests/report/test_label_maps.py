"""What label maps show: which mask is seen, and which number it has."""

import numpy as np

from partdistillation.functional.masks import encode
from partdistillation.report.label_maps import matched, numbered_map, part_map
from partdistillation.runs.records import ObjectParts, Part, PartRow, Segment


def strip(left: int, right: int) -> bytes:
    mask = np.zeros((1, 10), np.bool_)
    mask[:, left:right] = True
    return encode(mask)


def row_of(*parts: tuple[int, float, int, int]) -> PartRow:
    """A row of parts: their ids, scores and ends."""
    masks = tuple(Part(part, 1.0, score, end - start, strip(start, end)) for part, score, start, end in parts)
    return PartRow("1", "a.png", 10, 1, "ok", "", (ObjectParts(0, "cat", masks),))


def test_where_parts_overlap_the_better_score_is_seen() -> None:
    strong, weak = (4, 0.9, 2, 6), (1, 0.5, 4, 8)
    for row in (row_of(strong, weak), row_of(weak, strong)):
        assert part_map(row).tolist() == [[0, 0, 5, 5, 5, 5, 2, 2, 0, 0]]
    assert part_map(row_of()).tolist() == [[0] * 10]


def test_masks_keep_their_numbers_whichever_is_seen() -> None:
    masks = [Segment(4, strip(0, 4)), Segment(4, strip(2, 6)), Segment(5, strip(3, 8))]
    assert numbered_map(row_of(), masks).tolist() == [[1, 1, 2, 3, 3, 3, 3, 3, 0, 0]]
    assert numbered_map(row_of(), masks, [3, 1, 2]).tolist() == [[1, 1, 1, 1, 3, 3, 3, 3, 0, 0]]
    assert numbered_map(row_of(), masks[:2], [1, 1]).tolist() == [[1, 1, 2, 2, 2, 2, 0, 0, 0, 0]]
    assert numbered_map(row_of(), []).tolist() == [[0] * 10]


def test_numbers_are_matched_by_shared_pixels() -> None:
    reference = np.array([[1, 1, 1, 2, 2, 0]])
    labels = np.array([[2, 2, 3, 1, 4, 4]])
    assert matched(labels, reference).tolist()[0][:2] == [1, 1]
    renamed = matched(labels, reference)[0].tolist()
    assert {renamed[3], renamed[4]} >= {2}
    assert len({renamed[0], renamed[2], renamed[3], renamed[4]}) == 4  # one to one
    assert matched(reference, reference).tolist() == reference.tolist()
    assert matched(np.zeros((2, 2), int), np.ones((2, 2), int)).tolist() == [[0, 0], [0, 0]]
    assert matched(np.array([[1, 0]]), np.array([[0, 1]])).tolist() == [[2, 0]]  # no pixel shared: a new one
