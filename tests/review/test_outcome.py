"""What came of a review, counted by hand."""

from typing import Any

from partdistillation.review.outcome import Outcome, outcomes
from partdistillation.runs.verdicts import Verdict


def verdict(reviewer: str, part: int, marked: int, **changes: Any) -> Verdict:
    """Of part class `part` of a car, with so many of 9 images marked."""
    marks = (True,) * marked + (False,) * (9 - marked)
    return Verdict(reviewer, "mine", "car", part, marks, None, None, "", "judged")._replace(**changes)


def test_a_majority_decides() -> None:
    said = [
        verdict("Anna", 0, 9, name="wheel"), verdict("Ben", 0, 2), verdict("Cem", 0, 3),  # consistent
        verdict("Anna", 1, 9), verdict("Ben", 1, 2),  # a tie is none
        verdict("Anna", 2, 5, merged_into=0), verdict("Ben", 2, 0, action="skipped"),  # of one, who merges it
        verdict("Anna", 3, 9, action="rejected"), verdict("Cem", 3, 9, action="rejected"),
        verdict("Ben", 3, 9),
        verdict("Anna", 4, 9, action="skipped"),
        verdict("Anna", 0, 4, category="tree", name="crown"),
    ]  # fmt: skip
    assert outcomes(said, {"tree": 2, "car": 6}) == {
        "car": Outcome(parts=6, judged=4, consistent=2, named=1, merged=1, rejected=1),
        "tree": Outcome(parts=2, judged=1, consistent=1, named=1),
    }


def test_runs_are_counted_together_but_not_mixed() -> None:
    """Part 0 of one run is another one than part 0 of the other."""
    said = [verdict("Anna", 0, 9), verdict("Anna", 0, 0, run="theirs", action="rejected")]
    assert outcomes(said, {"car": 4}) == {"car": Outcome(parts=4, judged=2, consistent=1, rejected=1)}


def test_a_merge_into_a_part_without_an_answer_waits_for_it() -> None:
    assert outcomes([verdict("Anna", 1, 9, merged_into=0)], {"car": 2})["car"].merged == 0


def test_sums() -> None:
    assert Outcome(1, 2, 3, 4, 5, 6) + Outcome(10, 0, 0, 0, 0, 1) == Outcome(11, 2, 3, 4, 5, 7)
