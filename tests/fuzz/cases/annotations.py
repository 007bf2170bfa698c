"""Annotations: changed COCO files (a number is their seed), and some made to cost much (by name)."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mutations import changed_bytes, changed_document
from PIL import Image

from partdistillation.data.coco import read_instances
from partdistillation.errors import InputError
from partdistillation.functional.masks import decode
from partdistillation.objects.annotations import annotated_objects

EXPECTED = (InputError,)
HEIGHT, WIDTH = 20, 30


def write(folder: Path, case: str) -> None:
    if case.isdigit():
        (height, width), content = (HEIGHT, WIDTH), changed(int(case))
    else:
        (height, width), document = HOSTILE[case]()
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
    (folder / "images").mkdir(exist_ok=True)
    Image.new("RGB", (width, height)).save(folder / "images/a.png")
    (folder / "objects.json").write_bytes(content)


def read(folder: Path) -> None:
    """Every image of the file becomes a row, and every object of a row has the pixels that it says."""
    images_dir = folder / "images"
    dataset = read_instances(folder / "objects.json")
    for image in dataset.inputs(images_dir):
        row = annotated_objects(dataset, image, max_objects=1000, min_area=0.0)
        assert row.status in ("ok", "rejected")
        assert bool(row.reason) or row.status == "ok"
        for instance in row.objects:
            assert decode(instance.rle, row.height, row.width).sum() == instance.area


def changed(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    if rng.random() < 0.2:
        return changed_bytes(json.dumps(ordinary()).encode(), rng)
    return json.dumps(changed_document(ordinary(), rng)).encode(errors="surrogatepass")


def ordinary() -> dict[str, Any]:
    """Polygons, run lengths in both forms, crowds, and what exporters add."""
    segmentations: list[Any] = [
        [[2, 3, 12, 3, 12, 8, 2, 8]],
        [[0, 0, 3.5, 0, 3, 3, 0, 3], [10, 10, 20, 10, 15, 18]],
        {"size": [HEIGHT, WIDTH], "counts": [0, 100, 500]},
        {"size": [HEIGHT, WIDTH], "counts": "l2T9lcTl0Te0"},
    ]
    annotations = [
        {"id": place, "image_id": 1, "category_id": 1 + place % 2, "segmentation": segmentation, "iscrowd": 0}
        for place, segmentation in enumerate(segmentations)
    ]
    annotations[2] |= {"iscrowd": 1, "area": 100.0, "bbox": [0, 0, 5, 20], "score": 0.5}
    return {
        "info": {"year": 2024},
        "images": [
            {"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH},
            {"id": "2", "file_name": "none/b.png", "height": HEIGHT, "width": WIDTH},
        ],
        "categories": [{"id": 1, "name": "Cat", "supercategory": "animal"}, {"id": 2, "name": "Dog"}],
        "annotations": annotations,
    }


def with_segmentation(segmentation: object, height: int = HEIGHT, width: int = WIDTH) -> Any:
    document = ordinary()
    document["images"] = [{"id": 1, "file_name": "a.png", "height": height, "width": width}]
    document["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}]
    return (height, width), document


def zigzag(points: int, side: int) -> Any:
    """From side to side and back, a little lower each time."""
    outline = [
        coordinate for point in range(points) for coordinate in (side * (point % 2), side * point / points)
    ]
    return with_segmentation([outline], side, side)


def circle(points: int, side: int) -> Any:
    angles = [2 * math.pi * point / points for point in range(points)]
    outline = [side / 2 * (1 + part) for angle in angles for part in (math.cos(angle), math.sin(angle))]
    return with_segmentation([outline], side, side)


def named(file_name: str) -> Any:
    document = ordinary()
    document["images"][0]["file_name"] = file_name
    return (HEIGHT, WIDTH), document


HOSTILE: dict[str, Callable[[], Any]] = {
    "a zigzag of 100,000 points": lambda: zigzag(100_000, 1000),
    "a zigzag over 64 megapixels": lambda: zigzag(2000, 8000),
    "a circle of 100,000 points": lambda: circle(100_000, 1000),
    "100,000 polygons": lambda: with_segmentation([[1, 1, 9, 1, 9, 9]] * 100_000),
    "a million points of nothing": lambda: with_segmentation([[5, 5] * 1_000_000]),
    "coordinates of 1e300": lambda: with_segmentation([[-1e300, 0, 1e300, 0, 0, 1e300]]),
    "run lengths of 10^18": lambda: with_segmentation({"size": [HEIGHT, WIDTH], "counts": [0, 10**18]}),
    "a million runs": lambda: with_segmentation({"size": [HEIGHT, WIDTH], "counts": [0, 1] * 500_000}),
    "10 MB of runs as text": lambda: with_segmentation({"size": [HEIGHT, WIDTH], "counts": "0" * 10_000_000}),
    "a size of 10^9": lambda: with_segmentation({"size": [10**9, 10**9], "counts": "0"}),
    "200,000 brackets": lambda: ((HEIGHT, WIDTH), b"[" * 200_000),
    "200,000 brackets in an entry": lambda: (
        (HEIGHT, WIDTH),
        json.dumps(ordinary()).replace("12, 8", "[" * 200_000).encode(),
    ),
    "a number of 5,000 digits": lambda: (
        (HEIGHT, WIDTH),
        json.dumps(ordinary()).replace("12, 8", "1" * 5000).encode(),
    ),
    "a name of 300 bytes": lambda: named("a" * 300 + ".png"),
    "a path of 5,000 bytes": lambda: named("a/" * 2500 + "a.png"),
    "a name with a zero byte": lambda: named("a\0.png"),
    "a name that climbs": lambda: named("../images/a.png"),
    "half of a surrogate pair": lambda: named("\ud800.png"),
}
