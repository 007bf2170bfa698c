"""A small COCO 2017: polygons, a crowd region, and an image without objects."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

HEIGHT, WIDTH = 12, 20


def document() -> dict[str, Any]:
    def annotation(number: int, image: int, segmentation: object, crowd: int = 0) -> dict[str, Any]:
        return {
            "id": number,
            "image_id": image,
            "category_id": 18,
            "segmentation": segmentation,
            "area": 24.0,
            "bbox": [1.0, 1.0, 6.0, 4.0],
            "iscrowd": crowd,
        }

    square = [1.0, 1.0, 7.0, 1.0, 7.0, 5.0, 1.0, 5.0]
    return {
        "info": {"year": 2017},
        "licenses": [],
        "images": [
            {"id": number, "file_name": f"{number:012}.jpg", "height": HEIGHT, "width": WIDTH, "license": 1}
            for number in (139, 285)
        ],
        "annotations": [
            annotation(900, 139, [square]),
            annotation(901, 139, {"size": [HEIGHT, WIDTH], "counts": [0, 24, 216]}, crowd=1),
        ],
        "categories": [{"id": 18, "name": "dog", "supercategory": "animal"}],
    }


def write(root: Path) -> None:
    (root / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        content = document()
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
        for image in content["images"]:
            path = root / f"{split}2017" / image["file_name"]
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (WIDTH, HEIGHT), "grey").save(path)
