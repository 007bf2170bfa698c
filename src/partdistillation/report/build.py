"""Writing the page: pictures into `images/`, tables as text and bars, then `index.html`."""

import base64
import hashlib
import io
import math
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup
from PIL import Image

from partdistillation.pictures import curves
from partdistillation.pictures.sizes import contact_sheet, fit_square
from partdistillation.report.data import PartGallery, ReportData, Table
from partdistillation.runs.atomic import make_folder, remove_file, replace_file

_TEMPLATES = Path(__file__).parent / "templates"
_IMAGES = "images"

_Value = float | str | None


class Picture(NamedTuple):
    """A picture file, as the page refers to it."""

    src: str
    width: int
    height: int


def build_report(data: ReportData, out_dir: Path) -> Path:
    """Write the report and return its `index.html`; it opens from disk, without a network or a script.

    The same data gives the same bytes. Pictures of an earlier report in the folder are replaced.
    """
    pictures = _Pictures(out_dir / _IMAGES)
    rows = [
        (row.title, [(panel.caption, pictures.add(Image.fromarray(panel.pixels))) for panel in row.panels])
        for row in data.pictures
    ]
    galleries = [
        (gallery, [(part, pictures.add(_sheet(part))) for part in gallery.parts if part.tiles])
        for gallery in data.galleries
    ]
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    page = (
        _environment()
        .get_template("index.html.j2")
        .render(
            data=data,
            style=Markup(style),
            style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            tables=[table_view(table) for table in data.tables],
            charts=[drawing for chart in data.charts if (drawing := curves.draw(chart))],
            canvas=curves,
            rows=rows,
            galleries=galleries,
        )
    )
    pictures.remove_others()
    replace_file(out_dir / "index.html", page.encode())
    return out_dir / "index.html"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    return environment


class _Pictures:
    """The files in a report's folder of pictures: numbered, never named after anything in the data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: set[str] = set()
        make_folder(folder)

    def add(self, image: Image.Image) -> Picture:
        """Write a picture as WebP."""
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=84, method=4)
        name = f"{len(self._written):05d}.webp"
        replace_file(self._folder / name, buffer.getvalue())
        self._written.add(name)
        return Picture(f"{_IMAGES}/{name}", image.width, image.height)

    def remove_others(self) -> None:
        """Remove what an earlier, longer report left."""
        for path in self._folder.glob("[0-9]*.webp"):
            if path.name not in self._written:
                remove_file(path)


def _sheet(part: PartGallery) -> Image.Image:
    """A part's tiles in a square, with transparent gaps: the page may be light or dark."""
    side = max(max(tile.shape[:2]) for tile in part.tiles)
    squares = [fit_square(tile, side, background=None) for tile in part.tiles]
    return contact_sheet(squares, columns=3, gap=3, background=None)


# ---------------------------------------------------------------------- tables


class Cell(NamedTuple):
    """A cell: its text, the bar's length in percent (None = none), the best or not."""

    text: str
    bar: float | None = None
    best: bool = False


class TableView(NamedTuple):
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
    rows = ((row.label, row.kind, tuple(column[i] for column in columns)) for i, row in enumerate(table.rows))
    return TableView(table, tuple(rows))


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
