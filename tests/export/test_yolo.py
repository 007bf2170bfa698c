"""YOLO's files; supervision reads them back where it is installed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from partdistillation.data.coco import CocoImage
from partdistillation.errors import InputError
from partdistillation.export import formats, yolo
from partdistillation.export.labels import ImageLabels, Labels
from partdistillation.export.outlines import filled


def test_a_line_is_a_mask(tmp_path: Path, scenes: Any) -> None:
    written = formats.write(scenes.LABELS, tmp_path, "yolo")
    lines = (tmp_path / "labels/street/a b.txt").read_text().splitlines()
    numbers = [int(line.split()[0]) for line in lines]
    assert numbers == [number - 1 for number in (2, 3 + 1, 3 + 3, 1)]  # the car, its parts, the bus
    for line in lines:
        corners = np.array(line.split()[1:], float).reshape(-1, 2)
        assert np.all((corners >= 0) & (corners < 1))
        pixels = (corners * (scenes.WIDTH, scenes.HEIGHT)).astype(int)
        assert (
            scenes.iou(filled(pixels, scenes.HEIGHT, scenes.WIDTH), scenes.MASKS[int(line.split()[0]) + 1])
            > 0.85
        )
    assert not (tmp_path / "labels/street/c.txt").read_text()
    assert "4 masks" in written
    assert "0.9" in written


def test_classes_are_numbered_without_gaps(tmp_path: Path, scenes: Any) -> None:
    formats.write(scenes.LABELS, tmp_path, "yolo")
    content = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert content["names"] == {
        0: "bus",
        1: "car",
        2: "bus door",
        3: "car window",
        4: "unused 4",
        5: "car wheel <&> é",
    }


def test_photographs_that_would_share_a_file_are_refused(tmp_path: Path, scenes: Any) -> None:
    images = [ImageLabels(CocoImage(n, name, 8, 8), ()) for n, name in enumerate(("a/x.jpg", "a/X.png"))]
    with pytest.raises(InputError, match=r"a/x\.jpg.*a/X\.png"):
        formats.write(Labels(images, scenes.CATALOG), tmp_path, "yolo")


def test_supervision_reads_the_masks(tmp_path: Path, scenes: Any) -> None:
    supervision: Any = pytest.importorskip("supervision", reason="supervision isn't installed")
    from PIL import Image

    formats.write(scenes.LABELS, tmp_path, "yolo")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (scenes.WIDTH, scenes.HEIGHT)).save(tmp_path / "images/a b.png")
    dataset = supervision.DetectionDataset.from_yolo(
        images_directory_path=str(tmp_path / "images"),
        annotations_directory_path=str(tmp_path / "labels/street"),
        data_yaml_path=str(tmp_path / "data.yaml"),
        force_masks=True,
    )
    (_, _, detections) = next(iter(dataset))
    overlaps = [
        scenes.iou(mask.astype(bool), scenes.MASKS[int(number) + 1])
        for number, mask in zip(detections.class_id, detections.mask, strict=True)
    ]
    assert len(overlaps) == len(scenes.MASKS)
    assert np.mean(overlaps) > 0.9


def test_lines_of_one_image(scenes: Any) -> None:
    assert [line.split()[0] for line in yolo.lines_of(scenes.IMAGES[0], scenes.IDS)] == ["1", "3", "5", "0"]
