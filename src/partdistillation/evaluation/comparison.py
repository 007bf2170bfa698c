"""Several ways to parts on the same images, a row each: for a terminal, as Markdown, as CSV and as JSON.

Under a way stand the rows that a paper has for it; `compared_runs` has the means of several comparisons.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from rich.console import Console
from rich.table import Table as Printed
from rich.text import Text

from partdistillation.evaluation.scores import Evaluation, Json
from partdistillation.evaluation.tables import Provenance, percent, values
from partdistillation.runs.atomic import replace_file

COLUMNS: Mapping[str, str] = {
    "AR@1": "AR@1",
    "AR@10": "@10",
    "AR@200": "@200",
    "ap50": "AP50",
    "c_miou": "C-mIoU",
    "a_miou": "A-mIoU",
    "nmi_foreground": "NMI",
    "ari_foreground": "ARI",
}
"""What is printed, NMI and ARI of true parts' pixels; CSV and JSON have all scores."""
_LABEL_WIDTH = 27


class Published(NamedTuple):
    """What a paper has for a way to parts."""

    label: str
    """Whose numbers they are, and on which data."""
    source: str
    """The table that they are printed in."""
    scores: Mapping[str, float]
    """In percent, as printed there, by the names of `COLUMNS`; `nmi` and `ari` if the pixels aren't said."""


class Compared(NamedTuple):
    """A way to parts, under every protocol."""

    name: str
    evaluations: Sequence[Evaluation]
    published: Sequence[Published] = ()


class Line(NamedTuple):
    """A row as it is printed."""

    label: str
    cells: Sequence[str]
    published: bool = False


class Section(NamedTuple):
    """A table under a title."""

    title: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Comparison:
    """The rows, and what all of them were made from and compared with."""

    rows: Sequence[Compared]
    provenance: Provenance

    def markdown(self) -> str:
        """A table in percent for each protocol."""
        return as_markdown(self._sections(), [*notes(self.rows, "In percent"), str(self.provenance)])

    def printed(self) -> Printed:
        """The same for a terminal of 80 columns."""
        return as_printed(self._sections(), [*notes(self.rows, "In percent"), str(self.provenance)])

    def csv(self) -> str:
        """A line a way, protocol and score, and a line a published score; fractions."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        hashed = hashes(self.provenance)
        header = ("name", "protocol", "images", "score", "value", "low", "high", "published", "source")
        writer.writerow((*header, *hashed))
        for row in self.rows:
            for one in row.evaluations:
                for score, value in values(one).items():
                    numbers = (value, *one.intervals.get(score, ("", "")))
                    shown = ("" if number != number else number for number in numbers)
                    line = (row.name, one.protocol, one.images, score, *shown, "", "", *hashed.values())
                    writer.writerow(line)
            for paper in row.published:
                for score, value in fractions(paper).items():
                    writer.writerow((row.name, "", "", score, value, "", "", paper.label, paper.source))
        return file.getvalue()

    def json(self) -> str:
        """Everything, as fractions."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_dict(self) -> dict[str, Json]:
        """Plain values for JSON."""
        rows: list[Json] = [
            {
                "name": row.name,
                "protocols": [one.to_dict() for one in row.evaluations],
                "published": [
                    {"label": one.label, "source": one.source, "scores": {**fractions(one)}}
                    for one in row.published
                ],
            }
            for row in self.rows
        ]
        return {"provenance": self.provenance.to_dict(), "rows": rows}

    def _sections(self) -> list[Section]:
        return [
            Section(
                f"Protocol {first.protocol}, {first.images} images",
                list(with_published(self.rows, (_cells(row.evaluations[place]) for row in self.rows))),
            )
            for place, first in enumerate(self.rows[0].evaluations)
        ]


@runtime_checkable
class Tables(Protocol):
    """What `save` writes."""

    def markdown(self) -> str: ...

    def printed(self) -> Printed: ...

    def csv(self) -> str: ...

    def json(self) -> str: ...


