"""Two examples for the first page, drawn: one part in all images, and another part in each."""

from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Bool
from PIL import Image

from partdistillation.functional.masks import box, encode
from partdistillation.part_shapes import PartShapes
from partdistillation.pictures.webp import webp
from partdistillation.review.collages import Tile, draw_image
from partdistillation.review.items import QUALITY

Example = Literal["right", "wrong"]

_PARTS: dict[Example, tuple[str, str, str]] = {
    "right": ("wheel", "wheel", "wheel"),
    "wrong": ("window", "wheel", "bumper"),
}
_CATEGORY, _SCENES = "car", (1, 9, 17)
"""What is drawn: the cars of these scenes."""
_SIZE, _GAP = 240, 8


@cache
def example(which: Example) -> bytes:
    """Three tiles side by side, as a WebP; transparent between them."""
    sheet = Image.new("RGBA", (3 * _SIZE + 2 * _GAP, _SIZE))
    for place, (scene, part) in enumerate(zip(_SCENES, _PARTS[which], strict=True)):
        sheet.paste(_tile(scene, part), (place * (_SIZE + _GAP), 0))
    return webp(np.asarray(sheet), quality=QUALITY)


def _tile(scene: int, part: str) -> Image.Image:
    drawing = PartShapes(seed=3, size=_SIZE)[scene]
    car = next(instance for instance in drawing.objects if instance.category == _CATEGORY)
    mask: Bool[np.ndarray, "height width"] = next(piece.mask for piece in car.parts if piece.name == part)
    tile = Tile("", "", 0, _SIZE, _SIZE, box(car.mask), (encode(mask),))
    return Image.fromarray(draw_image(drawing.image, tile, _SIZE))
