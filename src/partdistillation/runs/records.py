"""What stages hand over: one row an image, as typed records with their Parquet schemas.

Masks are COCO compressed RLE (`counts` as ASCII bytes; the size is the row's height and width).
Boxes are xyxy in pixels. `object_id` is the object's position in its image's list of objects, kept
by every later stage. A rejected image has `status="rejected"`, its reason, and no objects; the reason of one
that is ok says what was left out, if anything was.

The Parquet columns follow from the dataclasses: a nested dataclass is a struct, a tuple a list, a feature
the bytes of its little-endian float16 values (float16 columns are read by few tools); nothing is null.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Status = Literal["ok", "rejected"]


@dataclass(frozen=True)
class Object:
    """Stage 1: an instance with a class."""

    object_id: int
    category: str
    score: float
    area: int
    box: tuple[float, float, float, float]
    rle: bytes


@dataclass(frozen=True)
class Segment:
    """Stage 2: a class-agnostic piece of an object, from grouping its pixels."""

    area: int
    rle: bytes


@dataclass(frozen=True)
class Proposal:
    """Stage 4, before ranking: a query's mask after post-processing, its score and feature."""

    query: int
    score: float
    ratio: float
    area: int
    rle: bytes
    feature: NDArray[np.float16]


@dataclass(frozen=True)
class Part:
    """A proposal with a part class: `part` in 0..K-1 within its object class, `probability` of eq. 4."""

    part: int
    probability: float
    score: float
    area: int
    rle: bytes


@dataclass(frozen=True)
class ObjectSegments:
    object_id: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class ObjectProposals:
    object_id: int
    category: str
    proposals: tuple[Proposal, ...]


@dataclass(frozen=True)
class ObjectParts:
    object_id: int
    category: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Row:
    """One input image. Subclasses add what their stage found."""

    image_id: str
    file_name: str
    width: int
    height: int
    status: Status
    reason: str

    def to(self, row: "Callable[..., R]", objects: Iterable[object]) -> "R":
        """The same image as a row of another stage, with what that has for each of its objects."""
        header = (self.image_id, self.file_name, self.width, self.height, self.status, self.reason)
        return row(*header, tuple(objects))


@dataclass(frozen=True)
class ObjectRow(Row):
    objects: tuple[Object, ...]


@dataclass(frozen=True)
class SegmentRow(Row):
    objects: tuple[ObjectSegments, ...]


@dataclass(frozen=True)
class ProposalRow(Row):
    objects: tuple[ObjectProposals, ...]


@dataclass(frozen=True)
class PartRow(Row):
    objects: tuple[ObjectParts, ...]


R = TypeVar("R", bound=Row)
_V = TypeVar("_V")

_Convert: TypeAlias = Callable[[Any], Any]

_COLUMN_TYPES: dict[object, pa.DataType] = {
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
}


def parquet_schema(row: type[Row]) -> pa.Schema:
    """The columns of a stage's rows."""
    return pa.schema([_column(name, hint) for name, hint in get_type_hints(row).items()])


def to_table(rows: Sequence[R], row: type[R]) -> pa.Table:
    """Rows as an Arrow table of `parquet_schema(row)`.

    Raises:
        ValueError, TypeError: a value doesn't have its column's type.
    """
    flatten = _flattener(row)
    return pa.Table.from_pylist([flatten(item) for item in rows], schema=parquet_schema(row))


def from_table(table: pa.Table, row: type[R]) -> list[R]:
    """The rows of a table made by `to_table`.

    Raises:
        ValueError: the table has other columns.
    """
    expected = parquet_schema(row)
    if not table.schema.equals(expected):
        raise ValueError(f"expected the columns of {row.__name__}:\n{expected}\nfound:\n{table.schema}")
    restore = _restorer(row)
    return [restore(item) for item in table.to_pylist()]


def _column(name: str, hint: object) -> pa.Field:
    return pa.field(name, _column_type(hint), nullable=False)


def _column_type(hint: object) -> pa.DataType:
    if is_dataclass(hint):
        return pa.struct([_column(name, inner) for name, inner in get_type_hints(hint).items()])
    if get_origin(hint) is tuple:
        return pa.list_(_column("element", get_args(hint)[0]))
    if get_origin(hint) is Literal:
        return pa.string()
    if get_origin(hint) is np.ndarray:
        return pa.binary()
    return _COLUMN_TYPES[hint]


def _flattener(hint: object) -> _Convert:
    """From a record to what Arrow takes. Put together once a table: a shard holds some 100,000 records."""
    if is_dataclass(hint):
        flatteners = {name: _flattener(inner) for name, inner in get_type_hints(hint).items()}
        return lambda value: {name: flatten(getattr(value, name)) for name, flatten in flatteners.items()}
    if get_origin(hint) is tuple:
        element = _flattener(get_args(hint)[0])
        return lambda value: [element(item) for item in value]
    if get_origin(hint) is np.ndarray:
        return _feature_bytes
    return _same


def _restorer(hint: object) -> _Convert:
    """The inverse of `_flattener`."""
    if is_dataclass(hint):
        record: Callable[..., Any] = hint  # type: ignore[assignment]  # the class itself, not a record
        restorers = {name: _restorer(inner) for name, inner in get_type_hints(hint).items()}
        return lambda value: record(**{name: restore(value[name]) for name, restore in restorers.items()})
    if get_origin(hint) is tuple:
        element = _restorer(get_args(hint)[0])
        return lambda value: tuple(map(element, value))
    if get_origin(hint) is np.ndarray:
        return lambda value: np.frombuffer(value, dtype="<f2")
    return _same


def _feature_bytes(value: NDArray[np.float16]) -> bytes:
    if value.dtype != np.float16 or value.ndim != 1:
        raise TypeError(f"expected a feature of one axis and float16, found {value.ndim} and {value.dtype}")
    return value.astype("<f2").tobytes()


def _same(value: _V) -> _V:
    return value
