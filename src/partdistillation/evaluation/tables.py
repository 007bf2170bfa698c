"""Score tables, from a long table of values: as Markdown, for a terminal, as CSV and as JSON.

The long table has a record a value: what it is of (`protocol`, `object_class`, `seed`, ...), the `score`'s
name, its `value`, and `low` and `high` where there is an interval. CSV has the records. What people read are
grids of text: `by` gathers the records of a row, `cell` those of a column. Several values, as of several
seeds, become their mean and standard deviation.
"""

import csv
import json
import math
import re
import statistics
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table as Printed
from rich.text import Text

from partdistillation.runs import terminal
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.console import PlainConsole, words
from partdistillation.runs.manifest import Json

Scalar = str | int | float | None
Record = Mapping[str, Scalar]
"""A value of the long table and what it is of; None or NaN where there is nothing."""
Form = Callable[[float], str]
"""How a number is written."""

_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Aside(str):
    """The label of a row that is there to compare with: in italics, or dim in a terminal."""

    __slots__ = ()


@dataclass(frozen=True)
class Grid:
    """Cells as text, under a header."""

    header: Sequence[str]
    sections: Mapping[str, Sequence[Sequence[str]]]
    """Rows by the title above them, which may be empty."""
    text_columns: Collection[int] = (0,)
    """The places of columns that are aligned left; numbers are aligned right."""
    label_width: int = 0
    """At least so wide is the first column in a terminal, so that tables line up."""

    def markdown(self) -> str:
        """A table a section."""
        rule = ["---" if place in self.text_columns else "---:" for place in range(len(self.header))]
        tables = []
        for title, rows in self.sections.items():
            table = "\n".join(map(_line, (self.header, rule, *rows)))
            tables.append(f"{title}\n\n{table}" if title else table)
        return "\n\n".join(tables)

    def printed(self) -> Iterator[Text | Printed]:
        """The same for a terminal; on a narrow one long texts are folded."""
        for place, (title, rows) in enumerate(self.sections.items()):
            if title:
                yield words(f"\n{title}" if place else title, "bold")
            yield self._printed(rows)

    def _printed(self, rows: Sequence[Sequence[str]]) -> Printed:
        table = Printed(box=SIMPLE_HEAD, show_edge=False, padding=0)
        for place, name in enumerate(self.header):
            table.add_column(
                words(name),
                justify="left" if place in self.text_columns else "right",
                overflow="fold",
                min_width=None if place else self.label_width,
            )
        for row in rows:
            aside = isinstance(row[0], Aside)
            label, *cells = (cell.replace(" ± ", "\n±") for cell in row)
            first = words(f"  {label}" if aside else label)
            table.add_row(first, *map(words, cells), style="dim" if aside else None)
        return table


@dataclass(frozen=True)
class ScoreTables:
    """What is written of some scores."""

    blocks: Sequence[str | Grid]
    """What people read: paragraphs and grids. A paragraph that begins with # is a title."""
    content: Json
    """What JSON holds; NaN becomes None."""
    records: Sequence[Record] = ()
    columns: Sequence[str] = ()
    """Of the CSV; without any there is none."""
    indent: int = 2

    def markdown(self) -> str:
        """The blocks, one below the other."""
        return (
            "\n\n".join(block if isinstance(block, str) else block.markdown() for block in self.blocks) + "\n"
        )

    def printed(self) -> Group:
        """The same for a terminal; what stands below the grids is dim."""
        printed: list[Text | Printed] = []
        note = ""
        for block in self.blocks:
            printed += [Text()] if printed else []
            if isinstance(block, Grid):
                printed += block.printed()
                note = "dim"
            else:
                title = block.startswith("#")
                printed.append(words(block.lstrip("# ") if title else block, "bold" if title else note))
        return Group(*printed)

    def csv(self) -> str:
        """The long table, a line a record: nothing for no value, `'` before what looks like a formula."""
        lines = _Lines()
        writer = csv.DictWriter(lines, self.columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in record.items()} for record in self.records)
        return "".join(lines)

    def json(self) -> str:
        """Everything, numbers as fractions."""
        text = json.dumps(plain(self.content), indent=self.indent, ensure_ascii=False, allow_nan=False)
        return f"{text}\n"

    def write(self, stem: Path) -> None:
        """Write `STEM.md`, `.json` and, where there are columns, `.csv`."""
        texts = {"md": self.markdown(), "json": self.json()} | ({"csv": self.csv()} if self.columns else {})
        make_folder(stem.parent)
        for suffix, text in texts.items():
            replace_file(stem.with_name(f"{stem.name}.{suffix}"), text.encode())

    def show(self) -> None:
        """Print the blocks: as Markdown, if not in a terminal."""
        console = PlainConsole()
        if console.is_terminal:
            console.print(self.printed())
        else:
            terminal.say(self.markdown(), end="")

    def save(self, stem: Path) -> None:
        """Write the files and print the blocks."""
        self.write(stem)
        self.show()


