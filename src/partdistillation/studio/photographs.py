"""Photographs and drawings of them, as the browser gets them."""

import io

import numpy as np
from fastapi.responses import Response
from jaxtyping import UInt8
from PIL import Image

_QUALITY = 86
_EFFORT = 2
"""Of WebP's 0 to 6: half the time of the usual 4, for files that are a little larger."""


def webp(pixels: UInt8[np.ndarray, "height width 3"], *, longest: int | None = None) -> Response:
    """A picture.

    Args:
        pixels: RGB.
        longest: the most that its longer side may have, in pixels; it is never enlarged.
    """
    image = Image.fromarray(pixels)
    if longest is not None and max(image.size) > longest:
        image.thumbnail((longest, longest), Image.Resampling.BILINEAR)
    return _response(_encoded(image), "private, max-age=3600")


def as_webp(pixels: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """The file of a picture."""
    return _encoded(Image.fromarray(pixels))


def unchanging(picture: bytes) -> Response:
    """A picture at an address that will never show another: the browser needn't ask again."""
    return _response(picture, "private, max-age=31536000, immutable")


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY, method=_EFFORT)
    return buffer.getvalue()


def _response(picture: bytes, kept: str) -> Response:
    return Response(picture, media_type="image/webp", headers={"cache-control": kept})
