"""Images with objects and parts that every format is tested on."""

import numpy as np
from numpy.typing import NDArray

from partdistillation.data.coco import CocoImage
from partdistillation.export.categories import CategoryIds
from partdistillation.export.labels import Catalog, ImageLabels, Labels, ObjectLabel, PartLabel
from partdistillation.functional.masks import encoded

HEIGHT, WIDTH = 24, 32


def box(y: slice, x: slice) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y, x] = True
    return mask


RING = box(slice(2, 10), slice(2, 10)) & ~box(slice(4, 8), slice(4, 8))
"""With a hole."""
WHEELS = box(slice(12, 16), slice(2, 6)) | box(slice(12, 16), slice(10, 14))
"""Two pieces."""
DOT = box(slice(20, 21), slice(31, 32))
"""A single pixel, in a corner."""
LEFT = box(slice(0, 24), slice(0, 16))

CATALOG: Catalog = {"bus": ["door"], "car": ["window", None, "wheel <&> é"]}
"""`car`'s second part class is joined with another."""
CAR = ObjectLabel(
    "car",
    encoded(LEFT),
    (PartLabel("window", RING, 0.5), PartLabel("wheel <&> é", encoded(WHEELS), 0.9)),
    0.75,
)
BUS = ObjectLabel("bus", DOT, (), 1.0)
IMAGES = (
    ImageLabels(CocoImage(1, "street/a b.jpg", WIDTH, HEIGHT), (CAR, BUS)),
    ImageLabels(CocoImage(2, "street/c.png", WIDTH, HEIGHT), ()),
)
LABELS = Labels(IMAGES, CATALOG, "0123")
IDS = CategoryIds.of_catalog(CATALOG)
MASKS = {
    IDS.objects["car"]: LEFT,
    IDS.objects["bus"]: DOT,
    IDS.parts["car", "window"]: RING,
    IDS.parts["car", "wheel <&> é"]: WHEELS,
}
"""Of the first image, by category id."""


def iou(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(mask & other) / np.count_nonzero(mask | other))