# ---------------------------------------------------------------------- from numbers to text


def decimals(digits: int) -> Form:
    """A number with so many digits, none of a negative zero; `-` for NaN."""
    return lambda value: "-" if math.isnan(value) else f"{value:z.{digits}f}"


def percent(value: float) -> str:
    """A fraction in percent: one digit, without the percent sign."""
    return decimals(1)(100 * value)


def fraction(value: float) -> float:
    """What a paper has in percent, as our own scores are in CSV and JSON."""
    return round(value / 100, 6)


# ---------------------------------------------------------------------- from records to cells


def by(records: Iterable[Record], *keys: str) -> dict[tuple[Scalar, ...], list[Record]]:
    """The records by what they have under `keys`, in the order of the first of each."""
    groups: dict[tuple[Scalar, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(record.get(key) for key in keys), []).append(record)
    return groups


def cell(records: Iterable[Record], form: Form = percent, *, interval: bool = False, **where: Scalar) -> str:
    """The value of the records that have all of `where`, as text; `-` where there is none.

    Several are written as their mean and standard deviation; a single one with its `interval`, if asked for.
    """
    chosen = [record for record in records if all(record.get(key) == value for key, value in where.items())]
    summary = spread([number(record, "value") for record in chosen])
    if summary is None:
        return "-"
    value, deviation = summary
    if deviation is not None:
        return f"{form(value)} ± {form(deviation)}"
    low, high = (number(chosen[0], edge) for edge in ("low", "high"))
    return f"{form(value)} [{form(low)}, {form(high)}]" if interval and low == low else form(value)


def spread(values: Sequence[float]) -> tuple[float, float | None] | None:
    """The mean, and of several values the standard deviation; None where one isn't defined."""
    if not values or any(map(math.isnan, values)):
        return None
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None


def number(record: Record, name: str) -> float:
    """What a record has under a name; NaN where there is nothing."""
    value = record.get(name)
    return math.nan if value is None else float(value)


# ---------------------------------------------------------------------- how they are written


def plain(value: object) -> Json:
    """Plain values for JSON; NaN becomes None, a tuple a list.

    Raises:
        TypeError: it is something else.
    """
    match value:
        case float():
            return None if math.isnan(value) else value
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case None | bool() | int() | str():
            return value
    raise TypeError(f"expected plain values, found {type(value).__name__}")


class _Lines(list[str]):
    """Lines of CSV, ended by line feeds; csv's own ends make it quote either half of them within a cell."""

    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")


def _cell(value: Scalar) -> Scalar:
    """A value for CSV: nothing for NaN; `'` before a text that spreadsheets would compute as a formula."""
    if isinstance(value, float) and math.isnan(value):
        return None
    formula = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if formula else value


def _line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "|" + "".join(f" {text} |" if text else " |" for text in map(_escaped, cells))


def _escaped(text: str) -> str:
    escaped = terminal.printable(" ".join(text.split())).replace("|", "\\|")
    return f"*{escaped}*" if isinstance(text, Aside) else escaped
