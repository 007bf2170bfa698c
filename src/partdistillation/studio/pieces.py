"""An object's mask as clicks want it: pieces of what stands out, added and taken away.

How much each pixel stands out, cut at rising heights, gives pieces within pieces. A click on the object adds
the piece that holds it; one beside the object takes away what falls off first when the height rises. Where
nothing stands out, a click means the piece of like colour around it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy.ndimage import distance_transform_edt, gaussian_filter, label

LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Heights at which what stands out is cut, as shares of its highest."""
_MOST = 0.9
"""Of the image: a piece that is larger is the ground."""
_LEAST_KEPT = 0.2
"""Of the mask: a click that would take away more takes the piece of like colour alone."""
_ALIKE = 26
"""How far a colour may be from the clicked one's, of 255 a channel, to be like it."""
_RIM = 0.01
"""Of the longer side: what is thinner than twice this is a rim, most of which a click doesn't mean."""
_NEAR = 0.03
"""Of the longer side: of a rim, what a click means."""
_SMOOTH = 0.004
"""Of the longer side: standard deviation of the blur before colours are compared."""

_Mask = Bool[np.ndarray, "height width"]
_Map = Float32[np.ndarray, "height width"]


class Click(NamedTuple):
    """A point of the image, in pixels from its upper left corner."""

    x: int
    y: int
    inside: bool
    """Whether it is on the object."""


def corrected(
    pixels: UInt8[np.ndarray, "height width 3"],
    saliency: _Map | None,
    mask: _Mask | None,
    clicks: Sequence[Click],
) -> _Mask:
    """The mask that clicks make of another, one after the other, or of none; it may become empty.

    Args:
        pixels: the image.
        saliency: how much each pixel stands out, 0..1; None where nothing says so.
        mask: what is corrected.
        clicks: in their order; the last on a pixel says whether it is inside.
    """
    result = np.zeros(pixels.shape[:2], np.bool_) if mask is None else mask.copy()
    outside: list[Click] = []
    for click in clicks:
        if click.inside:
            outside = [other for other in outside if (other.x, other.y) != (click.x, click.y)]
            if not result[click.y, click.x]:
                result |= _meant(_added(pixels, saliency, click, outside) & ~result, click)
        else:
            outside.append(click)
            if result[click.y, click.x]:
                kept = [other for other in clicks if other.inside]
                result = _taken(pixels, saliency, result, click, kept)
    return result


def _added(
    pixels: UInt8[np.ndarray, "height width 3"], saliency: _Map | None, click: Click, outside: Sequence[Click]
) -> _Mask:
    """The smallest piece that holds a click; larger than a speck, and without what clicks say is outside."""
    if saliency is not None:
        for level in reversed(_levels(saliency)):
            if saliency[click.y, click.x] <= level:
                continue
            piece = _piece(saliency > level, click)
            if not any(piece[other.y, other.x] for other in outside) and piece.mean() < _MOST:
                return piece
            break  # lower ones are larger still
    return _alike(pixels, click)


def _taken(
    pixels: UInt8[np.ndarray, "height width 3"],
    saliency: _Map | None,
    mask: _Mask,
    click: Click,
    kept: Sequence[Click],
) -> _Mask:
    """The mask without the click: what is left of it at the least height at which the click falls off."""
    if saliency is not None:
        for level in _levels(saliency):
            if saliency[click.y, click.x] > level:
                continue
            left = mask & (saliency > level)
            holds = all(left[other.y, other.x] for other in kept if mask[other.y, other.x])
            if holds and left.sum() >= _LEAST_KEPT * mask.sum():
                return _without(mask, _meant(mask & ~left, click))
            break  # higher ones leave less
    piece = _alike(pixels, click)
    return _without(mask, _near(piece, click) if any(piece[other.y, other.x] for other in kept) else piece)


def _meant(change: _Mask, click: Click) -> _Mask:
    """The piece of a change that a click is on: the bulky one, or of a thin rim what is near."""
    longest = max(change.shape)
    thick = distance_transform_edt(change) > _RIM * longest
    bulky = (distance_transform_edt(~thick) <= _RIM * longest) & change if thick.any() else thick
    if bulky[click.y, click.x]:
        return _piece(bulky, click)
    return _near(change, click)


def _near(piece: _Mask, click: Click) -> _Mask:
    rows, columns = np.ogrid[: piece.shape[0], : piece.shape[1]]
    near = (rows - click.y) ** 2 + (columns - click.x) ** 2 <= (_NEAR * max(piece.shape)) ** 2
    return _piece(piece & near, click)


def _without(mask: _Mask, piece: _Mask) -> _Mask:
    left: _Mask = mask & ~piece
    return left


def _levels(saliency: _Map) -> list[float]:
    return [level * float(saliency.max()) for level in LEVELS]


def _piece(mask: _Mask, click: Click) -> _Mask:
    """The connected piece that holds a click, without its holes."""
    labels, _ = label(mask)
    piece: _Mask = labels == labels[click.y, click.x]
    return piece


def _alike(pixels: UInt8[np.ndarray, "height width 3"], click: Click) -> _Mask:
    """The piece of like colour around a click."""
    sigma = _SMOOTH * max(pixels.shape[:2])
    smooth = gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0))
    far = np.abs(smooth - smooth[click.y, click.x]).max(axis=2)
    return _piece(far <= _ALIKE, click)
