"""Names of all scripts are drawn from fonts that have their letters; what no font has is a number, no box."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import get_data_path
from matplotlib.font_manager import FontEntry, fontManager
from PIL import Image, ImageDraw, ImageFont, features

from partdistillation.pictures import fonts
from partdistillation.pictures.curves import Curve
from partdistillation.pictures.fonts import families, lettering
from partdistillation.pictures.plots import plot
from partdistillation.pictures.text import CaptionFont, plain_text

DEJAVU = f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf"
ALWAYS = (
    "naïve café ß Ångström Œuvre",
    "Škoda ťažný řetěz łódź žluť",
    "xe máy Việt Nam",
    "otomobil ağaç şeker",
    "автомобиль їжак ђ",
    "Ελληνικά αυτοκίνητο ᾠδή",
    "سيارة عجلة",
    "خودرو چرخ گ پ",
    "רכב גלגל",
    "ავტომობილი",
    "ավտոմեքենա",
    "→ ÷ ½ € № ☺",
)
WITH_PACKAGES = {
    "汽车 轮子": "NotoSansCJK-Regular.ttc",
    "自動車 くるま ホイール": "NotoSansCJK-Regular.ttc",
    "자동차 바퀴": "NotoSansCJK-Regular.ttc",
    "मोटर गाड़ी क्षत्रिय": "NotoSansDevanagari[wght].ttf",
    "গাড়ি": "NotoSansBengali[wght].ttf",
    "வாகனம்": "NotoSansTamil[wght].ttf",
    "รถยนต์ ล้อ": "NotoSansThai[wght].ttf",
    "ශ්\u200dරී": "NotoSansSinhala[wght].ttf",
    "መኪና": "NotoSansEthiopic[wght].ttf",
    "👩\u200d👩\u200d👧 👍🏽 🚗": "NotoEmoji[wght].ttf",
}
UNKNOWN = "\U000f1234"
"""A letter for private use, which fonts seldom have."""


@pytest.fixture
def forgetful() -> Iterator[None]:
    """What is known of fonts is looked up anew, before and afterwards."""
    caches = (fonts._font_of, fonts._packaged, fonts._letters_of, fonts._system, fonts._suggest_fonts)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def dejavu_alone(forgetful: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without further fonts."""
    monkeypatch.setattr(fonts, "PACKAGES", ())
    monkeypatch.setattr(fonts, "_system", tuple)


def drawn(text: str, size: int = 48) -> np.ndarray:
    picture = Image.new("L", (round(CaptionFont(size).width(text)) + 40, 3 * size))
    CaptionFont(size).write(ImageDraw.Draw(picture), (20, 1.5 * size), text, "white")
    return np.asarray(picture)


def judged(text: str, file: str, size: int = 48) -> np.ndarray:
    """The text in Pillow's layout, tight."""
    face = ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.RAQM)
    picture = Image.new("L", (round(face.getlength(text)) + 40, 3 * size))
    ImageDraw.Draw(picture).text((20, size / 2), text, fill=255, font=face)
    return tight(np.asarray(picture))


