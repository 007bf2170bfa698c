"""Text in pictures: shortened to fit, printable, in a font that is the same on every machine."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont


def plain_text(text: str) -> str:
    """A text as one line of what can be printed: names come from files, and may hold anything."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def fitted(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """A text on one line, shortened to be no wider than this, in pixels."""
    plain = plain_text(text)
    longest = plain[: max(1, round(width))]  # letters are wider than a pixel, and names may be of any length
    if longest == plain and font.getlength(plain) <= width:
        return plain
    kept = bisect_right(range(1, len(longest) + 1), width, key=lambda n: font.getlength(f"{longest[:n]}…"))
    return f"{longest[:kept].rstrip()}…"


_LARGEST = 256


def caption_font(size: int) -> ImageFont.FreeTypeFont:
    """The font for captions; it comes with Pillow, so that pictures are alike on every machine.

    Sizes go by a picture's width; those of very wide ones are bounded.
    """
    font = ImageFont.load_default(min(size, _LARGEST))
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels have FreeType
    return font


def note_picture(text: str, width: int, height: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """A grey picture that says why there is no other."""
    font = caption_font(max(9, min(width, height) // 12))
    picture = Image.new("RGB", (width, height), "#c9cdd3")
    draw = ImageDraw.Draw(picture)
    draw.text((width / 2, height / 2), fitted(text, font, width - 4), fill="#30343b", font=font, anchor="mm")
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
        width, height = font.getlength(label) + 2 * pad, font.size + 2 * pad
        left = max(0.0, min(x, picture.width - width))
        top = max(0.0, min(y - height - 2, picture.height - height))
        place = _free_place((left, top), (width, height), (picture.width, picture.height), taken)
        if place is None:
            continue
        left, top = place
        taken = np.vstack([taken, (left, top, left + width, top + height)])
        draw.rounded_rectangle((left, top, left + width, top + height), pad, fill=(20, 22, 26, 210))
        draw.text((left + pad, top + height / 2), label, fill="white", font=font, anchor="lm")
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
