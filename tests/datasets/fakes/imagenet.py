"""A small ImageNet: a few classes of a few images each, in both layouts."""

from pathlib import Path
from typing import Literal

from PIL import Image

CLASSES = {"n01507175": 3, "n02012849": 2, "n03126707": 2}
"""Images a class, by the id of its synset."""


def write(root: Path, layout: Literal["1k", "21k"] = "1k") -> None:
    """The train and val folders of ImageNet-1K, or the one folder of 21K."""
    for place in ("train", "val") if layout == "1k" else (".",):
        for synset, count in CLASSES.items():
            folder = root / place / synset
            folder.mkdir(parents=True)
            for number in range(count):
                name = f"ILSVRC2012_val_{number:08}" if place == "val" else f"{synset}_{number}"
                # One of the real files is a PNG in spite of its name.
                kind = "PNG" if number == 1 else "JPEG"
                Image.new("RGB", (20, 12), "grey").save(folder / f"{name}.JPEG", kind)
