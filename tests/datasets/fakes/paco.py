"""A small PACO-LVIS: two objects of one class in an image, one with parts, and a class without."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from partdistillation.functional.masks import encode

HEIGHT, WIDTH = 12, 24
CATEGORIES = (
    {"id": 9, "name": "mug", "supercategory": "OBJECT"},
    {"id": 12, "name": "car_(automobile)", "supercategory": "OBJECT"},
    {"id": 301, "name": "mug:handle", "supercategory": "PART"},
    {"id": 302, "name": "mug:rim", "supercategory": "PART"},
    {"id": 400, "name": "car_(automobile):wheel", "supercategory": "PART"},
)


def rle(x: int, y: int, width: int, height: int) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[y : y + height, x : x + width] = True
    return {"size": [HEIGHT, WIDTH], "counts": encode(mask).decode()}


def document(split: str) -> dict[str, Any]:
    """Image 17: two mugs, the first with a handle and a rim; image 23: a car (a polygon) with a wheel."""
    folder = "val2017" if split == "val" else "train2017"

    def annotation(number: int, image: int, category: int, owner: int, mask: object) -> dict[str, Any]:
        return {
            "id": number,
            "image_id": image,
            "category_id": category,
            "obj_ann_id": owner,
            "segmentation": mask,
            "bbox": [0, 0, 1, 1],
            "area": 1.0,
            "attribute_ids": [],
        }

    return {
        "images": [
            {
                "id": number,
                "file_name": f"{folder}/{number:012d}.jpg",
                "height": HEIGHT,
                "width": WIDTH,
                "neg_category_ids": [],
            }
            for number in (17, 23)
        ],
        "annotations": [
            annotation(5, 17, 301, 7, rle(8, 3, 2, 4)),  # a part may come before its object
            annotation(7, 17, 9, 7, rle(2, 2, 8, 8)),
            annotation(8, 17, 302, 7, rle(2, 2, 6, 1)),
            annotation(11, 17, 9, 11, rle(14, 2, 6, 8)),
            annotation(12, 23, 12, 12, [[1, 1, 21, 1, 21, 11, 1, 11]]),
            annotation(13, 23, 400, 12, rle(3, 8, 3, 3)),
        ],
        "categories": list(CATEGORIES),
        "part_categories": [{"id": 1, "name": "handle", "supercategory": "PART"}],
        "attributes": [],
    }


def write(root: Path) -> None:
    for split in ("train", "val", "test"):
        content = document(split)
        (root / "annotations").mkdir(parents=True, exist_ok=True)
        (root / "annotations" / f"paco_lvis_v1_{split}.json").write_text(
            json.dumps(content), encoding="utf-8"
        )
        for image in content["images"]:
            path = root / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (WIDTH, HEIGHT), "grey").save(path)
