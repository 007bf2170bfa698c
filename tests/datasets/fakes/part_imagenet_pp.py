"""A small PartImageNet++: a file a class, ImageNet's images in their class folders."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

HEIGHT, WIDTH = 10, 16
PARTS = {"n01440764": ("head", "fin", "tail"), "n01955084": ("shell", "body")}


def rectangle(x: int, y: int, width: int, height: int) -> list[float]:
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def document(synset: str, images: int = 2) -> dict[str, Any]:
    """A class's JSON: part p covers the columns 4p to 4p + 4, so that neighbours share one; rows 1 to 4."""
    return {
        "images": [
            {"id": i, "file_name": f"{synset}_{i}.JPEG", "height": HEIGHT, "width": WIDTH}
            for i in range(images)
        ],
        "annotations": [
            {
                "id": len(PARTS[synset]) * i + p,
                "image_id": i,
                "category_id": p + 1,
                "segmentation": [rectangle(4 * p, 1, 5, 4)],
                "iscrowd": 0,
            }
            for i in range(images)
            for p in range(len(PARTS[synset]))
        ],
        "categories": [{"id": p + 1, "name": name} for p, name in enumerate(PARTS[synset])],
    }


def write(root: Path) -> None:
    for synset in PARTS:
        content = document(synset)
        (root / "json").mkdir(parents=True, exist_ok=True)
        (root / "json" / f"{synset}.json").write_text(json.dumps(content), encoding="utf-8")
        folder = root / "images" / synset
        folder.mkdir(parents=True)
        for image in content["images"]:
            Image.new("RGB", (WIDTH, HEIGHT), "grey").save(folder / image["file_name"], "JPEG")
    discarded = [{"file_name": "n01440764_1.JPEG", "id": 1}]
    (root / "discarded_data.json").write_text(json.dumps(discarded), encoding="utf-8")
