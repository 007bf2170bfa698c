"""Pictures of parts: colours over photographs, rows of panels with captions, contact sheets.

Images are uint8 H x W x 3 RGB, label maps int H x W with 0 = background. Everything is deterministic.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage

_BASE = ("0072B2", "E69F00", "009E73", "D55E00", "56B4E9", "CC79A7", "F0E442", "882255")


def _palette() -> UInt8[np.ndarray, "color 3"]:
    base = np.array([tuple(bytes.fromhex(color)) for color in _BASE], dtype=np.float64)
    light, dark = base + 0.5 * (255 - base), 0.55 * base
    return np.concatenate([base, light, dark]).round().astype(np.uint8)


PALETTE: UInt8[np.ndarray, "color 3"] = _palette()
"""Okabe and Ito's eight colours (wine instead of black), which also colour-blind people can tell apart; then
the same eight lighter, then darker. Label i has `PALETTE[(i - 1) % 24]`."""


def overlay(
    image: UInt8[np.ndarray, "height width 3"],
    label_map: Int[np.ndarray, "height width"],
    palette: UInt8[np.ndarray, "color 3"] = PALETTE,
    alpha: float = 0.6,
    contours: int = 1,
) -> UInt8[np.ndarray, "height width 3"]:
    """Colour the labels 1, 2, ... over an image, whose own colours fade there so that a label's is clear.

    Args:
        image: what is seen through the colours.
        label_map: 0 leaves the image as it is; label i takes colour (i - 1) modulo the palette's length.
        palette: the colours.
        alpha: how opaque the colours are, 0..1.
        contours: width in pixels of the white lines between labels; 0 = none.

    """
    colors = palette[(label_map - 1) % len(palette)]
    faded = _blend(image, _grey(image), 0.8 * (label_map > 0))
    blended = _blend(faded, colors, alpha * (label_map > 0))
    return outline(blended, label_map, width=contours) if contours else blended


def outline(
    image: UInt8[np.ndarray, "height width 3"], label_map: Int[np.ndarray, "height width"], width: int = 1
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw white lines, this many pixels wide, where labels meet."""
    return _blend(image, np.full(3, 255), 0.9 * _borders(label_map, width))


def spotlight(
    image: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    around: Bool[np.ndarray, "height width"],
    color: UInt8[np.ndarray, " 3"],
    contours: int = 1,
) -> UInt8[np.ndarray, "height width 3"]:
    """Show a mask as it is, outlined in a colour; `around` it (its object) in grey, the rest in dark grey."""
    brightness = np.where(around, 0.62, 0.22)[:, :, None]
    dimmed = brightness * _grey(image) + 0.1 * 255
    lit = _blend(dimmed, image, mask.astype(np.float64))
    return _blend(lit, color, np.maximum(0.15 * mask, _borders(mask.astype(np.int64), contours)))


