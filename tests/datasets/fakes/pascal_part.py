"""A small Pascal Part: grey images, rectangles as parts, in the nested structs of the real .mat files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

HEIGHT, WIDTH = 12, 20
VOC = Path("VOCdevkit") / "VOC2010"
SPLITS = {"train": ("2008_000002", "2009_000010"), "val": ("2010_000001",)}

Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""

OBJECTS: Mapping[str, Sequence[tuple[str, Box, Mapping[str, Box]]]] = {
    "2008_000002": [
        # A horse of two legs, one of them in two pieces, and an eye that is in the head too.
        (
            "horse",
            (1, 1, 10, 9),
            {
                "head": (1, 1, 3, 3),
                "leye": (2, 2, 1, 1),
                "lfuleg": (2, 5, 1, 2),
                "lflleg": (2, 7, 1, 2),
                "rbuleg": (8, 5, 1, 4),
                "lfho": (2, 9, 1, 1),
            },
        ),
        (
            "car",
            (12, 2, 7, 6),
            {"wheel_1": (12, 6, 2, 2), "wheel_2": (16, 6, 2, 2), "fliplate": (14, 5, 1, 1)},
        ),
        # VOC calls it "diningtable"; it has a silhouette only.
        ("table", (0, 10, 20, 2), {}),
    ],
    "2009_000010": [("horse", (5, 1, 4, 4), {"head": (5, 1, 2, 2)})],
    "2010_000001": [
        ("person", (3, 0, 6, 12), {"llarm": (3, 4, 1, 4), "ruarm": (8, 2, 1, 4), "hair": (4, 0, 3, 1)})
    ],
}


def rectangle(box: Box) -> np.ndarray[Any, np.dtype[np.uint8]]:
    x, y, width, height = box
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y : y + height, x : x + width] = 1
    return mask


def structs(rows: Sequence[Mapping[str, object]]) -> np.ndarray[Any, Any]:
    """A 1 x n struct array; MATLAB's empty one, a 0 x 0 array, where there are no rows."""
    if not rows:
        return np.zeros((0, 0))
    out = np.zeros((1, len(rows)), dtype=[(field, object) for field in rows[0]])
    for place, row in enumerate(rows):
        for field, value in row.items():
            out[0, place][field] = value
    return out


def annotation(image_id: str) -> list[dict[str, Any]]:
    """The objects of an image, as `save` takes them."""
    return [
        {
            "class": category,
            "class_ind": 13,
            "mask": rectangle(box),
            "parts": [{"part_name": name, "mask": rectangle(part)} for name, part in parts.items()],
        }
        for category, box, parts in OBJECTS[image_id]
    ]


def save(path: Path, objects: Sequence[Mapping[str, Any]]) -> None:
    """Write an annotation, compressed, as the real ones are."""
    rows = [{**each, "parts": structs(each["parts"])} for each in objects]
    anno = structs([{"imname": path.stem, "objects": structs(rows)}])
    savemat(path, {"anno": anno}, do_compression=True)


def write(root: Path) -> None:
    for folder in ("Annotations_Part", VOC / "JPEGImages", VOC / "ImageSets" / "Main"):
        (root / folder).mkdir(parents=True)
    for split, ids in {**SPLITS, "trainval": SPLITS["train"] + SPLITS["val"]}.items():
        (root / VOC / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(ids) + "\n")
    for image_id in OBJECTS:
        save(root / "Annotations_Part" / f"{image_id}.mat", annotation(image_id))
        Image.new("RGB", (WIDTH, HEIGHT), "grey").save(root / VOC / "JPEGImages" / f"{image_id}.jpg")
