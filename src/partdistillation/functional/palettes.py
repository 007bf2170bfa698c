"""What a palette's indices stand for in a black and white mask. Light, as what decodes imports it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def whites(image: Image.Image) -> NDArray[np.bool_] | None:
    """Which palette indices are white, of a black and white image whose index 0 is white; else None.

    Tools that reduce colours number them as they come: white is inside, as in all other masks.
    """
    if image.mode != "P":
        return None
    colors = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    used = [index for _, index in image.getcolors() or [] if isinstance(index, int) and index < len(colors)]
    white, black = (colors == 255).all(1), (colors == 0).all(1)
    plain = (white | black).all() and white[used].any() and black[used].any()
    return white if plain and white[0] else None
