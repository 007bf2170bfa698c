"""Every format writes its files."""

from pathlib import Path

import numpy as np

from partdistillation.data.coco import CocoImage, read_instances, read_parts
from partdistillation.export import formats
from partdistillation.export.labels import ImageLabels, ObjectLabel, PartLabel

MASK = np.ones((6, 8), bool)
IMAGES = [ImageLabels(CocoImage(5, "a.png", 8, 6), (ObjectLabel("Car", MASK, (PartLabel("Wheel", MASK),)),))]


def test_coco(tmp_path: Path) -> None:
    formats.write(IMAGES, tmp_path, "coco")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["objects.json", "predictions.json"]
    assert [category.name for category in read_instances(tmp_path / "objects.json").categories] == ["Car"]
    assert [part.name for part in read_parts(tmp_path / "predictions.json").categories] == ["Car Wheel"]
