"""Reviewers' scores: by hand, and against the definitions written out."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from partdistillation.errors import InputError
from partdistillation.functional.krippendorff import nominal_alpha
from partdistillation.review.manual import KS, ReviewScores, Scores, score
from partdistillation.runs.verdicts import Action, Verdict


def verdict(part: int, marked: int, *, images: int = 9, **fields: Any) -> Verdict:
    marks = tuple(place < marked for place in range(images))
    given = {"reviewer": "ann", "run": "ours", "category": "car", "duplicate_of": None, "merged_into": None}
    return Verdict(**{"part": part, "marks": marks, "name": "", "action": "judged", **given, **fields})


def only(found: ReviewScores) -> Scores:
    (one,) = found.scores
    return one


def values(found: ReviewScores) -> dict[str, float]:
    return {name: estimate.value for name, estimate in only(found).estimates.items()}


def everything(verdicts: Sequence[Verdict]) -> ReviewScores:
    return score(verdicts, {"all": None})


def test_by_hand() -> None:
    """Four parts with 9, 3, 2 and 3 images alike; the last one is a duplicate of the second."""
    found = values(everything([verdict(0, 9), verdict(1, 3), verdict(2, 2), verdict(3, 3, duplicate_of=1)]))
    assert [found[f"precision@{k}"] for k in KS] == [3 / 4, *[1 / 4] * 6]
    assert [found[f"strict_precision@{k}"] for k in KS] == [*[1 / 4] * 6, 0]
    assert found["auc"] == pytest.approx((3 / 4 + 6 / 4) / 7)
    assert found["strict_auc"] == pytest.approx(6 / 4 / 7)
    assert [found[f"unique@{k}"] for k in KS] == [2 / 4, *[1 / 4] * 6]
    assert found["diversity"] == 2 / 4
    assert found["unique_of_consistent"] == pytest.approx(2 / 3)
    assert found["unique_per_class"] == 2
    assert math.isnan(found["alpha"])


def test_reviewers_are_averaged() -> None:
    """Part 0: 5 and 3 images alike, by two reviewers; part 1: 4, by one. Both parts weigh the same."""
    found = values(everything([verdict(0, 5), verdict(0, 3, reviewer="bob"), verdict(1, 4, reviewer="bob")]))
    assert found["precision@3"] == 1
    assert found["precision@4"] == (1 / 2 + 1) / 2
    assert found["precision@5"] == (1 / 2 + 0) / 2
    # Only of part 0's images there are two judges: 3 yes-yes, 2 yes-no, 4 no-no; 8 yes and 10 no in all.
    assert found["alpha"] == pytest.approx(1 - (4 / 18) / (2 * 8 * 10 / (18 * 17)))


def test_rejected_skipped_and_few_images() -> None:
    found = everything(
        [
            verdict(0, 9, action="rejected"),
            verdict(1, 9, action="skipped"),
            verdict(2, 4, images=4),
            verdict(2, 0, images=0, action="skipped", reviewer="bob"),
            verdict(3, 3, images=3, action="rejected"),
        ]
    )
    one = only(found)
    assert (one.classes, one.parts, one.skipped, one.few_images, one.verdicts) == (1, 3, 1, 2, 3)
    assert values(found)["precision@4"] == 1 / 3
    assert values(found)["precision@5"] == 0


def test_the_same_part_over_several_steps() -> None:
    """0, 1 and 2 are one part by way of 5, which isn't consistent; a rejected part ties nothing."""
    verdicts = [
        verdict(0, 3),
        verdict(1, 4, merged_into=5),
        verdict(2, 9, duplicate_of=1),
        verdict(5, 0, duplicate_of=0),
        verdict(6, 9, duplicate_of=0, action="rejected"),
        verdict(7, 3, duplicate_of=6),
    ]
    found = values(everything(verdicts))
    assert found["unique@3"] == 2 / 6  # 0 and 7
    assert found["unique@4"] == 1 / 6  # 1: 0 hasn't 4
    assert found["unique@5"] == 1 / 6


def test_groups_and_runs() -> None:
    """Only object classes reviewed for both runs count; b's car is consistent once more than a's."""
    verdicts = [
        verdict(0, 3, run="a"),
        verdict(1, 0, run="a"),
        verdict(0, 9, run="a", category="dog"),
        verdict(0, 9, run="a", category="cow"),
        verdict(0, 3, run="b"),
        verdict(1, 4, run="b"),
        verdict(0, 9, run="b", category="dog"),
        verdict(0, 9, run="b", category="cow", action="skipped"),
    ]
    found = score(verdicts, {"all": None, "cars": {"car", "lorry"}, "none": {"tree"}})
    assert [(one.group, one.run, one.classes, one.parts) for one in found.scores] == [
        ("all", "a", 2, 3),
        ("all", "b", 2, 3),
        ("cars", "a", 1, 2),
        ("cars", "b", 1, 2),
        ("none", "a", 0, 0),
        ("none", "b", 0, 0),
    ]
    assert found.left_out == {"a": 1, "b": 0}
    every, cars, none = found.differences
    assert (every.run, every.other) == ("a", "b")
    assert every.estimates["precision@3"].value == pytest.approx(2 / 3 - 1)
    assert cars.estimates["precision@3"].value == -1 / 2
    assert math.isnan(cars.estimates["precision@3"].interval.low)
    assert math.isnan(none.estimates["auc"].value)


