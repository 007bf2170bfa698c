"""Pictures, as the browser gets them."""

import numpy as np
from fastapi.responses import Response
from jaxtyping import UInt8

from partdistillation.pictures.webp import webp

_QUALITY = 86
_EFFORT = 2
"""Half the time of the usual 4, for files that are a little larger."""


def encoded(pixels: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """The file of a picture."""
    return webp(pixels, quality=_QUALITY, effort=_EFFORT)


def picture(file: bytes) -> Response:
    """A picture that may be another one in an hour."""
    return _response(file, "private, max-age=3600")


def unchanging(file: bytes) -> Response:
    """A picture at an address that will never show another: the browser needn't ask again."""
    return _response(file, "private, max-age=31536000, immutable")


def _response(file: bytes, kept: str) -> Response:
    return Response(file, media_type="image/webp", headers={"cache-control": kept})
