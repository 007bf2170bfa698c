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
    around: Bool[np.ndarray, "height width"],
    color: UInt8[np.ndarray, " 3"],
    contours: int = 1,
) -> UInt8[np.ndarray, "height width 3"]:
    """Show a mask as it is, outlined in a colour; `around` it (its object) in grey, the rest in dark grey."""
    brightness = np.where(around, 0.62, 0.22)[:, :, None]
    dimmed = brightness * _grey(image) + 0.1 * 255
    lit = _blend(dimmed, image, mask.astype(np.float64))
    return _blend(lit, color, np.maximum(0.15 * mask, _borders(mask.astype(np.int64), contours)))


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