def enlarge(
    image: UInt8[np.ndarray, "height width 3"], shorter_side: int
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Upscale a small image (Lanczos) so that its shorter side has at least this many pixels.

    Larger images are returned as they are.
    """
    height, width = enlarged_size(image.shape[0], image.shape[1], shorter_side)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def enlarge_labels(
    label_map: Int[np.ndarray, "height width"], shorter_side: int
) -> Int[np.ndarray, "new_height new_width"]:
    """Upscale a label map as `enlarge` its image."""
    height, width = enlarged_size(label_map.shape[0], label_map.shape[1], shorter_side)
    return resize_labels(label_map, height, width)


def resize_labels(
    label_map: Int[np.ndarray, "_ _"], height: int, width: int
) -> Int[np.ndarray, "{height} {width}"]:
    """A label map at another size; borders are smooth, as the strongest label wins."""
    if (height, width) == label_map.shape:
        return label_map
    rounding = ImageFilter.GaussianBlur(
        0.5 * height / label_map.shape[0]
    )  # of the corners of enlarged pixels
    best = np.full((height, width), -1, dtype=np.int16)
    resized = np.zeros((height, width), dtype=label_map.dtype)
    for label in np.unique(label_map):
        plane = Image.fromarray(label_map == label).convert("L")
        strength = np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR).filter(rounding))
        stronger = strength > best
        resized[stronger], best[stronger] = label, strength[stronger]
    return resized


def enlarged_size(height: int, width: int, shorter_side: int) -> tuple[int, int]:
    """Height and width after `enlarge`."""
    scale = max(1.0, shorter_side / min(height, width))
    return round(height * scale), round(width * scale)


def shrink(
    image: UInt8[np.ndarray, "height width 3"], longer_side: int
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Downscale an image so that its longer side has at most this many pixels."""
    scale = longer_side / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def square_crop(mask: Bool[np.ndarray, "height width"], margin: float = 0.08) -> tuple[slice, slice]:
    """Rows and columns of the square around a mask, with a margin, moved and cut to fit into the image."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    side = 1 + int(max(np.ptp(rows), np.ptp(columns)))
    side += 2 * round(margin * side)
    return _window(rows, side, mask.shape[0]), _window(columns, side, mask.shape[1])


def _window(positions: Int[np.ndarray, " n"], side: int, length: int) -> slice:
    side = min(side, length)
    start = (int(positions[0]) + int(positions[-1]) + 1 - side) // 2
    start = min(max(start, 0), length - side)
    return slice(start, start + side)


def side_by_side(
    panels: Sequence[UInt8[np.ndarray, "_ _ 3"]], captions: Sequence[str], *, height: int = 256, gap: int = 8
) -> Image.Image:
    """Panels in a row on white, scaled to one height, each with its caption underneath."""
    scaled = [_fit_height(panel, height) for panel in panels]
    font = caption_font(max(12, height // 16))
    line = round(1.8 * font.size)
    row = Image.new(
        "RGB", (sum(p.width for p in scaled) + gap * (len(scaled) + 1), height + 2 * gap + line), "white"
    )
    draw = ImageDraw.Draw(row)
    left = gap
    for panel, caption in zip(scaled, captions, strict=True):
        row.paste(panel, (left, gap))
        draw.text(
            (left + panel.width / 2, height + gap + line / 2), caption, fill="#30343b", font=font, anchor="mm"
        )
        left += panel.width + gap
    return row


def contact_sheet(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    *,
    columns: int = 3,
    side: int = 128,
    gap: int = 4,
    background: str | None = "white",
) -> Image.Image:
    """Images in a grid of square cells, each scaled to fit and centered; no background = transparent."""
    rows = -(-len(images) // columns)
    size = (columns * (side + gap) - gap, rows * (side + gap) - gap)
    sheet = Image.new("RGBA", size) if background is None else Image.new("RGB", size, background)
    for i, image in enumerate(images):
        scale = side / max(image.shape[:2])
        width, height = (max(1, round(length * scale)) for length in (image.shape[1], image.shape[0]))
        cell = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
        left, top = i % columns * (side + gap), i // columns * (side + gap)
        sheet.paste(cell, (left + (side - width) // 2, top + (side - height) // 2))
    return sheet


class LegendRow(NamedTuple):
    """A line of a legend: a title, then names with their colours."""

    title: str
    entries: tuple[tuple[str, UInt8[np.ndarray, " 3"]], ...]


def with_legend(image: Image.Image, rows: Sequence[LegendRow]) -> Image.Image:
    """Put a legend under an image, on white; long lines are wrapped."""
    font = caption_font(max(13, image.width // 40))
    step, pad = round(1.9 * font.size), round(0.9 * font.size)
    placed, y = _place_legend(rows, font, image.width - 2 * pad, step)
    picture = Image.new(
        "RGB", (image.width, image.height + (y + 2 * pad - step // 2 if rows else 0)), "white"
    )
    picture.paste(image)
    draw = ImageDraw.Draw(picture)
    for left, top, text, color in placed:
        x, middle = left + pad, image.height + pad + top + font.size / 2
        if color is not None:
            radius = 0.42 * font.size
            dot = (x + radius, middle)
            draw.circle(dot, radius, fill=tuple(color.tolist()))
            x += round(1.2 * font.size)
        draw.text(
            (x, middle), text, fill="#30343b" if color is not None else "#000000", font=font, anchor="lm"
        )
    return picture


def _place_legend(
    rows: Sequence[LegendRow], font: ImageFont.FreeTypeFont, width: int, step: int
) -> tuple[list[tuple[float, int, str, UInt8[np.ndarray, " 3"] | None]], int]:
    """Left, top, text and colour of every entry, and the height of all; titles have no colour."""
    placed: list[tuple[float, int, str, UInt8[np.ndarray, " 3"] | None]] = []
    y = 0
    for row in rows:
        placed.append((0.0, y, row.title, None))
        x = indent = font.getlength(row.title) + font.size
        for name, color in row.entries:
            space = font.getlength(name) + 2.2 * font.size
            if x + space > width and x > indent:
                x, y = indent, y + step
            placed.append((x, y, name, color))
            x += space
        y += step
    return placed, y


def name_tags(
    image: UInt8[np.ndarray, "height width 3"], tags: Sequence[tuple[str, float, float]]
) -> Image.Image:
    """Write texts in dark boxes that stand on (x, y), in pixels, moved so that they are seen whole."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture, "RGBA")
    font = caption_font(max(12, picture.width // 45))
    pad = round(0.35 * font.size)
    for text, x, y in tags:
        width, height = font.getlength(text) + 2 * pad, font.size + 2 * pad
        left = max(0.0, min(x, picture.width - width))
        top = max(0.0, min(y - height - 2, picture.height - height))
        draw.rounded_rectangle((left, top, left + width, top + height), pad, fill=(20, 22, 26, 210))
        draw.text((left + pad, top + height / 2), text, fill="white", font=font, anchor="lm")
    return picture


def plain_text(text: str) -> str:
    """A text as one line of what can be printed: names come from files, and may hold anything."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def fitted(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """A text on one line, shortened to be no wider than this, in pixels."""
    shown = plain_text(text)
    longest = shown[: max(1, round(width))]  # letters are wider than a pixel, and names may be of any length
    if longest == shown and font.getlength(shown) <= width:
        return shown
    kept = bisect_right(range(1, len(longest) + 1), width, key=lambda n: font.getlength(f"{longest[:n]}…"))
    return f"{longest[:kept].rstrip()}…"


def note_picture(text: str, width: int, height: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """A grey picture that says why there is no other."""
    font = caption_font(max(9, min(width, height) // 12))
    picture = Image.new("RGB", (width, height), "#c9cdd3")
    draw = ImageDraw.Draw(picture)
    draw.text((width / 2, height / 2), fitted(text, font, width - 4), fill="#30343b", font=font, anchor="mm")
    return np.asarray(picture)


def caption_font(size: int) -> ImageFont.FreeTypeFont:
    """The font for captions; it comes with Pillow, so that pictures are alike on every machine."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels have FreeType
    return font


def _fit_height(image: UInt8[np.ndarray, "_ _ 3"], height: int) -> Image.Image:
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)


def _grey(image: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width 1"]:
    weights = np.array([[0.299], [0.587], [0.114]])
    luma: Float[np.ndarray, "height width 1"] = image.astype(np.float64) @ weights
    return luma


def _blend(
    below: Num[np.ndarray, "height width _"],
    above: Num[np.ndarray, "*_"],
    weight: Num[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width 3"]:
    """Mix two images (or an image and a color), `weight` being the share of the second."""
    mixed = (1.0 - weight[:, :, None]) * below + weight[:, :, None] * above
    blended: UInt8[np.ndarray, "height width 3"] = mixed.round().clip(0, 255).astype(np.uint8)
    return blended


def _borders(label_map: Int[np.ndarray, "height width"], width: int) -> Bool[np.ndarray, "height width"]:
    """Pixels within about `width` / 2 of a change of label; the image's edge is none."""
    edges = np.zeros(label_map.shape, dtype=bool)
    edges[1:] |= label_map[1:] != label_map[:-1]
    edges[:, 1:] |= label_map[:, 1:] != label_map[:, :-1]
    if width > 1:
        ndimage.maximum_filter(edges.copy(), size=width, output=edges)
    return edges
