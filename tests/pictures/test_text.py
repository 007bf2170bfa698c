"""Text in pictures fits, is printable, and stays on its line, whatever a name holds."""

import itertools
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from partdistillation.pictures.colors import PALETTE
from partdistillation.pictures.curves import Curve
from partdistillation.pictures.legends import LegendRow, with_legend
from partdistillation.pictures.pages import Page, page_bytes
from partdistillation.pictures.plots import panels_plot
from partdistillation.pictures.text import (
    CaptionFont,
    caption_font,
    fitted,
    name_tags,
    note_picture,
    plain_text,
)

HOSTILE = (
    "",
    " ",
    "x" * 5000,
    "車" * 500,
    "line\nbreak\r\n\tand\x0btabs",
    "para\u2029graph\u2028s\x85",
    "\x00NUL\x00",
    "\x1b[31mred\x1b[0m",
    "\ud83d half \udc80",
    "\u202eevil\u202c",
    "\u2066isolate\u2067never closed",
    "zero\u200bwidth\ufeff\u2060\u00ad",
    "\u200d" * 300,
    "a\u200d" * 300,
    "e" + "\u0301\u0323" * 400,
    "\u0301" * 50,
    "ก" + "\u0e49\u0e34" * 100,
    "👩\u200d👩\u200d👧\u200d👦 👩🏽\u200d🚀 🏴\U000e0067\U000e0062\U000e007f 🇩🇪🇩",
    "car سيارة 車 रथ 🚗 רכב авто",
    "سيارة 0.93 (wheel) عجلة",
    "ﷺ﷽꧅𒐫",
    "\ue000\U0010ffff\U000e0fff\ufffe\ufffd",
    "$x^{\\frac{ $ _hidden \\n",
    "\uff46\uff55\uff4c\uff4c ﬁ ﬀ \u3164\u115f\u2800",
    "अ\u094d\u0301\u200dका\u0308b\u094d",
)


def test_texts_are_shortened_to_fit() -> None:
    font = caption_font(14)
    assert fitted("car", font, 200) == "car"
    short = fitted("a very long name of an object class", font, 100)
    assert short.endswith("…")
    assert font.width(short) <= 100 < font.width(f"{short[:-1]}mm…")
    assert fitted("x" * 10**6, font, 100).count("x") > 5
    assert fitted("line\nbreak\x00\u202e", font, 200) == "line break"
    assert fitted("", font, 100) == ""


def test_plain_text_keeps_what_letters_need() -> None:
    assert plain_text("e\u0301") == "é"
    assert plain_text("می\u200cخو") == "می\u200cخو"
    assert plain_text("a" + "\u0316" * 99 + "b") == "a" + "\u0316" * 8 + "b"
    assert plain_text("a\u00a0\u3000b\u2029c\ud800") == "a b c"


def test_hostile_names_are_many() -> None:
    assert len(set(HOSTILE)) == 25


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_stays_in_its_place(name: str) -> None:
    font = CaptionFont(16)
    short = fitted(name, font, 200)
    assert font.width(short) <= 200
    picture = Image.new("L", (300, 100))
    font.write(ImageDraw.Draw(picture), (50, 50), short, "white")
    ink = np.argwhere(np.asarray(picture) > 60)
    if len(ink):
        (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
        assert 50 - 16 <= top <= bottom <= 50 + 16
        assert 50 - 3 <= left <= right <= 50 + font.width(short) + 3
    assert len(ink) or not set(short) - set(" …\u200d\u3164\u115f\u2800")


def test_hostile_names_in_every_picture() -> None:
    """Warnings, of letters that aren't there, are errors."""
    rows = [LegendRow(name, ((name, PALETTE[0]),)) for name in HOSTILE]
    tagged = name_tags(GREY, [(name, 10.0 * i, 10.0 * i) for i, name in enumerate(HOSTILE)])
    assert with_legend(tagged, rows).width == 720
    panel = GREY[:60, :90]
    assert page_bytes(Page(HOSTILE[:3], ((panel,) * 3,), tuple(rows)), ".png")
    assert panels_plot({"AR": [Curve(name, ((1.0, 2.0),)) for name in HOSTILE]}, x="images")


@pytest.mark.parametrize("anchor", ["left", "middle", "right"])
def test_a_line_stands_where_it_is_wanted(anchor: Any) -> None:
    font = CaptionFont(40)
    for text in ("HIT", "HÏT", "Hgجgت"):
        picture = Image.new("L", (600, 120))
        font.write(ImageDraw.Draw(picture), (300, 60), text, "white", anchor)
        ink = np.asarray(picture) > 60
        columns = np.flatnonzero(ink.any(axis=0))
        start = {"left": 300, "middle": 300 - font.width(text) / 2, "right": 300 - font.width(text)}[anchor]
        assert columns[0] - start == pytest.approx(4, abs=2), "a letter's own margin"
        assert columns[-1] <= start + font.width(text)
        letter = np.flatnonzero(ink[:, columns[0] : columns[0] + 4].all(axis=1))
        assert (letter[0] + letter[-1]) / 2 == pytest.approx(60, abs=1.5), "capitals are around the middle"


def test_a_note_is_written_on_grey() -> None:
    picture = note_picture("image is gone", 120, 80)
    assert picture.shape == (80, 120, 3)
    assert (picture[:10] == (0xC9, 0xCD, 0xD3)).all()
    assert (picture.max(axis=2) < 100).any()


Box = tuple[float, float, float, float]


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> list[Box]:
    """The boxes that tags are drawn in."""
    drawn: list[Box] = []
    draw = ImageDraw.ImageDraw.rounded_rectangle

    def record(self: ImageDraw.ImageDraw, xy: Box, *arguments: Any, **named: Any) -> None:
        drawn.append(xy)
        draw(self, xy, *arguments, **named)

    monkeypatch.setattr(ImageDraw.ImageDraw, "rounded_rectangle", record)
    return drawn


GREY = np.full((480, 720, 3), 130, np.uint8)


def test_tags_do_not_cover_each_other(boxes: list[Box]) -> None:
    tags = [(f"car {number}", 100.0 + number, 200.0) for number in range(9)]
    name_tags(GREY, [*tags, ("bus", 600.0, 400.0), ("a long name " * 99, 0.0, 0.0)])
    assert len(boxes) == 11
    assert boxes[0][:2] == (100, 200 - 2 - (boxes[0][3] - boxes[0][1])), "the first stands where it belongs"
    assert boxes[9][0] == 600
    for (a0, b0, a1, b1), (c0, d0, c1, d1) in itertools.combinations(boxes, 2):
        assert a1 <= c0 or c1 <= a0 or b1 <= d0 or d1 <= b0
    assert all(x0 >= 0 and y0 >= 0 and x1 <= 720 and y1 <= 480 for x0, y0, x1, y1 in boxes)


def test_a_full_picture_has_no_more_tags(boxes: list[Box]) -> None:
    name_tags(GREY[:40, :100], [("car\n", 0.0, 0.0)] * 300)
    assert 1 < len(boxes) < 30
