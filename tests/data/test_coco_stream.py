"""A COCO file's entries one by one: the same as `json.loads` finds, wherever the pieces of the text end."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partdistillation.data import coco_stream
from partdistillation.data.coco_stream import LISTS, entries

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def read(path: Path) -> dict[str, list[object]]:
    lists: dict[str, list[object]] = {key: [] for key in LISTS}
    for key, value, text in entries(path):
        assert repr(json.loads(text)) == repr(value)
        lists[key].append(value)
    return lists


@pytest.mark.parametrize("piece", [1, 3, 1000])
@settings(deadline=None, max_examples=50)
@given(
    lists=st.fixed_dictionaries({key: st.lists(VALUES, max_size=4) for key in LISTS}),
    others=st.dictionaries(st.text(max_size=4), VALUES, max_size=3),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_every_entry_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    piece: int,
    lists: dict[str, list[object]],
    others: dict[str, object],
    indent: int | None,
    ascii_only: bool,
) -> None:
    path = tmp_path_factory.mktemp("stream") / "a.json"
    document = {**others, **lists}
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    path.write_text(text, encoding="utf-8-sig", errors="replace")
    expected = json.loads(path.read_text(encoding="utf-8-sig"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_stream, "_PIECE", piece)
        assert repr(read(path)) == repr({key: expected[key] for key in LISTS})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"images": [], "annotations": []}',
        '{"images": [], "annotations": [], "categories": [], "images": []}',
        '{"images": {}, "annotations": [], "categories": []}',
        '{"images": [1,], "annotations": [], "categories": []}',
        '{"images": [1 2], "annotations": [], "categories": []}',
        '{"images": [], "annotations": [], "categories": []',
        '{"images": [], "annotations": [], "categories": []} 1',
        '{"images": [], "annotations": [], "categories": [],}',
        '{1: [], "images": [], "annotations": [], "categories": []}',
        '{"images": [{"id": 1], "annotations": [], "categories": []}',
    ],
)
def test_what_is_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"Expecting|expected|more text"):
        read(tmp_path / "a.json")


def test_the_text_in_memory_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_stream, "_PIECE", 100)
    longest = 0
    more = coco_stream._Text._more

    def watched(text: Any) -> bool:
        nonlocal longest
        answer = more(text)
        longest = max(longest, len(text._text))
        return answer

    monkeypatch.setattr(coco_stream._Text, "_more", watched)
    document = {key: [{"id": number} for number in range(1000)] for key in LISTS}
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert sum(1 for _ in entries(tmp_path / "a.json")) == 3000
    assert longest < 250
