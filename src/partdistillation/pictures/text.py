"""Text in pictures: on one line, shortened to fit, in letters of all languages."""

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

_JOINERS = "\u200c\u200d"
"""They decide how letters of Persian and of India look, and join emoji."""
_MARKS = 8
"""Accents, vowel signs and joiners on one letter: Burmese has six at times, a hostile name has hundreds."""
_LARGEST = 256
_BASELINE = 0.35
"""How far below its middle a line stands on, in sizes of its font: half of what capitals are high."""


def plain_text(text: str) -> str:
    """A text as one line of what can be printed: names come from files, and may hold anything."""
    letters: list[str] = []
    marks = 0
    for letter in unicodedata.normalize("NFC", " ".join(text.split())):
        kind = unicodedata.category(letter)
        marks = marks + 1 if kind[0] == "M" or letter in _JOINERS else 0
        if marks <= _MARKS and (kind not in ("Cc", "Cf", "Cs") or letter in _JOINERS):
            letters.append(letter)
    return "".join(letters).strip()


@dataclass(frozen=True)
class CaptionFont:
    """DejaVu Sans, and other fonts for the letters that it lacks; its size is in pixels."""

    size: float

    def width(self, text: str) -> float:
        """Of a text on one line, in pixels."""
        return self._laid_out(text).get_width_height()[0] / 64

    def write(
        self,
        draw: ImageDraw.ImageDraw,
        place: tuple[float, float],
        text: str,
        fill: str | tuple[int, int, int],
        anchor: Literal["left", "middle", "right"] = "left",
    ) -> None:
        """Write a line whose end or middle (`anchor`) is at x, and whose middle is at y, in pixels."""
        font = self._laid_out(text)
        width, height = font.get_width_height()
        font.draw_glyphs_to_bitmap()
        glyphs = font.get_image()
        shift = {"left": 0.0, "middle": 0.5, "right": 1.0}[anchor] * width - font.get_bitmap_offset()[0]
        top = round(place[1] + _BASELINE * self.size) - (height - font.get_descent()) // 64 - 1
        # Marks stacked high stay on their line.
        first, last = (max(0, round(place[1] + side * self.size) - top) for side in (-1, 1))
        mask = Image.fromarray(glyphs[first:last])
        draw.bitmap((round(place[0] - shift / 64), top + first), mask, fill)

    def _laid_out(self, text: str) -> "FT2Font":
        # Late: where matplotlib has never been, it looks through all fonts of the system.
        from matplotlib.font_manager import get_font

        from partdistillation.pictures.fonts import lettering

        drawable = lettering(plain_text(text))
        font = get_font(drawable.fonts)
        font.set_size(self.size, 72)
        font.set_text(drawable.text)
        return font


def caption_font(size: int) -> CaptionFont:
    """The font for captions. Sizes go by a picture's width; those of very wide ones are bounded."""
    return CaptionFont(min(size, _LARGEST))


def fitted(text: str, font: CaptionFont, width: float) -> str:
    """A text on one line, shortened to be no wider than this, in pixels."""
    plain = plain_text(text)
    longest = plain[: max(1, round(width))]  # letters are wider than a pixel, and names may be of any length
    if longest == plain and font.width(plain) <= width:
        return plain
    kept = bisect_right(range(1, len(longest) + 1), width, key=lambda n: font.width(f"{longest[:n]}…"))
    return f"{longest[:kept].rstrip()}…"


def note_picture(text: str, width: int, height: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """A grey picture that says why there is no other."""
    font = caption_font(max(9, min(width, height) // 12))
    picture = Image.new("RGB", (width, height), "#c9cdd3")
    draw = ImageDraw.Draw(picture)
    font.write(draw, (width / 2, height / 2), fitted(text, font, width - 4), "#30343b", "middle")
    return np.asarray(picture)


def name_tags(
    image: UInt8[np.ndarray, "height width 3"], tags: Sequence[tuple[str, float, float]]
) -> Image.Image:
    """Write texts in dark boxes that stand on (x, y), in pixels, moved so that all of them can be read.

    The first ones have their places first. Where a picture is so full that there is none, a text is left out.
    """
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture, "RGBA")
    font = caption_font(max(12, picture.width // 45))
    pad = round(0.35 * font.size)
    taken = np.zeros((0, 4))
    for text, x, y in tags:
        label = fitted(text, font, max(1, picture.width - 2 * pad))
        width, height = font.width(label) + 2 * pad, font.size + 2 * pad
        left = max(0.0, min(x, picture.width - width))
        top = max(0.0, min(y - height - 2, picture.height - height))
        place = _free_place((left, top), (width, height), (picture.width, picture.height), taken)
        if place is None:
            continue
        left, top = place
        taken = np.vstack([taken, (left, top, left + width, top + height)])
        draw.rounded_rectangle((left, top, left + width, top + height), pad, fill=(20, 22, 26, 210))
        font.write(draw, (left + pad, top + height / 2), label, "white")
    return picture


def _free_place(
    wanted: tuple[float, float],
    size: tuple[float, float],
    picture: tuple[int, int],
    taken: Float[np.ndarray, "box 4"],
) -> tuple[float, float] | None:
    """The place (left, top) nearest to the wanted one where a box of this size covers none that are taken."""
    if _apart(np.array([wanted]), size, taken).all():
        return wanted
    lefts, tops = (
        np.append(np.arange(0, max(0.0, extent - side) + 1, max(1.0, side / 2)), start)
        for start, side, extent in zip(wanted, size, picture, strict=True)
    )
    places = np.stack(np.meshgrid(lefts, tops), axis=-1).reshape(-1, 2)
    free = places[_apart(places, size, taken)]
    if not len(free):
        return None
    left, top = free[np.argmin(np.abs(free - wanted).sum(axis=1))].tolist()
    return left, top


def _apart(
    places: Float[np.ndarray, "place 2"], size: tuple[float, float], taken: Float[np.ndarray, "box 4"]
) -> Bool[np.ndarray, " place"]:
    """Whether boxes of this size at these places cover none that are taken."""
    ends = places + size
    behind = (places[:, None] >= taken[:, 2:]).any(axis=2)
    before = (ends[:, None] <= taken[:, :2]).any(axis=2)
    return np.asarray(np.logical_or(behind, before).all(axis=1))
