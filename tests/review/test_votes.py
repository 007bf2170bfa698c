"""Agreement on marks, by hand."""

import pytest

from partdistillation.review.votes import Vote, agreement


def test_nobody_can_disagree_with_nobody() -> None:
    assert agreement([]) is None
    assert agreement([(1, Vote("judged", (True, False))), (2, Vote("judged", (True, False)))]) is None


def test_alpha_by_hand() -> None:
    answers = [(1, Vote("judged", (True, True))), (1, Vote("judged", (True, False)))]
    # 4 values, 3 of them yes; observed 2 pairs that differ; expected 2 * 3 * 1 / (4 - 1) = 2.
    assert agreement(answers) == pytest.approx(0)


def test_rejected_is_nothing_marked_and_skipped_nothing_said() -> None:
    answers = [
        (1, Vote("judged", (False, False))),
        (1, Vote("rejected", (True, True))),
        (2, Vote("judged", (True, True))),
        (2, Vote("judged", (True, True))),
        (2, Vote("skipped", (False, False))),
    ]
    assert agreement(answers) == 1
