"""The part table: what it says of parts, its file, and what reviewers agree on."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.errors import InputError
from partdistillation.functional.masks import decode, encode
from partdistillation.runs.majority import from_verdicts
from partdistillation.runs.part_table import (
    ClassParts,
    PartTable,
    read_part_table,
    write_part_table,
)
from partdistillation.runs.records import ObjectParts, Part, PartRow
from partdistillation.runs.verdicts import Verdict

K = 8


def part(number: int, *columns: int, score: float = 0.5) -> Part:
    mask = np.zeros((2, 10), np.bool_)
    mask[:, list(columns)] = True
    return Part(number, score / 2, score, 2 * len(columns), encode(mask))


def row(*parts: Part, category: str = "car") -> PartRow:
    return PartRow("1", "a.png", 10, 2, "ok", "", (ObjectParts(0, category, parts),))


def columns(one: Part) -> list[int]:
    return np.flatnonzero(decode(one.rle, 2, 10)[0]).tolist()


@st.composite
def class_parts(draw: st.DrawFn) -> ClassParts:
    """Any decisions that don't contradict each other: every part may lead to a lower one of some order."""
    order = draw(st.permutations(range(K)))
    merged = {
        order[place]: order[draw(st.integers(0, place - 1))]
        for place in range(1, K)
        if draw(st.integers(0, 2)) == 0
    }
    free = sorted(set(range(K)) - set(merged) - set(merged.values()))
    rejected = draw(st.sets(st.sampled_from(free))) if free else set()
    names = draw(st.dictionaries(st.integers(0, K - 1), st.sampled_from(["wheel", "<b>", "d'été | x"])))
    return ClassParts(names, merged, frozenset(rejected))


tables = st.dictionaries(st.sampled_from(["car", "дом", 'a "b"']), class_parts()).map(PartTable)
found_parts = st.lists(
    st.tuples(st.integers(0, K - 1), st.integers(0, 9), st.sampled_from([0.25, 0.5, 1.0])), max_size=8
)


def test_parts_are_joined_and_left_out() -> None:
    table = PartTable({"car": ClassParts(merged={2: 1, 1: 0}, rejected=frozenset({5}))})
    before = row(part(3, 9), part(2, 0, 1, score=0.9), part(5, 4), part(0, 1, 2), part(3, 7), part(1, 5))
    (found,) = table.applied(before).objects
    assert [(one.part, columns(one)) for one in found.parts] == [(3, [9]), (0, [0, 1, 2, 5]), (3, [7])]
    one = found.parts[1]
    assert (one.area, one.score, one.probability) == (8, 0.9, 0.45)
    other = row(part(2, 0), part(5, 3), category="dog")
    assert table.applied(other) == other
    assert table.edits == {"car": {"1": 0, "2": 0, "5": None}}


def test_names() -> None:
    table = PartTable({"car": ClassParts({0: "wheel"})})
    assert [table.name("car", 0), table.name("car", 1), table.name("dog", 0)] == ["wheel", "part 1", "part 0"]
    assert table.edits == {}


def test_ids_without_gaps() -> None:
    table = PartTable(
        {
            "car": ClassParts({0: "wheel", 4: "door", 2: "tyre"}, {2: 0}, frozenset({1})),
            "dog": ClassParts(rejected=frozenset({0})),
        }
    )
    ids, named = table.renumbered(5)
    assert ids == {"car": {0: 0, 3: 1, 4: 2}, "dog": {1: 0, 2: 1, 3: 2, 4: 3}}
    assert named == PartTable({"car": ClassParts({0: "wheel", 2: "door"})})


