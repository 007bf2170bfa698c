"""A data set with part labels of one's own, written as COCO objects and parts, which every command reads.

    python examples/own_data_set.py mine out/mine

Here `mine/images/car/1.png` has its parts in `mine/labels/car/1.png`, a grey PNG: 0 is the background, 1, 2,
... are the parts named below, and all parts of an image are one object of the folder's class. Another layout
needs another `read`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from partdistillation.data.coco import CocoImage
from partdistillation.datasets.part_datasets import AnnotatedImage, write_split
from partdistillation.export.labels import ObjectLabel, PartLabel
from partdistillation.functional.masks import encoded

PART_NAMES = {"car": ("body", "wheel"), "bird": ("body", "wing", "beak")}


def read(root: Path) -> Iterator[AnnotatedImage]:
    """The images with their objects and parts, one at a time."""
    for number, path in enumerate(sorted((root / "labels").rglob("*.png")), start=1):
        labels = np.asarray(Image.open(path))
        name, category = path.relative_to(root / "labels").as_posix(), path.parent.name
        parts = tuple(
            PartLabel(part, encoded(labels == value))
            for value, part in enumerate(PART_NAMES[category], start=1)
            if (labels == value).any()
        )
        height, width = labels.shape
        whole = ObjectLabel(category, encoded(labels > 0), parts)
        yield AnnotatedImage(CocoImage(number, name, width, height), (whole,))


def main(root: Path, out: Path, *, split: str = "train") -> None:
    """Write `objects_train.json` and `parts_train.json` into `out`."""
    written = write_split(out, split, root / "images", read(root))
    print(f"{written.num_images} images, {written.num_objects} objects, {written.num_parts} parts")
    print("\n".join(written.notes))
    print(f"--images {written.images_dir} --objects {written.objects} --parts {written.parts}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
