"""What the contrastive baseline learns from: an object's square, and how a second one is made of it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from partdistillation.data.object_views import ObjectCrop, Placement, coloured, cut, extent, load_object

CONTEXT = 1.2
"""Side of the square that an object is cut out in, relative to its box's longer side."""
CONTROL_SIDE = 5
"""Points along each side of the square that a spline goes through."""
ROTATION = 0.3
"""Largest angle of the deformation, either way, in radians."""
ZOOM = (0.8, 1.25)
SHIFT = 0.1
"""Largest shift along x and y, where the square is from -1 to 1."""
NOISE = 0.1
"""Largest shift of a single point, besides."""


class ObjectPair(NamedTuple):
    """An object in its square, the same recoloured, and the deformation that is still to be applied."""

    image: UInt8[np.ndarray, "size size 3"]
    recoloured: UInt8[np.ndarray, "size size 3"]
    mask: Bool[np.ndarray, "size size"]
    targets: Float32[np.ndarray, "control 2"]
    """Where a spline takes its values from at each control point (`thin_plate_splines.regular_points`)."""


class ObjectPairs:
    """The Samples of the contrastive baseline."""

    def __init__(self, root: Path, crops: Sequence[ObjectCrop], size: int) -> None:
        self.root, self.crops, self.size = root, crops, size

    def __len__(self) -> int:
        return len(self.crops)

    def example(self, index: int, rng: np.random.Generator) -> ObjectPair:
        """The object at `index`; only its deformation and its second colours are left to chance.

        Raises:
            InputError: the image can't be read, or has another size than when its objects were found.
        """
        image, mask = load_object(self.root, self.crops[index])
        pixels, inside = cut(image, mask, square_around(mask), self.size)
        return ObjectPair(pixels, coloured(pixels, rng), inside, draw_targets(rng))


def square_around(mask: Bool[np.ndarray, "height width"]) -> Placement:
    """The square in which an object is seen; its mask isn't empty."""
    centre, side = extent(mask)
    return Placement(np.eye(2) * side * CONTEXT / 2, centre)


def draw_targets(rng: np.random.Generator) -> Float32[np.ndarray, "control 2"]:
    """A random deformation, by where it takes the control points to: turned, zoomed, shifted, and noise."""
    places = np.linspace(-1, 1, CONTROL_SIDE)
    points = np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)
    angle, zoom = rng.uniform(-ROTATION, ROTATION), math.exp(rng.uniform(*np.log(ZOOM)))
    turn = zoom * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    noise = rng.uniform(-NOISE, NOISE, points.shape)
    return (points @ turn.T + rng.uniform(-SHIFT, SHIFT, 2) + noise).astype(np.float32)
