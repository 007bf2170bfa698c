"""Label maps and their legend, read back by Pillow."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partdistillation.errors import InputError
from partdistillation.export import formats, label_maps
from partdistillation.export.labels import Catalog, ImageLabels, Labels, ObjectLabel, PartLabel


def test_values_are_category_ids(tmp_path: Path, scenes: Any) -> None:
    formats.write(scenes.LABELS, tmp_path, "masks")
    with Image.open(tmp_path / "parts/street/a b.png") as picture:
        assert picture.mode == "P"
        parts = np.array(picture)
    assert np.array_equal(parts == scenes.IDS.parts["car", "window"], scenes.RING)
    assert np.array_equal(parts == scenes.IDS.parts["car", "wheel <&> é"], scenes.WHEELS)
    objects = np.array(Image.open(tmp_path / "objects/street/a b.png"))
    for number in (1, 2):
        assert np.array_equal(objects == number, scenes.MASKS[number])
    assert not np.array(Image.open(tmp_path / "parts/street/c.png")).any()


def test_colours_are_those_of_the_legend(tmp_path: Path, scenes: Any) -> None:
    formats.write(scenes.LABELS, tmp_path, "masks")
    legend = json.loads((tmp_path / "legend.json").read_text())
    colored = np.array(Image.open(tmp_path / "objects/street/a b.png").convert("RGB"))
    (car,) = (entry for entry in legend["objects"] if entry["object_class"] == "car")
    assert bytes(colored[scenes.LEFT][0].tolist()).hex() == car["color"].removeprefix("#")
    assert {entry["part"] for entry in legend["parts"]} == {"door", "window", "wheel <&> é"}


def test_all_categories_of_an_image_are_seen(scenes: Any) -> None:
    objects, parts = label_maps.maps(scenes.IMAGES[0], scenes.IDS)
    assert set(np.unique(objects).tolist()) == {0, 1, 2}
    assert set(np.unique(parts).tolist()) == {
        0,
        scenes.IDS.parts["car", "window"],
        scenes.IDS.parts["car", "wheel <&> é"],
    }


def test_many_categories_are_16_bit(tmp_path: Path, scenes: Any) -> None:
    catalog: Catalog = {"car": ["window", None, "wheel <&> é"], "bus": [f"part {n}" for n in range(300)]}
    formats.write(Labels(scenes.IMAGES, catalog), tmp_path, "masks")
    with Image.open(tmp_path / "parts/street/a b.png") as picture:
        assert picture.mode == "I;16"
        assert np.array(picture).max() == 2 + 3


def test_too_many_categories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="65535"):
        formats.write(Labels((), {"car": [f"part {n}" for n in range(2**16)]}), tmp_path, "masks")


def test_the_better_of_overlapping_masks_is_seen(scenes: Any) -> None:
    both = tuple(
        PartLabel(name, scenes.LEFT, score) for name, score in (("window", 0.9), ("wheel <&> é", 0.5))
    )
    image = ImageLabels(scenes.IMAGES[0].image, (ObjectLabel("car", scenes.LEFT, both),))
    _, parts = label_maps.maps(image, scenes.IDS)
    assert np.array_equal(parts == scenes.IDS.parts["car", "window"], scenes.LEFT)