def test_intervals() -> None:
    """Of 200 classes with one part each, half consistent: the standard error is sqrt(.25 / 200)."""
    verdicts = [verdict(0, 9 * (place % 2), category=f"class {place}") for place in range(200)]
    value, (low, high) = only(everything(verdicts)).estimates["precision@3"]
    assert value == 0.5
    error = 1.96 * math.sqrt(0.25 / 200)
    assert (low, high) == pytest.approx((0.5 - error, 0.5 + error), abs=0.015)


def test_differences_are_paired() -> None:
    """Two runs that differ in every class by the same amount: the difference doesn't move."""
    runs = [
        verdict(part, 9 * (part < place % 4 + better), category=f"class {place}", run=run)
        for place in range(50)
        for run, better in (("a", 1), ("b", 0))
        for part in range(4)
    ]
    (found,) = everything(runs).differences
    value, edges = found.estimates["auc"]
    assert (value, *edges) == pytest.approx((0.25, 0.25, 0.25))


def test_what_doesnt_fit_is_refused() -> None:
    with pytest.raises(InputError, match="found none that isn't skipped"):
        everything([verdict(0, 9, action="skipped")])
    with pytest.raises(InputError, match=r"part 3 of 'car' \(ours\) .* marks of 8 and 9 images"):
        everything([verdict(3, 9), verdict(3, 5, images=8, reviewer="bob")])


# ---------------------------------------------------------------------- the definitions, written out

actions: st.SearchStrategy[Action] = st.sampled_from(["judged", "judged", "judged", "rejected", "skipped"])
others = st.none() | st.integers(0, 5)
reviewed = st.lists(
    st.builds(
        verdict,
        part=st.integers(0, 5),
        marked=st.integers(0, 9),
        reviewer=st.sampled_from(["ann", "bob", "cem"]),
        category=st.sampled_from(["car", "dog"]),
        duplicate_of=others,
        merged_into=others,
        action=actions,
    ),
    unique_by=lambda one: (one.reviewer, one.category, one.part),
    max_size=30,
)


def new_parts(theirs: Sequence[Verdict], k: int) -> set[int]:
    """A reviewer's part classes of one object class that have k images and are the first of their part."""
    links = [
        (one.part, other)
        for one in theirs
        if one.action == "judged"
        for other in (one.duplicate_of, one.merged_into)
        if other is not None
    ]
    rows, columns = zip(*links, strict=True) if links else ((), ())
    _, component = connected_components(coo_array((np.ones(len(links)), (rows, columns)), shape=(6, 6)))
    best: dict[int, int] = {}
    for one in theirs:
        if one.action == "judged" and sum(one.marks) >= k:
            label = int(component[one.part])
            best[label] = min(best.get(label, 99), one.part)
    return set(best.values())


@settings(max_examples=40)
@given(reviewed)
def test_definitions(verdicts: list[Verdict]) -> None:
    answers = [one for one in verdicts if one.action != "skipped"]
    if not answers:
        with pytest.raises(InputError):
            everything(verdicts)
        return
    found = values(everything(verdicts))
    parts = sorted({(one.category, one.part) for one in answers})
    shown = {id(one): sum(one.marks) if one.action == "judged" else 0 for one in answers}
    for k in KS:
        at_least, more, new = [], [], []
        for category, part in parts:
            its = [one for one in answers if (one.category, one.part) == (category, part)]
            at_least.append(np.mean([shown[id(one)] >= k for one in its]))
            more.append(np.mean([shown[id(one)] > k for one in its]))
            firsts = [
                one.part
                in new_parts([v for v in answers if v[0] == one.reviewer and v.category == category], k)
                for one in its
            ]
            new.append(np.mean(firsts))
        assert found[f"precision@{k}"] == pytest.approx(np.mean(at_least))
        assert found[f"strict_precision@{k}"] == pytest.approx(np.mean(more))
        assert found[f"unique@{k}"] == pytest.approx(np.mean(new))
    assert found["auc"] == pytest.approx(np.mean([found[f"precision@{k}"] for k in KS]))
    counts = [
        [sum(not mark for mark in marks), sum(marks)]
        for category, part in parts
        for marks in zip(
            *(
                one.marks if one.action == "judged" else (False,) * 9
                for one in answers
                if (one.category, one.part) == (category, part)
            ),
            strict=True,
        )
    ]
    assert found["alpha"] == pytest.approx(nominal_alpha(np.array(counts)), nan_ok=True)


@settings(max_examples=40)
@given(reviewed, st.randoms())
def test_order_doesnt_matter(verdicts: list[Verdict], random: Any) -> None:
    if all(one.action == "skipped" for one in verdicts):
        return
    before = values(everything(verdicts))
    random.shuffle(verdicts)
    assert values(everything(verdicts)) == pytest.approx(before, nan_ok=True)
