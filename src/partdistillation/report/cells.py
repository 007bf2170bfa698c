"""Tables as the page shows them: numbers as text, bars, the best of a column."""

import math
from dataclasses import dataclass

from partdistillation.report.data import Table

_Value = float | str | None


@dataclass(frozen=True)
class Cell:
    """A cell: its text, the bar's length in percent (None = none), the best or not."""

    text: str
    bar: float | None = None
    best: bool = False


@dataclass(frozen=True)
class TableView:
    """A table ready for the template: rows are (label, kind, cells)."""

    table: Table
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


def table_view(table: Table) -> TableView:
    """Lay a table out. Raises ValueError where a row hasn't one value a column."""
    for row in table.rows:
        if len(row.values) != len(table.columns):
            raise ValueError(
                f"expected {len(table.columns)} values in row {row.label!r} of table {table.title!r}, "
                f"found {len(row.values)}; use None for what wasn't measured"
            )
    columns = [_cells(values, table) for values in zip(*(row.values for row in table.rows), strict=True)]
    return TableView(
        table,
        tuple(
            (row.label, row.kind, tuple(column[i] for column in columns)) for i, row in enumerate(table.rows)
        ),
    )


def _cells(values: tuple[_Value, ...], table: Table) -> list[Cell]:
    """A column's cells. Bars are relative to the column's largest number; a single number is no best."""
    numbers = [_number(value) for value in values]
    known = [number for number in numbers if number is not None]
    ranked = table.better == "high" and len(known) > 1
    best = max(known, default=0.0)
    return [
        Cell(
            _text(value),
            round(100 * max(number, 0.0) / best, 1) if ranked and number is not None and best > 0 else None,
            ranked and number == best,
        )
        for value, number in zip(values, numbers, strict=True)
    ]


def _number(value: _Value) -> float | None:
    return None if value is None or isinstance(value, str) or not math.isfinite(value) else float(value)


def _text(value: _Value) -> str:
    if isinstance(value, str):
        return value
    number = _number(value)
    return "–" if number is None else f"{number:,.1f}"  # noqa: RUF001 (a dash for "none")


def duration(seconds: float) -> str:
    """Seconds as people say them: "42 s", "3 min 20 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
