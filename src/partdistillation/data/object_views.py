"""Two views of an object, differently placed and coloured, and which pixels of them are the same.

Like every example of training, a view depends on nothing but the generator that is given: a placement is
drawn first, as plain numbers; pixels, masks and points then follow from it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from partdistillation.data.images import load_image_of
from partdistillation.data.transforms import PADDING
from partdistillation.errors import InputError
from partdistillation.functional.masks import decode

MARGIN = 1.35
"""Side of a crop at zoom 1, relative to the object's longer side."""
ZOOM = (0.7, 1.8)
ROTATION = 0.4
"""Largest angle, either way, in radians."""
SHIFT = 0.2
"""Largest distance of a crop's centre from the object's, along x and y, relative to the longer side."""
POINTS = 96
"""Pixels of an object that are compared between its views."""
CANDIDATES = 400
"""Pixels of an object that are drawn; those that lie in both views come first."""


@dataclass(frozen=True)
class ObjectCrop:
    """An object to learn from, as compact as its row on disk."""

    file_name: str
    height: int
    width: int
    rle: bytes
    label: int


class Views(NamedTuple):
    """Two views of an object."""

    images: UInt8[np.ndarray, "2 size size 3"]
    masks: Bool[np.ndarray, "2 size size"]
    points: Float[np.ndarray, "2 point 2"]
    """The same pixels of the object in both views, (x, y) in -1..1."""
    visible: Bool[np.ndarray, " point"]
    """Whether a pixel lies inside both views."""
    label: int


class ObjectViews:
    """The Samples of the encoder warm-up."""

    def __init__(self, root: Path, crops: Sequence[ObjectCrop], size: int) -> None:
        if not crops:
            raise InputError(
                "expected at least one object to warm the encoder up with, found none: every image was "
                "rejected, or its objects have fewer pixels than pretrain.warmup.min_side"
            )
        self.root, self.crops, self.size = root, crops, size

    def __len__(self) -> int:
        return len(self.crops)

    def example(self, index: int, rng: np.random.Generator) -> Views:
        """Two views of the object at `index`, each placed and coloured by chance.

        Raises:
            InputError: the image can't be read, or has another size than when its objects were found.
        """
        crop = self.crops[index]
        image, mask = load_object(self.root, crop)
        placements = [draw_placement(mask, rng) for _ in range(2)]
        images, masks = zip(
            *(cut_view(image, mask, placement, self.size, rng) for placement in placements), strict=True
        )
        points, visible = common_points(mask, placements, rng)
        return Views(np.stack(images), np.stack(masks), points, visible, crop.label)


def load_object(
    root: Path, crop: ObjectCrop
) -> tuple[UInt8[np.ndarray, "height width 3"], Bool[np.ndarray, "height width"]]:
    """An object's image, in the folder `root`, and its mask.

    Raises:
        InputError: the image can't be read, or has another size than when its objects were found.
    """
    image = load_image_of(root / crop.file_name, crop.height, crop.width)
    return image, decode(crop.rle, crop.height, crop.width)


@dataclass(frozen=True)
class Placement:
    """From a view's (x, y) in -1..1 to the image's pixels: `matrix @ (x, y) + centre`.

    -1 and 1 are the view's edges (not the centres of its outer pixels), as in `grid_sample` without
    `align_corners`; in the image, pixel (column, row) covers the square from (column, row) on.
    """

    matrix: Float[np.ndarray, "2 2"]
    centre: Float[np.ndarray, "2"]


def draw_placement(mask: Bool[np.ndarray, "height width"], rng: np.random.Generator) -> Placement:
    """A view around the object of a mask that isn't empty: zoomed, turned, shifted, maybe mirrored."""
    middle, side = extent(mask)
    zoom = math.exp(rng.uniform(math.log(ZOOM[0]), math.log(ZOOM[1])))
    half = side * MARGIN / 2 / zoom
    angle = rng.uniform(-ROTATION, ROTATION)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = middle + rng.uniform(-SHIFT, SHIFT, 2) * side
    return Placement(rotation @ np.diag([mirror, 1.0]) * half, centre)


def extent(mask: Bool[np.ndarray, "height width"]) -> tuple[Float[np.ndarray, "2"], float]:
    """The centre (x, y) of the box of a mask that isn't empty, and the box's longer side."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    low, high = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]]) + 1
    return (low + high) / 2, float((high - low).max())


def cut_view(
    image: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    placement: Placement,
    size: int,
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "{size} {size} 3"], Bool[np.ndarray, "{size} {size}"]]:
    """Cut a view out of the image and change its colours; the mask goes along."""
    pixels, inside = cut(image, mask, placement, size)
    return coloured(pixels, rng), inside


def cut(
    image: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    placement: Placement,
    size: int,
) -> tuple[UInt8[np.ndarray, "{size} {size} 3"], Bool[np.ndarray, "{size} {size}"]]:
    """Cut a view out of the image, bilinear, and out of the mask.

    What lies beside the image is grey, and outside the mask.
    """
    matrix = placement.matrix * 2 / size
    # Bilinear resampling reads 2 x 2 pixels: what a view shrinks further is averaged first.
    factor = max(int(np.sqrt(abs(np.linalg.det(matrix)))), 1)
    offset = placement.centre - placement.matrix.sum(axis=1)
    terms = np.column_stack([matrix, offset])
    picture = Image.fromarray(image).reduce(factor)
    pixels = picture.transform(
        (size, size),
        Image.Transform.AFFINE,
        list((terms / factor).flat),
        Image.Resampling.BILINEAR,
        fillcolor=(PADDING,) * 3,
    )
    inside = Image.fromarray(mask).transform((size, size), Image.Transform.AFFINE, list(terms.flat))
    return np.asarray(pixels), np.asarray(inside)


def common_points(
    mask: Bool[np.ndarray, "height width"], placements: Sequence[Placement], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "view point 2"], Bool[np.ndarray, " point"]]:
    """Centres of the object's pixels, drawn by chance, where each view has them: (x, y) in -1..1.

    Those that lie inside all views come first; the second array says which these are.
    """
    rows, columns = np.nonzero(mask)
    chosen = rng.integers(len(rows), size=CANDIDATES)
    pixels = np.stack([columns[chosen], rows[chosen]], axis=1) + 0.5
    points = np.stack([(pixels - view.centre) @ np.linalg.inv(view.matrix).T for view in placements])
    visible = (np.abs(points) < 1).all(axis=(0, 2))
    first = np.argsort(~visible, kind="stable")[:POINTS]
    return points[:, first].astype(np.float32), visible[first]


def coloured(
    image: UInt8[np.ndarray, "size size 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "size size 3"]:
    """Brightness, contrast, saturation and white balance by chance."""
    pixels = image.astype(np.float32) * np.float32(rng.uniform(0.6, 1.4))
    mean = pixels.mean()
    pixels = (pixels - mean) * np.float32(rng.uniform(0.6, 1.4)) + mean
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + (pixels - grey) * np.float32(rng.uniform(0.0, 1.5))
    pixels *= rng.uniform(0.8, 1.2, 3).astype(np.float32)
    return np.asarray(np.clip(pixels, 0, 255), np.uint8)