def tight(picture: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero(picture.max(axis=axis) > 60) for axis in (1, 0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Of two pictures, brought to one size: the correlation of their grey values."""
    size = first.shape[1], first.shape[0]
    second = np.asarray(Image.fromarray(second).resize(size, Image.Resampling.BILINEAR))
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


@pytest.mark.parametrize("text", ALWAYS)
def test_what_dejavu_has_is_drawn_from_it_on_every_machine(text: str) -> None:
    assert lettering(text) == (text, (DEJAVU,))


@pytest.mark.skipif(not features.check("raqm"), reason="Pillow without raqm can't judge")
@pytest.mark.parametrize("text", ALWAYS)
def test_letters_are_joined_and_ordered_as_pillow_does(text: str) -> None:
    picture = tight(drawn(text))
    assert likeness(picture, judged(text, DEJAVU)) > 0.8
    if text.startswith(("س", "خ", "ר")):
        assert likeness(picture, judged(text, DEJAVU)[:, ::-1]) < 0.4, "not turned around"


@pytest.mark.parametrize("text", [*ALWAYS, *WITH_PACKAGES])
def test_no_letter_is_a_box(text: str) -> None:
    """Each letter's picture is another than that of the font's box for what it lacks."""
    if text in WITH_PACKAGES:
        pytest.importorskip("manimgx_fonts")
        pytest.importorskip("noto_cjk_sans_otc")
    letters = set(text) - fonts._UNSEEN - {" "}
    assert letters
    for letter in letters:
        text, files = lettering(letter)
        assert text == letter
        face = ImageFont.truetype(files[-1], 20)
        assert bytes(face.getmask(letter)) != bytes(face.getmask(UNKNOWN))


@pytest.mark.parametrize(("text", "file"), WITH_PACKAGES.items())
def test_packages_have_the_letters_of_most_scripts(text: str, file: str) -> None:
    pytest.importorskip("manimgx_fonts")
    pytest.importorskip("noto_cjk_sans_otc")
    drawable = lettering(plain_text(text))
    assert drawable.text == plain_text(text)
    assert [Path(path).name for path in drawable.fonts] == ["DejaVuSans.ttf", file]
    letters = text.replace(" ", "")
    assert likeness(tight(drawn(letters)), judged(letters, drawable.fonts[1])) > 0.75


def test_what_no_font_has_is_written_as_its_number(dejavu_alone: None) -> None:
    assert lettering("車輪 of 車s").text == "U+8ECA U+8F2A of U+8ECA s"
    assert lettering(UNKNOWN).text == "U+F1234"
    assert lettering("a\u0301\u0951b").text == "ab", "an accent that no font has beside its letter"
    assert lettering("\u0951").text == "U+0951"
    assert (drawn("車") == drawn("U+8ECA")).all()


def test_how_to_get_fonts_is_said_once(dejavu_alone: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert lettering("car").text == "car"
    assert not caplog.records
    for text in ("車", "輪", UNKNOWN):
        lettering(text)
    (record,) = caplog.records
    assert "pip install '.[fonts]'" in record.getMessage()


def test_a_package_is_asked_after_dejavu_and_before_the_system(
    forgetful: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_fonts"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('only its files are wanted')")
    write_font(package / "Own-Regular.ttf", {ord(UNKNOWN), ord("a")})
    write_font(package / "Own-Italic.ttf", {ord(UNKNOWN) + 1})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(fonts, "PACKAGES", ("no_such_package", "some_fonts"))
    monkeypatch.setattr(fonts, "_system", tuple)
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    own = str(package / "Own-Regular.ttf")
    assert lettering(f"a{UNKNOWN}a") == (f"a{UNKNOWN}a", (DEJAVU, own))
    assert lettering(chr(ord(UNKNOWN) + 1)).text == "U+F1235"
    assert families(f"a{UNKNOWN}") == ["DejaVu Sans", "Own"]
    assert (tight(drawn(UNKNOWN))[1:-1, 1:-1] == 255).all(), "the font's letters are filled squares"
    curve = plot([Curve(UNKNOWN, ((0.0, 1.0),))], x="images", y="AR")  # a warning is an error
    assert curve == plot([Curve(UNKNOWN, ((0.0, 1.0),))], x="images", y="AR")


def test_fonts_of_the_system_come_last(
    forgetful: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("bold", "plain", "gone", "damaged")
    paths = {name: tmp_path / f"{name}.ttf" for name in names}
    for name in ("bold", "plain"):
        write_font(paths[name], {ord(UNKNOWN)})
    paths["damaged"].write_bytes(b"no font")
    entries = [
        FontEntry(str(path), name="Own Sans", weight=700 if name == "bold" else 400)
        for name, path in paths.items()
    ]
    entries.append(FontEntry(str(paths["plain"]), name="Last Resort", weight=400))
    monkeypatch.setattr(fontManager, "ttflist", entries)
    monkeypatch.setattr(fonts, "PACKAGES", ())
    assert [Path(path).stem for path in fonts._system()] == ["damaged", "gone", "plain", "bold"]
    assert lettering(UNKNOWN).fonts == (DEJAVU, str(paths["plain"]))


def write_font(path: Path, letters: set[int]) -> None:
    """A font whose letters are filled squares."""
    pen = TTGlyphPen(None)
    pen.moveTo((50, 0))
    for corner in ((50, 700), (750, 700), (750, 0)):
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap(dict.fromkeys(letters, "square"))
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (800, 0), "square": (800, 50)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Own", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWeightClass=400)
    builder.setupPost()
    builder.save(path)
