"""Tiles, collages and sheets: the part in red on a crop around its object (supplement, Fig. 4 to 12).

More than the paper's red tells where the part is, so that it is seen on a red object too, and by the
colour-blind: a red line within a white one, and the rest dimmed, nearly grey.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

from partdistillation.data.images import damage_allowed, load_image
from partdistillation.data.paths import is_file
from partdistillation.errors import InputError
from partdistillation.functional.masks import decode
from partdistillation.pictures.sizes import contact_sheet
from partdistillation.pictures.text import caption_font, fitted, note_picture
from partdistillation.review.collages.sampling import PER_PART, PartSample, Tile

RED = (236, 0, 20)
TILE = 200
"""Side of a tile, in pixels."""
COLUMNS = 3
GAP = 6
PAPER, INK, FADED, WARNING, EMPTY = "#ffffff", "#14171c", "#6a717c", "#a34a00", "#eef0f2"

LOOK = 2
"""To be raised when tiles are drawn differently: those on the disk are drawn again."""
LARGE = 1200
"""Side of a tile that somebody looks into, in pixels."""

_OPACITY = 0.3
_COLOR_AROUND = 0.25
"""How much of its colours is left to what is around the part."""
_DIMMED = 3 * [round(0.62 * value + 24) for value in range(256)]
"""And how bright it is: darker, but not so dark that the object isn't seen."""
_MARGIN = 0.15
_STEEPER = [min(max(4 * (grey - 128) + 128, 0), 255) for grey in range(256)]
"""Of a blurred mask's grey values: rounds the corners of enlarged pixels, and leaves a smooth edge."""
_LARGEST_SCALE = 3.0
"""Smaller objects aren't enlarged more than this; more of what is around them is shown instead."""


class DrawnTile(NamedTuple):
    """A tile's picture."""

    picture: UInt8[np.ndarray, "side side 3"]
    problem: str = ""
    """Why the image can't be shown."""


def draw_tile(images_dir: Path, tile: Tile, size: int = TILE) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """A crop around the object with the part in red; where the image can't be shown, grey, and why."""
    return draw_tiles(images_dir, [tile], size)[0].picture


def draw_tiles(images_dir: Path, tiles: Sequence[Tile], size: int = TILE) -> list[DrawnTile]:
    """As `draw_tile`, each image being read once however many tiles it has."""
    drawn: dict[int, DrawnTile] = {}
    by_image: dict[str, list[int]] = {}
    for place, tile in enumerate(tiles):
        by_image.setdefault(tile.file_name, []).append(place)
    for file_name, places in by_image.items():
        image = read_image(images_dir / file_name, tiles[places[0]].width, tiles[places[0]].height)
        for place in places:
            if isinstance(image, str):
                drawn[place] = DrawnTile(note_picture(image, size, size), image)
            else:
                drawn[place] = DrawnTile(draw_image(image, tiles[place], size))
    return [drawn[place] for place in range(len(tiles))]


