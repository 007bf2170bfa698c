"""Masks and label maps in colours over photographs.

Images are uint8 H x W x 3 RGB, label maps int H x W with 0 = background.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int, Num, UInt8
from scipy import ndimage

from partdistillation.pictures.colors import PALETTE

_STRIP_PIXELS = 1 << 20


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
    blended = np.empty_like(image)
    for rows in _strips(image):
        part, labelled = image[rows], label_map[rows] > 0
        colors = palette[(label_map[rows] - 1) % len(palette)]
        faded = _blend(part, _grey(part), 0.8 * labelled)
        blended[rows] = _blend(faded, colors, alpha * labelled)
    return outline(blended, label_map, width=contours) if contours else blended


def outline(
    image: UInt8[np.ndarray, "height width 3"], label_map: Int[np.ndarray, "height width"], width: int = 1
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw white lines, this many pixels wide, where labels meet."""
    borders, outlined = _borders(label_map, width), np.empty_like(image)
    for rows in _strips(image):
        outlined[rows] = _blend(image[rows], np.full(3, 255), 0.9 * borders[rows])
    return outlined


def spotlight(
    image: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    color: UInt8[np.ndarray, " 3"],
    around: Bool[np.ndarray, "height width"] | None = None,
    contours: int | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Show a mask as it is within a line of its colour; the rest in grey, dimmed but legible.

    A white hairline around the coloured one keeps it apart from what has that colour itself.

    Args:
        image: what is shown.
        mask: what stays as it is; nothing may be set.
        color: of the line, for example `colors.color_of(part_id)`.
        around: what is dimmed less, such as the part's object; without it nothing is.
        contours: width in pixels of the coloured line; without it, what suits the image's size. 0 = none.
    """
    width = max(2, round(min(mask.shape) / 100)) if contours is None else contours
    hairline = width + max(2, width // 2) if width else 0
    near, line = _within(mask, hairline) & ~mask, _within(mask, width) & ~mask
    lit = dimmed(image, mask, around)
    for rows in _strips(image):
        bordered = _blend(lit[rows], np.full(3, 255), 0.9 * near[rows])
        lit[rows] = _blend(bordered, color, np.maximum(0.15 * mask[rows], line[rows]))
    return lit


def dimmed(
    image: UInt8[np.ndarray, "height width 3"],
    kept: Bool[np.ndarray, "height width"],
    around: Bool[np.ndarray, "height width"] | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """An image as it is where it is kept, the rest grey and darker; darker still what isn't `around` it."""
    lit = np.empty_like(image)
    for rows in _strips(image):
        brightness = 0.5 if around is None else np.where(around[rows], 0.6, 0.36)[:, :, None]
        dark = (brightness * _grey(image[rows]) + 26).round().astype(np.uint8)
        lit[rows] = np.where(kept[rows][:, :, None], image[rows], dark)
    return lit


def _strips(image: UInt8[np.ndarray, "height width 3"]) -> Iterator[slice]:
    """Rows of about a megapixel: mixing colours takes a hundred times an image's memory."""
    rows = max(1, _STRIP_PIXELS // max(1, image.shape[1]))
    return (slice(top, top + rows) for top in range(0, len(image), rows))


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


def _within(mask: Bool[np.ndarray, "height width"], distance: int) -> Bool[np.ndarray, "height width"]:
    """Pixels of a mask, and those that are at most this far from it."""
    if not distance or not mask.any():
        return mask
    near: Bool[np.ndarray, "height width"] = ndimage.distance_transform_edt(~mask) <= distance
    return near
