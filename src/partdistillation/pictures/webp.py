"""Pictures as WebP files."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_EFFORT = 4
"""As libwebp has it: of 0 to 6."""


def webp(pixels: UInt8[np.ndarray, "height width channel"], *, quality: int, effort: int = _EFFORT) -> bytes:
    """A picture as a file; the same pixels give the same bytes.

    Args:
        pixels: RGB, or RGB and alpha.
        quality: 0 to 100.
        effort: 0 to 6: the more, the longer it takes, and the smaller the file.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=effort)
    return buffer.getvalue()
