from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from partdistillation.runs.records import (
    Object,
    ObjectParts,
    ObjectProposals,
    ObjectRow,
    ObjectSegments,
    Part,
    PartRow,
    Proposal,
    ProposalRow,
    Row,
    Segment,
    SegmentRow,
    from_table,
    parquet_schema,
    to_table,
)

OBJECT_COLUMNS = {
    "image_id": "string",
    "file_name": "string",
    "width": "int64",
    "height": "int64",
    "status": "string",
    "reason": "string",
    "objects": "list<element: struct<object_id: int64 not null, category: string not null, "
    "score: double not null, area: int64 not null, box: list<element: double not null> not null, "
    "rle: binary not null> not null>",
}

integers = st.integers(0, 2**62)
scores = st.floats(0, 1)
records = {
    ObjectRow: st.builds(
        Object,
        object_id=integers,
        category=st.text(),
        score=scores,
        area=integers,
        box=st.tuples(scores, scores, scores, scores),
        rle=st.binary(),
    ),
    SegmentRow: st.builds(
        ObjectSegments,
        object_id=integers,
        segments=st.lists(st.builds(Segment, area=integers, rle=st.binary()), max_size=3).map(tuple),
    ),
    PartRow: st.builds(
        ObjectParts,
        object_id=integers,
        category=st.text(),
        parts=st.lists(
            st.builds(Part, part=integers, probability=scores, score=scores, area=integers, rle=st.binary()),
            max_size=3,
        ).map(tuple),
    ),
}


def rows_of(row: Any) -> st.SearchStrategy[list[Any]]:
    fields = {
        "image_id": st.text(),
        "file_name": st.text(),
        "width": integers,
        "height": integers,
        "status": st.sampled_from(["ok", "rejected"]),
        "reason": st.text(),
        "objects": st.lists(records[row], max_size=3).map(tuple),
    }
    return st.lists(st.builds(row, **fields), max_size=3)


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the tests' type checks do
@pytest.mark.parametrize("row", list(records))
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_rows_come_back_as_they_were(row: type[Row], data: st.DataObject) -> None:
    rows = data.draw(rows_of(row))
    assert from_table(to_table(rows, row), row) == rows


def proposal_row(feature: NDArray[Any]) -> ProposalRow:
    proposal = Proposal(query=3, score=0.25, ratio=0.5, area=7, rle=b"abc", feature=feature)
    return ProposalRow("a", "a.jpg", 4, 3, "ok", "", (ObjectProposals(0, "car", (proposal,)),))


@settings(max_examples=50, deadline=None)
@given(feature=arrays(np.float16, st.integers(0, 5)))
def test_features_come_back_bit_by_bit(feature: NDArray[np.float16]) -> None:
    (row,) = from_table(to_table([proposal_row(feature)], ProposalRow), ProposalRow)
    back = row.objects[0].proposals[0].feature
    assert back.dtype == np.float16
    assert back.tobytes() == feature.tobytes()  # nan too


def test_a_feature_of_another_type_is_refused() -> None:
    with pytest.raises(Exception, match=r"float16|NDArray|ndarray"):
        to_table([proposal_row(np.zeros(4, np.float32))], ProposalRow)


def test_the_columns_are_as_documented() -> None:
    columns = parquet_schema(ObjectRow)
    assert {column.name: str(column.type) for column in columns} == OBJECT_COLUMNS
    assert not any(column.nullable for column in columns)


def test_a_table_with_other_columns_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected the columns of ObjectRow"):
        from_table(pa.table({"image_id": ["a"]}), ObjectRow)
