"""Changes of part classes' names, merges and rejections, from decisions written by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partdistillation.errors import InputError
from partdistillation.runs.part_table import ClassParts
from partdistillation.studio import edits

WHEEL = ClassParts({0: "wheel"}, {2: 0, 3: 2}, frozenset({5}))
PARTS = st.integers(0, 5)


def test_part_classes_that_are_one_are_named_together() -> None:
    assert edits.named(WHEEL, 3, "tyre") == ClassParts({0: "tyre"}, {2: 0, 3: 2}, frozenset({5}))


def test_an_empty_name_is_none() -> None:
    assert edits.named(WHEEL, 0, "").names == {}


def test_what_is_merged_brings_its_kin_and_a_name_where_there_is_none() -> None:
    assert edits.merged(WHEEL, 2, 1) == ClassParts({1: "wheel"}, {0: 1, 2: 1, 3: 1}, frozenset({5}))


def test_a_name_that_is_there_is_kept() -> None:
    both = edits.merged(edits.named(WHEEL, 1, "door"), 0, 1)
    assert both.names == {0: "wheel", 1: "door"}
    assert both.becomes(3) == 1


def test_one_that_is_split_off_stands_alone() -> None:
    assert edits.split(WHEEL, 2).merged == {3: 0}


def test_what_is_one_is_rejected_as_one_and_comes_back_one_by_one() -> None:
    without = edits.rejected(WHEEL, 3)
    assert (without.merged, without.rejected) == ({}, frozenset({0, 2, 3, 5}))
    assert edits.restored(without, 0).rejected == frozenset({2, 3, 5})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda: edits.named(WHEEL, 5, "door"), "take it back first"),
        (lambda: edits.named(WHEEL, 0, "part 7"), "expected a name"),
        (lambda: edits.named(WHEEL, 0, "two\nlines"), "expected a name"),
        (lambda: edits.merged(WHEEL, 3, 0), "are one already"),
        (lambda: edits.merged(WHEEL, 1, 5), "take it back first"),
        (lambda: edits.split(WHEEL, 0), "isn't"),
        (lambda: edits.rejected(WHEEL, 5), "take it back first"),
        (lambda: edits.restored(WHEEL, 0), "isn't"),
    ],
)
def test_what_contradicts_is_refused(edit: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        edit()  # type: ignore[operator]


def test_what_others_say_is_added_where_nothing_is_decided() -> None:
    proposed = ClassParts({0: "hub", 4: "door", 1: "roof"}, {3: 4, 6: 1, 7: 5}, frozenset({2, 8}))
    added = edits.added(WHEEL, proposed)
    assert added.names == {0: "wheel", 1: "roof", 4: "door"}
    assert added.merged == {2: 0, 3: 2, 6: 1}
    assert added.rejected == frozenset({5, 8})


@given(st.lists(st.tuples(st.sampled_from(["name", "merge", "split", "reject", "restore"]), PARTS, PARTS)))
def test_no_order_of_changes_leads_to_a_contradiction(changes: list[tuple[str, int, int]]) -> None:
    decided = ClassParts()
    for kind, part, other in changes:
        try:
            match kind:
                case "name":
                    decided = edits.named(decided, part, f"name {other}")
                case "merge":
                    decided = edits.merged(decided, part, other)
                case "split":
                    decided = edits.split(decided, part)
                case "reject":
                    decided = edits.rejected(decided, part)
                case _:
                    decided = edits.restored(decided, part)
        except InputError as refused:
            assert "expected a part class" in str(refused) or "are one already" in str(refused)  # noqa: PT017
        for part_id in range(6):
            end = decided.becomes(part_id)
            assert end is None or decided.becomes(end) == end
