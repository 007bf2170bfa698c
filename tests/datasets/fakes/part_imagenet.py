"""A small PartImageNet: grey images, rectangles as parts, and the real files' quirks."""

import json
from pathlib import Path
from typing import Any, Literal

from PIL import Image

HEIGHT, WIDTH = 12, 20
CATEGORIES = ("Quadruped Head", "Quadruped Body", "Car Body", "Car Side Mirror")

Release = Literal["segmentation", "out_of_distribution"]

CLASSES: dict[Release, dict[str, tuple[str, ...]]] = {
    "segmentation": dict.fromkeys(("train", "val", "test"), ("n02085620", "n02701002")),
    "out_of_distribution": {
        "train": ("n02085620", "n02701002"),
        "val": ("n02088094",),
        "test": ("n02814533",),
    },
}
"""By release and split; those that start with n020 are quadrupeds, the others cars."""


def rectangle(x: int, y: int, width: int, height: int) -> list[float]:
    """The outline of the pixels x..x+width-1, y..y+height-1, as pycocotools fills it."""
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def document(release: Release, split: str, images: int = 2) -> dict[str, Any]:
    """A split's JSON: the parts of image i are the columns 1 to 4 + i, and 5 + i to 11 + i, rows 2 to 7."""
    names = [f"{synset}_{10 + i}.JPEG" for synset in CLASSES[release][split] for i in range(images)]
    annotations: list[dict[str, Any]] = []
    for image_id, name in enumerate(names):
        first = 0 if name.startswith("n020") else 2
        i = image_id % images
        for category, polygons in (
            # A polygon of one point beside the region, as some of the real files have.
            (first, [rectangle(1, 2, 4 + i, 6), [3.0, 3.0]]),
            (first + 1, [rectangle(5 + i, 2, 7, 6)]),
        ):
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": image_id,
                    "category_id": category,
                    "segmentation": polygons,
                    "iscrowd": 0,
                    "area": 1.0,
                    "bbox": [0, 0, 1, 1],
                }
            )
    return {
        "images": [
            {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}
            for number, name in enumerate(names)
        ],
        "annotations": annotations,
        "categories": [
            {"id": number, "name": name, "supercategory": name.split()[0]}
            for number, name in enumerate(CATEGORIES)
        ],
    }


def write(root: Path, release: Release) -> None:
    """The layout that each of the two zips unpacks to."""
    for split in CLASSES[release]:
        content = document(release, split)
        if release == "segmentation":
            annotations = root / "annotations" / split / f"{split}.json"
            images = {image["file_name"]: root / "images" / split for image in content["images"]}
        else:
            annotations = root / f"{split}.json"
            images = {
                image["file_name"]: root / split / image["file_name"][:9] for image in content["images"]
            }
        annotations.parent.mkdir(parents=True, exist_ok=True)
        annotations.write_text(json.dumps(content), encoding="utf-8")
        for name, folder in images.items():
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (WIDTH, HEIGHT), "grey").save(folder / name, "JPEG")
