"""The report's page: what it holds, that it is safe and whole, and the numbers in it."""

import base64
import hashlib
import html
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partdistillation.pictures.colors import PALETTE
from partdistillation.pictures.curves import Chart, Curve
from partdistillation.report.build import build_report, duration, table_view
from partdistillation.report.data import (
    ClassGallery,
    Headline,
    Key,
    PartGallery,
    Picture,
    Pixels,
    ReportData,
    Score,
    StageSummary,
    Step,
    Table,
    TableRow,
)
from partdistillation.report.examples import picture_row

HOSTILE = """<script>alert("1")</script> & '"><img src=x onerror=alert(1)> </style> {{ 7 * 7 }}"""
VOID = {"meta", "img", "br", "link", "input", "hr"}


def scene(seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def full(name: str = "car") -> ReportData:
    """A report with one of everything, where every text holds `name`."""
    labels = np.zeros((48, 64), dtype=int)
    labels[10:30, 10:40] = 1
    labels[10:20, 10:20] = 2
    tiles = tuple(Picture.of(scene(seed)) for seed in range(1, 4))
    row = picture_row(name, scene(), {"objects": labels, name: labels}, (Key(name, (0, 114, 178)),))
    wave = tuple((float(x), 3.0 + np.sin(x / 9)) for x in range(0, 400, 4))
    return ReportData(
        title=f"{name} run",
        finding=f"8 kinds of {name}",
        hero=row._replace(panels=row.panels[::2]),
        summary=f"About {name}.",
        facts=(("Images", f"12 of {name}"),),
        headlines=(Headline(f"{name} mIoU", "41.2", f"of {name}", f"a tie with {name}"),),
        stages=(StageSummary(f"{name} objects", f"12 {name}", 75.0), StageSummary("Segments", "48", 0.0)),
        tables=(
            Table(
                f"{name} results",
                ("AR@1", name),
                (
                    TableRow(name, (10.0, 24.94)),
                    TableRow("RGB + xy", (8.0, None), "control"),
                    TableRow("Words", (float("nan"), name), "baseline"),
                ),
                label=name,
                note=name,
                better="high",
            ),
        ),
        charts=(Chart(name, (Curve(name, wave), Curve("short", wave[:3]))), Chart("none", (Curve("x", ()),))),
        left_out=(Table(f"{name} left out", ("why",), (TableRow(name, (name,)),)),),
        pictures=(row,),
        galleries=(
            ClassGallery(name, (PartGallery(Key(name, (0, 114, 178)), tiles, note=name),), tiles[:1]),
            ClassGallery("empty", ()),
        ),
        galleries_note=f"{name} by lot",
        steps=(Step(f"Use {name}", f"partdistill review {name}", name),),
        config=f"name: {name}\n",
    )


class Page(HTMLParser):
    """Reads a page and insists on balanced tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def every(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_report(full(), tmp_path_factory.mktemp("report"))


def test_page_is_whole(built: Path) -> None:
    page = Page(built.read_text(encoding="utf-8"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    anchors = [link["href"] for link in page.every("a") if link.get("class") != "zoom"]
    assert {anchor.removeprefix("#") for anchor in anchors} <= set(ids)
    labels = {attributes.get("aria-labelledby", ids[0]) for _, attributes in page.tags}
    assert labels <= set(ids)
    headings = [tag for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1


def test_pictures_are_on_disk_and_described(built: Path) -> None:
    page = Page(built.read_text(encoding="utf-8"))
    images = page.every("img")
    assert len(images) == 2 + 3 + 1 + 3
    assert [image["src"] for image in images] == [
        link["href"] for link in page.every("a") if link.get("class") == "zoom"
    ]
    for place, image in enumerate(images):
        with Image.open(built.parent / image["src"]) as picture:
            assert picture.size == (int(image["width"]), int(image["height"]))
        assert image["alt"]
        assert image.get("loading") == (None if place < 2 else "lazy")  # those of the first screen are not
    assert len(list((built.parent / "images").iterdir())) == 2 + 3  # the same picture is written once


def test_page_needs_no_network_and_allows_no_script_of_others(built: Path) -> None:
    text = built.read_text(encoding="utf-8")
    page = Page(text)
    assert "://" not in text
    assert page.every("script") == [{}]
    assert not page.every("link")
    assert not [
        tag for tag, attributes in page.tags if any(key == "style" or key[:2] == "on" for key in attributes)
    ]
    policy = next(meta["content"] for meta in page.every("meta") if "Policy" in meta.get("http-equiv", ""))
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in policy


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    text = build_report(full(HOSTILE), tmp_path).read_text(encoding="utf-8")
    page = Page(text)
    assert page.every("script") == [{}]
    assert len(page.every("img")) == 9
    assert not [tag for tag, attributes in page.tags if any(key[:2] == "on" for key in attributes)]
    assert html.escape(HOSTILE, quote=False).split(" &amp;")[0].split('"')[0] in text
    assert "{{ 7 * 7 }}" in text
    assert text.count("</style>") == 1
    assert all(re.fullmatch(r"\d{5}\.webp", path.name) for path in (tmp_path / "images").iterdir())


def test_same_data_same_bytes_and_old_pictures_go(tmp_path: Path) -> None:
    build_report(full(), tmp_path / "a")
    extra = tmp_path / "b" / "images" / "00099.webp"
    extra.parent.mkdir(parents=True)
    extra.write_bytes(b"old")
    mine = extra.with_name("holiday.webp")
    mine.write_bytes(b"not ours")
    build_report(full(), tmp_path / "b")
    assert not extra.exists()
    assert mine.exists()
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_empty_sections_are_left_out(tmp_path: Path) -> None:
    text = build_report(ReportData("Nothing"), tmp_path).read_text(encoding="utf-8")
    page = Page(text)
    assert not page.every("section")
    assert [link["href"] for link in page.every("a")] == ["#content"]
    assert not page.every("figure")
    assert "<header>" in text
    assert "<title>Nothing</title>" in text


def test_values_are_in_the_page(built: Path) -> None:
    text = built.read_text(encoding="utf-8")
    assert "<td>24.9</td>" in text  # the only number of its column is no best
    assert "1 min 15 s" in text
    assert 'alt="car, car"' in text
    assert "<em>a tie with car</em>" in text
    assert "<code>partdistill review car</code>" in text
    assert "<h1>8 kinds of car</h1>" in text
    assert "No parts were found for this class." in text
    assert text.count("<figcaption><h4>") == 1  # a chart without points isn't drawn


def test_table_marks_the_best_and_draws_bars() -> None:
    rows = (TableRow("a", (1.0, 4.0)), TableRow("b", (2.0, None)), TableRow("c", (2.0, "-")))
    high = table_view(Table("t", ("x", "y"), rows, better="high")).rows
    assert [[cell.rank for cell in cells] for _, _, cells in high] == [["", ""], ["best", ""], ["best", ""]]
    assert [cells[0].bar for _, _, cells in high] == [50.0, 100.0, 100.0]
    assert [cells[0].text for _, _, cells in high] == ["1.0", "2.0", "2.0"]
    assert [cells[1].bar for _, _, cells in high] == [None, None, None]  # one number is no comparison
    plain = table_view(Table("t", ("x", "y"), rows)).rows
    assert not any(cell.rank or cell.bar is not None for _, _, cells in plain for cell in cells)


def test_what_the_intervals_do_not_tell_apart_is_a_tie() -> None:
    values = (Score(30.0, 28.0, 32.0), Score(33.0, 31.0, 35.0), Score(20.0, 18.0, 22.0), Score(29.0), None)
    rows = tuple(TableRow(str(value), (value,)) for value in values)
    cells = [cells[0] for _, _, cells in table_view(Table("t", ("x",), rows, better="high")).rows]
    assert [cell.rank for cell in cells] == ["tie", "tie", "", "", ""]
    assert [cell.between for cell in cells] == ["28.0 to 32.0", "31.0 to 35.0", "18.0 to 22.0", "", ""]
    alone = [cells[0] for _, _, cells in table_view(Table("t", ("x",), rows[1:], better="high")).rows]
    assert [cell.rank for cell in alone] == ["best", "", "", ""]


def test_scores_beside_each_other() -> None:
    ours = Score(33.0, 31.0, 35.0)
    assert ours.beside(Score(30.0, 28.0, 30.9)) == "above"
    assert ours.beside(Score(30.0, 28.0, 31.0)) == "tie"
    assert ours.beside(Score(30.0, 28.0, 30.9), margin=5.0) == "tie"
    assert ours.beside(Score(30.0, 28.0, 29.0), margin=8.0) == "below"
    assert ours.beside(Score(40.0, 35.1, 45.0)) == "below"
    assert ours.beside(Score(40.0)) == Score(40.0).beside(ours) == ""


def test_table_rows_must_have_a_value_a_column() -> None:
    with pytest.raises(ValueError, match="expected 2 values in row 'a' of table 't', found 1"):
        table_view(Table("t", ("x", "y"), (TableRow("a", (1.0,)),)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (42.4, "42 s"),
        (59.7, "1 min 00 s"),
        (200.0, "3 min 20 s"),
        (7500.0, "2 h 05 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_rows_show_the_layers() -> None:
    row = picture_row("a", np.zeros((1200, 600, 3), np.uint8), {"parts": np.ones((1200, 600), dtype=int)})
    assert [panel.caption for panel in row.panels] == ["image", "parts"]
    picture = row.panels[1].picture
    assert (picture.height, picture.width) == (800, 400)
    pixels = np.asarray(Image.open(io.BytesIO(picture.webp)))
    assert np.abs(pixels - 0.6 * PALETTE[0]).max() < 5