def draw_image(
    image: UInt8[np.ndarray, "height width 3"], tile: Tile, size: int = TILE
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """As `draw_tile`, of an image that was read."""
    return _drawn(image, tile, _window(tile, size), size)


def draw_large(images_dir: Path, tile: Tile, size: int) -> UInt8[np.ndarray, "side side 3"]:
    """What a tile of this size shows, larger: up to `LARGE`, as far as the photograph has pixels for it."""
    image = read_image(images_dir / tile.file_name, tile.width, tile.height)
    if isinstance(image, str):
        return note_picture(image, size, size)
    window = _window(tile, size)
    side = max(window[2] - window[0], window[3] - window[1])
    return _drawn(image, tile, window, max(size, min(LARGE, round(_LARGEST_SCALE * side))))


def read_image(path: Path, width: int, height: int) -> UInt8[np.ndarray, "{height} {width} 3"] | str:
    """The image, or in a few words why it can't be shown: gone, damaged, or changed since the run."""
    if not is_file(path):
        return "image is gone"
    try:
        with damage_allowed():  # it was judged when its objects were found
            image = load_image(path)
    except InputError:
        return "image is damaged"
    if image.shape[:2] != (height, width):
        return "image has changed its size"
    return image


def draw_collage(sample: PartSample, tiles: Sequence[UInt8[np.ndarray, "size size 3"]]) -> Image.Image:
    """A part class on one picture: its tiles, three a row, below what it is and how few images it has.

    Places for tiles that the class is too rare to fill stay empty.
    """
    grid = contact_sheet(_cells(tiles, PER_PART), columns=COLUMNS, gap=GAP, margin=GAP, background=PAPER)
    head = _headline(sample, grid.width)
    picture = Image.new("RGB", (grid.width, head.height + grid.height - GAP), PAPER)
    picture.paste(grid, (0, head.height - GAP))
    picture.paste(head)
    return picture


def draw_sheet(
    category: str, rows: Sequence[tuple[PartSample, Sequence[UInt8[np.ndarray, "size size 3"]]]]
) -> Image.Image:
    """An object class on one picture: a row of three images a part class (supplement, Fig. 5 to 12)."""
    size = next((len(tiles[0]) for _, tiles in rows if tiles), TILE)
    width = COLUMNS * (size + GAP) + GAP
    title, font = caption_font(20), caption_font(14)
    top, line = round(2 * title.size) + GAP, round(1.9 * font.size)
    picture = Image.new("RGB", (width, top + len(rows) * (size + line + GAP)), PAPER)
    draw = ImageDraw.Draw(picture)
    title.write(draw, (GAP, title.size + 2), fitted(category, title, width - 2 * GAP), INK)
    for sample, tiles in rows:
        note = shortage(sample) or _images(sample.available)
        text = fitted(f"part {sample.part}  ·  {note}", font, width - 2 * GAP)
        font.write(draw, (GAP, top + line / 2 - 1), text, _color(sample))
        cells = _cells(tiles[:COLUMNS], COLUMNS, size)
        picture.paste(contact_sheet(cells, columns=COLUMNS, gap=GAP, background=PAPER), (GAP, top + line))
        top += size + line + GAP
    return picture


def _cells(
    tiles: Sequence[UInt8[np.ndarray, "size size 3"]], count: int, size: int = TILE
) -> list[Image.Image]:
    """The tiles, and for those that there aren't empty ones of the same size."""
    size = len(tiles[0]) if tiles else size
    empty = Image.new("RGB", (size, size), EMPTY)
    return [*map(Image.fromarray, tiles), *[empty] * (count - len(tiles))]


def shortage(sample: PartSample) -> str:
    """What to say of a part class with too few images; empty where there are enough."""
    if sample.available >= PER_PART:
        return ""
    return f"only {_images(sample.available)}" if sample.available else "no image: all cover the whole object"


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _color(sample: PartSample) -> str:
    return WARNING if shortage(sample) else FADED


def _headline(sample: PartSample, width: int) -> Image.Image:
    font, small = caption_font(max(15, width // 32)), caption_font(max(12, width // 44))
    head = Image.new("RGB", (width, round(2.1 * font.size)), PAPER)
    draw = ImageDraw.Draw(head)
    note = shortage(sample) or f"{len(sample.tiles)} of {_images(sample.available)}"
    room = width - 2 * GAP - small.width(note) - font.size
    what = f"·  part {sample.part}"
    name = fitted(sample.category, font, room - font.width(what) - font.size)
    font.write(draw, (GAP, head.height / 2), name, INK)
    font.write(draw, (GAP + font.width(name) + 0.5 * font.size, head.height / 2), what, INK)
    small.write(draw, (width - GAP, head.height / 2), note, _color(sample), "right")
    return head


def _drawn(
    image: UInt8[np.ndarray, "height width 3"], tile: Tile, window: tuple[int, int, int, int], size: int
) -> UInt8[np.ndarray, "{size} {size} 3"]:
    mask = np.logical_or.reduce([decode(rle, tile.height, tile.width) for rle in tile.masks])
    left, top, right, bottom = window
    scale = size / max(right - left, bottom - top)
    shape = max(1, round(scale * (right - left))), max(1, round(scale * (bottom - top)))
    crop = Image.fromarray(image[top:bottom, left:right])
    # Bilinear (that is, averaging) is as good where pixels get fewer, and takes half the time.
    crop = crop.resize(shape, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BILINEAR)
    marked = _mark(crop, mask[top:bottom, left:right])
    square = Image.new("RGB", (size, size), EMPTY)
    square.paste(marked, ((size - shape[0]) // 2, (size - shape[1]) // 2))
    return np.asarray(square)


def _window(tile: Tile, size: int) -> tuple[int, int, int, int]:
    """The square around the object with a margin, moved and cut to fit into the image: xyxy."""
    x0, y0, x1, y1 = tile.box
    side = max((1 + 2 * _MARGIN) * max(x1 - x0, y1 - y0), size / _LARGEST_SCALE)
    left, right = _fitting((x0 + x1) / 2, round(side), tile.width)
    top, bottom = _fitting((y0 + y1) / 2, round(side), tile.height)
    return left, top, right, bottom


def _fitting(center: float, side: int, length: int) -> tuple[int, int]:
    side = min(side, length)
    start = min(max(round(center - side / 2), 0), length - side)
    return start, start + side


def _mark(image: Image.Image, mask: Bool[np.ndarray, "_ _"]) -> Image.Image:
    """Lay red over the mask, around it a red line and a white one, and dim the rest."""
    scale = image.width / mask.shape[1]
    grown = Image.fromarray(mask).convert("L").resize(image.size, Image.Resampling.BILINEAR)
    inside = grown.filter(ImageFilter.GaussianBlur(0.5 * max(1.0, scale))).point(_STEEPER)
    width = max(2, max(image.size) // 100)
    inner = ImageChops.invert(_grown(ImageChops.invert(inside), width))
    marked = ImageEnhance.Color(image).enhance(_COLOR_AROUND).point(_DIMMED)
    marked.paste("white", mask=_grown(inside, max(1, width // 2)))
    marked.paste(RED, mask=inside)
    marked.paste(Image.blend(image, Image.new("RGB", image.size, RED), _OPACITY), mask=inner)
    return marked


def _grown(mask: Image.Image, pixels: int) -> Image.Image:
    """A mask with so many pixels more around it; far quicker than Pillow's filter of largest values."""
    return mask.filter(ImageFilter.BoxBlur(pixels)).point(lambda grey: min((2 * pixels + 1) * grey, 255))
