"""Which objects are kept, by hand-made masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partdistillation.classes.class_list import ClassEntry, ClassList
from partdistillation.errors import ConfigError
from partdistillation.functional.masks import decode
from partdistillation.objects import to_object
from partdistillation.objects.labelling import (
    best,
    distinct,
    known_prompts,
    named,
    open_vocabulary,
    people,
    plain_list,
)
from partdistillation.runs.records import Object

SIZE = 10


def rows(first: int, last: int, score: float, category: str = "man") -> Object:
    """An object of whole rows of a 10 x 10 image."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[first:last] = True
    return to_object(mask, category, score)


def test_best_score_first_then_the_largest() -> None:
    small, large, good = rows(0, 1, 0.5), rows(0, 3, 0.5), rows(0, 2, 0.9)
    assert best([small, large, good], pixels=100, max_objects=2, min_area=0.0) == (
        [good, large],
        ["1 after the best 2"],
    )
    assert best([small, large, good], pixels=100, max_objects=1, min_area=0.2) == (
        [good],
        ["1 empty or smaller than 0.2 of the image", "1 after the best 1"],
    )
    assert best([rows(0, 0, 1.0)], pixels=100, max_objects=1, min_area=0.0) == (
        [],
        ["1 empty or smaller than 0 of the image"],
    )


def test_one_object_under_several_names_is_kept_once() -> None:
    man, woman = rows(0, 6, 0.5, "man"), rows(0, 7, 0.8, "woman")  # IoU 6 / 7
    half, other = rows(0, 3, 0.7, "human"), rows(7, 10, 0.4, "person")  # half: IoU 3 / 7 with the woman
    assert distinct([man, woman, half, other], SIZE, SIZE) == [woman, half, other]
    exactly_half = [rows(0, 4, 0.9), rows(0, 2, 0.8)]
    assert distinct(exactly_half, SIZE, SIZE) == exactly_half
    assert distinct([man, other], SIZE, SIZE, taken=[woman]) == [other]
    assert distinct([], SIZE, SIZE) == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9), st.integers(1, 10), st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from("ab")
        ),
        max_size=6,
    )
)
def test_kept_objects_differ_and_the_others_have_a_better_double(
    spans: list[tuple[int, int, float, str]],
) -> None:
    def overlap(a: Object, b: Object) -> float:
        first, second = (decode(one.rle, SIZE, SIZE) for one in (a, b))
        return float((first & second).sum() / max(1, (first | second).sum()))

    found = [rows(start, start + count, score, name) for start, count, score, name in spans]
    kept = distinct(found, SIZE, SIZE)
    assert all(overlap(a, b) <= 0.5 for place, a in enumerate(kept) for b in kept[:place])
    for one in found:
        assert one in kept or any(overlap(one, k) > 0.5 and k.score >= one.score for k in kept)


def test_people_are_persons_above_their_score() -> None:
    found = [rows(0, 5, 0.9, "toddler"), rows(0, 5, 0.95, "human"), rows(5, 9, 0.3, "man")]
    (person,) = people(found, SIZE, SIZE)
    assert (person.category, person.score, person.area) == ("person", 0.95, 50)
    assert people(found, SIZE, SIZE, taken=[rows(0, 5, 0.1, "person")]) == []


def test_named() -> None:
    (found,) = named([rows(0, 2, 0.5, "crane")], {"crane": "crane (bird)"})
    assert found == rows(0, 2, 0.5, "crane (bird)")


def test_the_folders_are_what_is_looked_for() -> None:
    assert open_vocabulary(["polar_bear"]).entries == (ClassEntry("polar_bear", "polar bear", "polar_bear"),)
    classes = open_vocabulary(["polar bear", "zebra"])
    assert classes.entries[0] == ClassEntry("polar bear", "polar bear", "polar bear")
    with pytest.raises(ConfigError, match=r"in folders named after their class, found none.*--objects\.cla"):
        open_vocabulary([])
    with pytest.raises(ConfigError, match=r"found WordNet's numbers \(n01440764\).*third column"):
        open_vocabulary(["n01440764", "n01443537"])


def test_what_a_model_of_a_fixed_vocabulary_can_be_asked() -> None:
    cranes = [ClassEntry("crane (bird)", "crane", "n1"), ClassEntry("crane (machine)", "crane", "n2")]
    classes = ClassList((*cranes, ClassEntry("tench", "tench", "n3"), ClassEntry("car", "car", "n4")))
    assert known_prompts(classes, ["car", "bus", "crane"]) == ("crane", "car")
    with pytest.raises(ConfigError, match=r"found none of its 2, and 'zebrra' first\. Did you mean 'zebra'"):
        known_prompts(plain_list(["zebrra"]), ["zebra", "car"])
