"""Verdicts: what is written is read back; what is no verdict is refused with its line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.errors import InputError
from partdistillation.runs.verdicts import Verdict, read_verdicts, write_verdicts

VERDICT = Verdict("ann", "run", "car", 2, (True, False), 1, None, "wheel", "judged")

verdicts = st.builds(
    Verdict,
    reviewer=st.text(),
    run=st.text(),
    category=st.text(),
    part=st.integers(0, 7),
    marks=st.lists(st.booleans(), max_size=9).map(tuple),
    duplicate_of=st.none() | st.integers(8, 9),
    merged_into=st.none() | st.integers(8, 9),
    name=st.text(),
    action=st.sampled_from(["judged", "rejected", "skipped"]),
)


@settings(max_examples=40)
@given(st.lists(verdicts, unique_by=lambda one: one[:4], max_size=5))
def test_verdicts_survive_a_file(tmp_path_factory: pytest.TempPathFactory, given: list[Verdict]) -> None:
    path = tmp_path_factory.mktemp("verdicts") / "verdicts.jsonl"
    write_verdicts(path, given)
    found = read_verdicts(path)
    assert sorted(found, key=lambda one: one[:4]) == sorted(given, key=lambda one: one[:4])
    write_verdicts(path.with_name("again.jsonl"), reversed(given))
    assert path.with_name("again.jsonl").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"part": -1}, "part: expected an integer from 0, found -1"),
        ({"part": True}, "part: expected an integer from 0, found True"),
        ({"marks": [1, 0]}, "marks: expected at most 9 values true or false"),
        ({"marks": [True] * 10}, "marks: expected at most 9 values true or false"),
        ({"merged_into": "1"}, "merged_into: expected an integer from 0, or null, found '1'"),
        ({"action": "kept"}, "action: expected one of judged, rejected, skipped, found 'kept'"),
        ({"action": ["judged"]}, "action: expected one of judged"),
        ({"name": "\ud800"}, "name: expected text"),
        ({"reviewer": None}, "reviewer: expected text, found None"),
        ({"duplicate_of": 2}, "expected part 2 to be the same as another part, found itself"),
        ({"note": ""}, "expected a JSON object with reviewer, run"),
    ],
)
def test_a_line_that_is_no_verdict_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "verdicts.jsonl"
    line = json.dumps(VERDICT._asdict() | change)
    path.write_text(f"{json.dumps(VERDICT._asdict())}\n\n{line}\n")
    with pytest.raises(InputError, match=r"verdicts.jsonl, line 3: ") as error:
        read_verdicts(path)
    assert message in str(error.value)


def test_a_second_verdict_on_the_same_part_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    write_verdicts(path, [VERDICT, VERDICT._replace(name="tyre")])
    with pytest.raises(InputError, match=r"line 2: .*a second one by 'ann' about part 2 of 'car' \(line 1"):
        read_verdicts(path)


@pytest.mark.parametrize("content", [b"[1, 2]\n", b"{\n", b"\xff\n"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"verdicts.jsonl"):
        read_verdicts(path)
    with pytest.raises(InputError, match="No such file"):
        read_verdicts(tmp_path / "other.jsonl")
