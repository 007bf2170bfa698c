"""Writing the page: pictures into `images/`, tables as text and bars, then `index.html`."""

import base64
import hashlib
import math
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple

import jinja2
from markupsafe import Markup

from partdistillation.pictures import curves
from partdistillation.report.data import Picture, PictureRow, ReportData, Score, Table, Value
from partdistillation.runs.atomic import make_folder, remove_file, replace_file

_TEMPLATES = Path(__file__).parent / "templates"
_TOKENS = resources.files("partdistillation.review") / "static" / "tokens.css"
_IMAGES = "images"


class Placed(NamedTuple):
    """A picture file, as the page refers to it."""

    src: str
    width: int
    height: int


def build_report(data: ReportData, out_dir: Path) -> Path:
    """Write the report and return its `index.html`; it opens from disk, without a network.

    Its one script enlarges pictures; without it they are links to themselves. The same data gives the same
    bytes. Pictures of an earlier report in the folder are replaced.
    """
    pictures = _Pictures(out_dir / _IMAGES)
    style = "".join(file.read_text(encoding="utf-8") for file in (_TOKENS, _TEMPLATES / "style.css"))
    script = (_TEMPLATES / "zoom.js").read_text(encoding="utf-8")
    page = (
        _environment()
        .get_template("index.html.j2")
        .render(
            data=data,
            style=Markup(style),
            style_hash=_hash(style),
            script=Markup(script),
            script_hash=_hash(script),
            tables=[table_view(table) for table in data.tables],
            left_out=[table_view(table) for table in data.left_out],
            charts=[drawing for chart in data.charts if (drawing := curves.draw(chart))],
            canvas=curves,
            hero=data.hero and pictures.row(data.hero),
            rows=[(row, pictures.row(row)) for row in data.pictures],
            galleries=[
                (
                    gallery,
                    pictures.add(gallery.objects),
                    [(part, pictures.add(part.tiles)) for part in gallery.parts if part.tiles],
                )
                for gallery in data.galleries
            ],
        )
    )
    pictures.remove_others()
    replace_file(out_dir / "index.html", page.encode())
    return out_dir / "index.html"


def _hash(text: str) -> str:
    """What a Content Security Policy calls an inline style or script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


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
        self._names: dict[bytes, str] = {}
        make_folder(folder)

    def add(self, pictures: Iterable[Picture]) -> list[Placed]:
        """Write pictures; the same one is written once."""
        return [Placed(f"{_IMAGES}/{self._name(picture.webp)}", *picture[1:]) for picture in pictures]

    def row(self, row: PictureRow) -> list[tuple[str, Placed]]:
        """A row's pictures with their captions."""
        placed = self.add(panel.picture for panel in row.panels)
        return [(panel.caption, picture) for panel, picture in zip(row.panels, placed, strict=True)]

    def _name(self, webp: bytes) -> str:
        digest = hashlib.sha256(webp).digest()
        if digest not in self._names:
            name = f"{len(self._names):05d}.webp"
            replace_file(self._folder / name, webp)
            self._names[digest] = name
        return self._names[digest]

    def remove_others(self) -> None:
        """Remove what an earlier, longer report left."""
        names = set(self._names.values())
        for path in self._folder.glob("[0-9]*.webp"):
            if path.name not in names:
                remove_file(path)


# ---------------------------------------------------------------------- tables


Rank = Literal["best", "tie", ""]


class Cell(NamedTuple):
    """A cell: its text, the range below it, the bar's length in percent (None = none), and how it ranks."""

    text: str
    between: str = ""
    bar: float | None = None
    rank: Rank = ""


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


def _cells(values: tuple[Value, ...], table: Table) -> list[Cell]:
    """A column's cells. Bars are relative to the column's largest number; a single number is no best."""
    scores = [_score(value) for value in values]
    known = [score for score in scores if score is not None]
    ranked = table.better == "high" and len(known) > 1
    best = max(known, default=Score(0.0))  # by value
    return [
        Cell(
            _text(value),
            "" if score is None or math.isnan(score.low) else f"{score.low:.1f} to {score.high:.1f}",
            round(100 * max(score.value, 0.0) / best.value, 1)
            if ranked and score and best.value > 0
            else None,
            _rank(score, best, known) if ranked and score else "",
        )
        for value, score in zip(values, scores, strict=True)
    ]


def _rank(score: Score, best: Score, known: Sequence[Score]) -> Rank:
    """Whether a score is the best of its column or ties with it; a best that others tie with is a tie too."""
    if score.value < best.value:
        return "tie" if score.beside(best) == "tie" else ""
    rivals = (other for other in known if other is not score)
    return "tie" if any(rival.beside(best) == "tie" for rival in rivals) else "best"


def _score(value: Value) -> Score | None:
    """A number that was measured; those that come without an interval have none."""
    score = value if isinstance(value, Score) else Score(value) if isinstance(value, int | float) else None
    return score if score and math.isfinite(score.value) else None


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value
    score = _score(value)
    return "–" if score is None else f"{score.value:,.1f}"  # noqa: RUF001 (a dash for "none")


def duration(seconds: float) -> str:
    """Seconds as people say them: "42 s", "3 min 20 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
