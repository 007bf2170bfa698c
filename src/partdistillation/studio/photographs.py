"""Photographs and drawings of them, as the browser gets them."""

import io

import numpy as np
from fastapi.responses import Response
from jaxtyping import UInt8
from PIL import Image

_QUALITY = 86


def webp(pixels: UInt8[np.ndarray, "height width 3"], *, longest: int | None = None) -> Response:
    """A picture.

    Args:
        pixels: RGB.
        longest: the most that its longer side may have, in pixels; it is never enlarged.
    """
    image = Image.fromarray(pixels)
    if longest is not None and max(image.size) > longest:
        image.thumbnail((longest, longest), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY)
    return Response(
        buffer.getvalue(), media_type="image/webp", headers={"cache-control": "private, max-age=3600"}
    )