@pytest.mark.parametrize(
    ("decided", "message"),
    [
        ({"merged": {1: 2, 2: 3, 3: 1}}, r"a cycle: part 1 -> 2 -> 3 -> 1"),
        ({"merged": {1: 1}}, r"a cycle: part 1 -> 1"),
        ({"merged": {4: 5, 5: 6, 6: 5}}, r"a cycle: part 4 -> 5 -> 6 -> 5"),
        ({"merged": {1: 2, 2: 3}, "rejected": frozenset({3})}, r"part 3 is rejected, .* part 1 -> 2 -> 3"),
        ({"merged": {1: 2}, "rejected": frozenset({1})}, r"part 1 is rejected"),
        ({"names": {1: ""}}, "part 1: expected a name"),
        ({"names": {1: "a\nb"}}, "part 1: expected a name"),
        ({"names": {1: " a"}}, "part 1: expected a name"),
        ({"names": {1: "part 2"}}, "part 1: expected a name"),
    ],
)
def test_contradictions_are_refused(decided: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClassParts(**decided)


@pytest.mark.parametrize("order", [1, -1])
def test_long_chains_of_merges_take_no_time(order: int) -> None:
    """20,000 merges; followed one by one from each part they are 200 million steps."""
    parts = list(range(20_000))[::order]
    decided = ClassParts(merged=dict(itertools.pairwise(parts)))
    assert {decided.becomes(part) for part in parts} == decided.joined == {parts[-1]}
    with pytest.raises(
        InputError, match=rf"part {parts[-1]} is rejected, .* -> \.\.\. -> {parts[-1]}\. Reject"
    ):
        ClassParts(merged=decided.merged, rejected=frozenset(parts[-1:]))
    with pytest.raises(InputError, match=rf"a cycle: part {parts[0]} -> .* -> \.\.\. -> {parts[0]}"):
        ClassParts(merged={**decided.merged, parts[-1]: parts[0]})


def test_another_models_table_is_refused() -> None:
    table = PartTable({"car": ClassParts({0: "wheel"}), "dog": ClassParts(merged={1: 9})})
    table.check(10)
    with pytest.raises(InputError, match=r"part 9 of 'dog': expected parts 0 to 7"):
        table.check(8)


@settings(max_examples=60)
@given(tables, found_parts)
def test_what_a_table_does_to_any_row(table: PartTable, given: list[tuple[int, int, float]]) -> None:
    before = row(*(part(number, place, score=score) for number, place, score in given))
    after = table.applied(before)
    assert table.applied(after) == after
    decided = table.of("car")
    pixels: dict[int, set[int]] = {}
    for one in before.objects[0].parts:
        became: int | None = one.part
        for _ in range(K):
            became = decided.merged.get(became, became) if became is not None else None
        if became not in decided.rejected and became is not None:
            pixels.setdefault(became, set()).update(columns(one))
    found: dict[int, set[int]] = {}
    for one in after.objects[0].parts:
        assert one.area == 2 * len(columns(one))
        assert one.part not in found or one.part not in decided.merged.values()
        found.setdefault(one.part, set()).update(columns(one))
    assert found == pixels
    if not table.edits:
        assert after == before


@given(tables)
def test_ids_without_gaps_of_any_table(table: PartTable) -> None:
    ids, named = table.renumbered(K)
    for category, its in ids.items():
        assert sorted(its.values()) == list(range(len(its)))
        assert sorted(its) == list(its)
        assert {table.of(category).becomes(one) for one in range(K)} - {None} == set(its)
        for old, new in its.items():
            default = {f"part {old}": f"part {new}"}
            name = table.name(category, old)
            assert named.name(category, new) == default.get(name, name)


# ---------------------------------------------------------------------- files


@settings(max_examples=30)
@given(tables)
def test_tables_survive_a_file(tmp_path_factory: pytest.TempPathFactory, table: PartTable) -> None:
    path = tmp_path_factory.mktemp("table") / "part_table.json"
    write_part_table(path, table)
    assert read_part_table(path) == table


def test_a_table_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"version": 1, "classes": {"car": {"rejected": [3]}, "dog": {"names": {"0": "ear"}}}}')
    assert read_part_table(path) == PartTable(
        {"car": ClassParts(rejected=frozenset({3})), "dog": ClassParts({0: "ear"})}
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"mine.json: expected a JSON object, found \[\]"),
        ("{", "expected a part table as JSON"),
        ('{"classes": {}}', "a part table of version 1, found None"),
        ('{"version": 2, "classes": {}}', "a part table of version 1, found 2"),
        ('{"version": 1}', "expected a JSON object, found None"),
        ('{"version": 1, "clases": {}}', "expected some of version, classes, found 'clases'"),
        ('{"version": 1, "classes": {"car": {}, "car": {}}}', "'car' 2 times"),
        ('{"version": 1, "classes": {"car": {"renamed": {}}}}', "object class 'car': expected some of names"),
        ('{"version": 1, "classes": {"car": {"names": {"x": "a"}}}}', r"'car': expected a part id .*'x'"),
        ('{"version": 1, "classes": {"car": {"names": {"0": 1}}}}', "'car': names: expected text, found 1"),
        ('{"version": 1, "classes": {"car": {"names": {"01": "a"}}}}', "found '01'"),
        ('{"version": 1, "classes": {"car": {"merged": {"1": -1}}}}', "found -1"),
        ('{"version": 1, "classes": {"car": {"merged": {"1": true}}}}', "found True"),
        ('{"version": 1, "classes": {"car": {"merged": {"1": 2, "2": 1}}}}', "'car': .* a cycle"),
        ('{"version": 1, "classes": {"car": {"rejected": 1}}}', "expected a list of part ids, found 1"),
        ('{"version": 1, "classes": {"car": {"rejected": [1000000000]}}}', "a part id"),
        ("[" * 200_000, "a part table as JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_part_table(path)
    with pytest.raises(InputError, match="expected a part table, found No such file"):
        read_part_table(tmp_path / "other.json")


# ---------------------------------------------------------------------- what reviewers agree on


def verdict(reviewer: str, number: int, **fields: Any) -> Verdict:
    given: dict[str, Any] = {"duplicate_of": None, "merged_into": None, "name": "", "action": "judged"}
    return Verdict(reviewer, "run", "car", number, (True,), **{**given, **fields})


def agreed(*verdicts: Verdict) -> ClassParts:
    return from_verdicts(verdicts).of("car")


def test_more_than_half_reject() -> None:
    said = {0: "rrj", 1: "rj", 2: "rs", 3: "rrjj", 4: "sss"}
    actions = {"r": "rejected", "j": "judged", "s": "skipped"}
    verdicts = [
        verdict(f"reviewer {place}", number, action=actions[letter])
        for number, letters in said.items()
        for place, letter in enumerate(letters)
    ]
    assert agreed(*verdicts) == ClassParts(rejected=frozenset({0, 2}))


def test_more_than_half_merge() -> None:
    """Ann joins 0, 1 and 2 over two steps, Bob 1 and 2 the other way round, Cem nothing."""
    verdicts = [
        verdict("ann", 0),
        verdict("ann", 1, merged_into=0),
        verdict("ann", 2, merged_into=1),
        verdict("bob", 0),
        verdict("bob", 1, merged_into=2),
        verdict("bob", 2),
        *(verdict("cem", number) for number in range(3)),
    ]
    assert agreed(*verdicts) == ClassParts(merged={2: 1})
    assert agreed(*verdicts[:3]) == ClassParts(merged={1: 0, 2: 0})
    assert agreed(*verdicts[:6]) == ClassParts(merged={2: 1})
    assert agreed(*verdicts[3:]) == ClassParts()  # one of two is no majority


def test_a_rejected_part_joins_nothing() -> None:
    verdicts = [
        verdict("ann", 0, name="wheel"),
        verdict("ann", 1, action="rejected", name="dirt"),
        verdict("ann", 2, merged_into=1),
        verdict("ann", 3, duplicate_of=0),
    ]
    assert agreed(*verdicts) == ClassParts({0: "wheel"}, rejected=frozenset({1}))


def test_the_most_given_name() -> None:
    verdicts = [
        verdict("ann", 0, name="Wheel"),
        verdict("bob", 0, name="tyre "),
        verdict("cem", 0, name="wheel"),
        verdict("dan", 0, name="wheel"),
        verdict("ann", 1, name="door"),
        verdict("bob", 1, name=" Car\ndoor"),
        verdict("ann", 2, name="part 7"),
        verdict("ann", 3, name="roof"),
        verdict("ann", 4, merged_into=3, name="top"),
        verdict("bob", 4, merged_into=3, name="top"),
    ]
    assert agreed(*verdicts) == ClassParts({0: "wheel", 1: "Car door", 3: "top"}, {4: 3})


def test_which_run() -> None:
    verdicts = [verdict("ann", 0, name="wheel"), verdict("ann", 0, name="tail")._replace(run="b")]
    assert from_verdicts(verdicts, "b") == PartTable({"car": ClassParts({0: "tail"})})
    with pytest.raises(InputError, match=r"with verdicts \(b, run\), found no run"):
        from_verdicts(verdicts)
    with pytest.raises(InputError, match=r"with verdicts \(b, run\), found 'c'"):
        from_verdicts(verdicts, "c")
    with pytest.raises(InputError, match="there are none"):
        from_verdicts([])


def test_unknown_parts_are_named() -> None:
    with pytest.raises(InputError, match=r"'ann' merged part 1 of 'car' into part 6, .*verdicts on 0, 1\)"):
        agreed(verdict("ann", 0), verdict("ann", 1, merged_into=6))


reviewed = st.lists(
    st.builds(
        verdict,
        st.sampled_from(["ann", "bob", "cem"]),
        st.integers(0, K - 1),
        merged_into=st.none() | st.integers(0, K - 1),
        name=st.sampled_from(["", "wheel", "Wheel", "part 1", "a\tb"]),
        action=st.sampled_from(["judged", "judged", "judged", "rejected", "skipped"]),
    ),
    unique_by=lambda one: one[:4],
    min_size=1,
    max_size=20,
)


def targets_known(verdicts: Sequence[Verdict]) -> list[Verdict]:
    known = {one.part for one in verdicts}
    return [
        one._replace(merged_into=one.merged_into if one.merged_into in known else None) for one in verdicts
    ]


@settings(max_examples=60)
@given(reviewed.map(targets_known), st.randoms())
def test_any_verdicts_make_a_table(verdicts: list[Verdict], random: Any) -> None:
    table = from_verdicts(verdicts)
    random.shuffle(verdicts)
    assert from_verdicts(verdicts) == table
    decided = table.of("car")
    assert set(decided.merged.values()).isdisjoint(decided.merged)  # everything in one step
    assert all(into < part for part, into in decided.merged.items())
    asked = {one.part for one in verdicts if one.action != "skipped"}
    assert decided.rejected <= asked
    for one in {one.part for one in verdicts}:
        refused = [v.action == "rejected" for v in verdicts if v.part == one and v.action != "skipped"]
        assert (one in decided.rejected) == (sum(refused) > len(refused) / 2)


@given(class_parts())
def test_reviewers_of_one_mind_get_what_they_say(decided: ClassParts) -> None:
    verdicts = [
        verdict(
            reviewer,
            number,
            action="rejected" if number in decided.rejected else "judged",
            merged_into=decided.merged.get(number),
        )
        for number in range(K)
        for reviewer in ("ann", "bob")
    ]
    found = agreed(*verdicts)
    assert found.rejected == decided.rejected
    same = {frozenset(n for n in range(K) if decided.becomes(n) == one) for one in range(K)}
    assert {frozenset(n for n in range(K) if found.becomes(n) == one) for one in range(K)} == same


def test_the_file_is_readable(tmp_path: Path) -> None:
    write_part_table(
        tmp_path / "t.json", PartTable({"car": ClassParts({0: "räder"}, {2: 0}, frozenset({1}))})
    )
    text = (tmp_path / "t.json").read_text(encoding="utf-8")
    assert '"0": "räder"' in text
    assert json.loads(text)["classes"]["car"] == {
        "names": {"0": "räder"},
        "merged": {"2": 0},
        "rejected": [1],
    }
