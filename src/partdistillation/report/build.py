"""Writing the page: pictures into `images/`, then `index.html`."""

import base64
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup
from PIL import Image

from partdistillation.pictures import curves
from partdistillation.pictures.sheets import contact_sheet, fit_square
from partdistillation.report.cells import duration, table_view
from partdistillation.report.data import PartGallery, ReportData
from partdistillation.runs.atomic import make_folder, remove_file, replace_file

_TEMPLATES = Path(__file__).parent / "templates"
_IMAGES = "images"


@dataclass(frozen=True)
class Picture:
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
