"""How an image lies on the canvas that a network reads: at the top left, padded to multiples of 32."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from partdistillation.data.transforms import PADDING, resize_longest

STRIDE = 32
"""Images are padded to a multiple of this, so that every level covers exactly the padded image."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
WORKING_SIZE = 1024
"""Pixels of larger images are assigned at this longest side: a network's own masks are far coarser."""


@dataclass(frozen=True)
class Geometry:
    """How an image lies on the canvas that the network sees; all (height, width) in pixels."""

    image: tuple[int, int]
    content: tuple[int, int]
    """The image as resized, in the canvas' top left corner."""
    canvas: tuple[int, int]

    @property
    def working(self) -> tuple[int, int]:
        """The image's size, scaled down to a longest side of `WORKING_SIZE`."""
        scale = min(1.0, WORKING_SIZE / max(self.image))
        return max(round(scale * self.image[0]), 1), max(round(scale * self.image[1]), 1)


def padded_size(height: int, width: int, stride: int = STRIDE) -> tuple[int, int]:
    """Height and width rounded up to multiples of `stride`."""
    return -(-height // stride) * stride, -(-width // stride) * stride


def lay_on_canvas(
    image: UInt8[np.ndarray, "height width 3"], image_size: int
) -> tuple[UInt8[np.ndarray, "canvas_height canvas_width 3"], Geometry]:
    """An image with its longest side resized to `image_size`, padded to multiples of 32."""
    content = resize_longest(image, image_size)
    height, width = content.shape[:2]
    canvas = np.full((*padded_size(height, width), 3), PADDING, np.uint8)
    canvas[:height, :width] = content
    return canvas, Geometry((image.shape[0], image.shape[1]), (height, width), canvas.shape[:2])
