"""A small Cityscapes Panoptic Parts: grey images, rectangles of the numbers that the real .tif files have."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 16, 24

Painted = tuple[int, tuple[int, int, int, int]]
"""A number, and the x, y, width and height it fills."""

IMAGES: dict[str, dict[str, list[Painted]]] = {
    "train": {
        "aachen/aachen_000000_000019": [
            (23, (0, 0, 24, 4)),  # sky
            (26, (20, 4, 4, 2)),  # cars, which can't be told apart
            # Car 2: of no part, a wheel, another one, a light, void.
            (26002, (1, 5, 10, 6)),
            (2600202, (2, 9, 2, 2)),
            (2600202, (8, 9, 2, 2)),
            (2600203, (1, 6, 1, 1)),
            (2600200, (5, 5, 2, 1)),
            (2600005, (12, 5, 6, 6)),  # car 0 is all chassis
            (33001, (12, 12, 5, 2)),  # a bicycle has no parts
            # A person with a head and the artefact.
            (2401002, (19, 7, 2, 2)),
            (2401005, (19, 9, 2, 4)),
        ],
        "ulm/ulm_000001_000019": [(7, (0, 8, 24, 8))],  # road only
    },
    "val": {
        "lindau/lindau_000000_000019": [
            (25000, (3, 3, 5, 9)),
            (2500004, (3, 8, 5, 4)),
            (28003, (10, 0, 9, 9)),
        ]
    },
}


def labels(painted: list[Painted]) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Later ones over earlier ones."""
    out = np.zeros((HEIGHT, WIDTH), np.int32)
    for number, (x, y, width, height) in painted:
        out[y : y + height, x : x + width] = number
    return out


def save(path: Path, numbers: np.ndarray[Any, Any]) -> None:
    """As a .tif of 32-bit integers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbers).save(path, compression="tiff_lzw")


def write(root: Path) -> None:
    for split, images in IMAGES.items():
        for name, painted in images.items():
            save(root / "gtFinePanopticParts" / split / f"{name}_gtFinePanopticParts.tif", labels(painted))
            photograph = root / "leftImg8bit" / split / f"{name}_leftImg8bit.png"
            photograph.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (WIDTH, HEIGHT), "grey").save(photograph)
