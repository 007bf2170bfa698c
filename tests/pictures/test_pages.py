"""Figures in print: their size, their text, their legend."""

import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from partdistillation.pictures.colors import PALETTE
from partdistillation.pictures.legends import LegendRow
from partdistillation.pictures.pages import DPI, Page, colored, page_bytes, panel_size

HOSTILE = ("$\\frac{$ $", "_hidden", "汽车 🚗", "line\nbreak\x00\x1b[31m", "x" * 5000, "", "../../etc/passwd")


def page(*names: str, rows: int = 1) -> Page:
    panel = np.zeros((60, 90, 3), np.uint8)
    legend = tuple(LegendRow(name, ((name, PALETTE[0]), (name, PALETTE[1]))) for name in names)
    return Page(("image", names[0] if names else "parts"), ((panel, panel),) * rows, legend)


def opened(content: bytes) -> np.ndarray:
    with Image.open(BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


def test_a_png_says_how_large_it_is_printed() -> None:
    with Image.open(BytesIO(page_bytes(page("car", rows=3), ".png"))) as picture:
        assert picture.width == 7 * DPI == 2100
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_pdf_is_a_page_with_text_and_the_pixels_of_its_panels() -> None:
    content = page_bytes(page("car", rows=3), ".pdf")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) == 1
    assert b"/FontFile2" in content or b"/TrueType" in content
    sizes = [len(re.findall(rb"/%s\b" % size, content)) for size in (b"Height 60", b"Width 90")]
    assert sizes[0] == sizes[1] > 0
    assert page_bytes(page("car", rows=3), ".pdf") == content  # no date


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_hostile_names_are_just_text(suffix: str) -> None:
    legend = tuple(LegendRow(name, ((name, PALETTE[0]),)) for name in HOSTILE)
    panel = np.zeros((30, 50, 3), np.uint8)
    content = page_bytes(Page(HOSTILE, ((panel,) * len(HOSTILE),), legend), suffix)
    if suffix == ".png":
        dots = np.abs(opened(content).astype(int) - PALETTE[0]).max(axis=2) < 3
        assert dots.sum() > 300 * len(HOSTILE)


def test_a_legend_is_wrapped() -> None:
    many = LegendRow("car", tuple((f"a part with a long name {i}", PALETTE[i]) for i in range(12)))
    long = opened(page_bytes(Page(page().captions, page().rows, (many,)), ".png"))
    short = opened(page_bytes(page("car"), ".png"))
    assert len(long) > len(short) + 46
    for i in range(12):
        assert (np.abs(long.astype(int) - PALETTE[i]).max(axis=2) < 3).sum() > 300


def test_tall_images_are_shown_smaller() -> None:
    wide = panel_size(300, 600, 4)
    assert (wide.width, wide.height) == ((2100 - 3 * 14) // 4, 257)
    tall = panel_size(6000, 60, 4)
    assert tall.height == round(1.4 * wide.width)
    assert tall.width == 7


def test_colours_lie_over_the_image_at_the_panel_s_size() -> None:
    panel = np.full((80, 80, 3), 100, np.uint8)
    labels = np.zeros((20, 20), int)
    labels[:, 10:] = 2
    shown = colored(panel, labels)
    assert (shown[:, :35] == 100).all()
    assert (shown[:, 50:] == (0.62 * PALETTE[1] + 0.38 * 100).round()).all()