def save(found: Tables, stem: Path) -> None:
    """Write `STEM.md`, `.csv` and `.json`, and print the table: as Markdown, if not in a terminal."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix, text in (("md", found.markdown()), ("csv", found.csv()), ("json", found.json())):
        replace_file(stem.with_name(f"{stem.name}.{suffix}"), text.encode())
    console = Console()
    if console.is_terminal:
        console.print(found.printed())
    else:
        print(found.markdown(), end="")


# ---------------------------------------------------------------------- what several tables share


def with_published(rows: Iterable[Compared], cells: Iterable[Sequence[str]]) -> Iterator[Line]:
    """Each way's line, and below it those that a paper has for it."""
    for row, own in zip(rows, cells, strict=True):
        yield Line(row.name, own)
        for paper in row.published:
            yield Line(paper.label, _published_cells(paper.scores), published=True)


def notes(rows: Sequence[Compared], numbers: str) -> list[str]:
    """What the numbers are, and where the published rows stand, if there are any."""
    note = f"{numbers}; NMI and ARI of true parts' pixels (CSV and JSON have them with the background too)."
    if any("clustered" in row.name for row in rows):
        note += (
            " Clustered: part classes are found anew, on these images; otherwise they are the model's own."
        )
    published = [one for row in rows for one in row.published]
    if not published:
        return [note]
    sources = "; ".join(dict.fromkeys(one.source for one in published))
    theirs = f"Published rows: {sources}. Their networks and data are others: compare the order, not values."
    if any(not set(one.scores) <= set(COLUMNS) for one in published):
        theirs += " They don't say whether the background counts in their NMI and ARI."
    return [note, theirs]


def fractions(one: Published) -> dict[str, float]:
    """Published scores as ours are in CSV and JSON."""
    return {score: round(value / 100, 6) for score, value in one.scores.items()}


def hashes(one: Provenance) -> dict[str, str]:
    """Columns of a CSV that say what a number was made from."""
    return {f"sha256 of {name}": value for name, value in one.hashes().items()}


def as_markdown(sections: Iterable[Section], below: Sequence[str]) -> str:
    """A table a section, and paragraphs below them."""
    tables = []
    for section in sections:
        lines = [section.title, "", f"| | {' | '.join(COLUMNS.values())} |"]
        lines.append("|---" + "|---:" * len(COLUMNS) + "|")
        for one in section.lines:
            label = f"*{_one_line(one.label)}*" if one.published else _one_line(one.label)
            lines.append(f"| {label} | {' | '.join(one.cells)} |")
        tables.append("\n".join(lines))
    return "\n\n".join([*tables, *below]) + "\n"


def as_printed(sections: Iterable[Section], below: Sequence[str]) -> Printed:
    """All sections as one table, so that they line up."""
    table = Printed(
        box=None, padding=(0, 0, 0, 1), caption=Text("\n".join(below), style="dim"), caption_justify="left"
    )
    table.add_column(min_width=_LABEL_WIDTH)
    for title in COLUMNS.values():
        table.add_column(title, justify="right", no_wrap=True)
    for section in sections:
        table.add_row(Text(section.title, style="bold"))
        for one in section.lines:
            label = Text(f"  {one.label}" if one.published else one.label)
            table.add_row(label, *one.cells, style="dim" if one.published else None)
    return table


def _one_line(name: str) -> str:
    """A name as a cell of a Markdown table."""
    return " ".join(name.split()).replace("|", "\\|")


def _cells(one: Evaluation) -> list[str]:
    found = values(one)
    return [percent(found[name]) for name in COLUMNS]


def _published_cells(scores: Mapping[str, float]) -> list[str]:
    """NMI and ARI of unsaid pixels are shown where ours are."""
    shown = (scores.get(name, scores.get(name.removesuffix("_foreground"))) for name in COLUMNS)
    return ["-" if value is None else f"{value:.1f}" for value in shown]
