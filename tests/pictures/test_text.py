"""Text in pictures fits, and is printable."""

import itertools
from typing import Any

import numpy as np
import pytest
from PIL import ImageDraw

from partdistillation.pictures.text import caption_font, fitted, name_tags, note_picture


def test_texts_are_shortened_to_fit() -> None:
    font = caption_font(14)
    assert fitted("car", font, 200) == "car"
    short = fitted("a very long name of an object class", font, 100)
    assert short.endswith("…")
    assert font.width(short) <= 100 < font.width(f"{short[:-1]}mm…")
    assert fitted("x" * 10**6, font, 100).count("x") > 5
    assert fitted("line\nbreak\x00\u202e", font, 200) == "line break"
    assert fitted("", font, 100) == ""


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
