"""CVAT's archive, by Datumaro's documented layout; Datumaro itself reads it where it is installed."""

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from partdistillation.data.coco import CocoImage
from partdistillation.errors import InputError
from partdistillation.export import cvat, formats
from partdistillation.export.labels import ImageLabels, Labels
from partdistillation.functional.masks import from_coco


def read(folder: Path) -> Any:
    with ZipFile(folder / "annotations.zip") as archive:
        assert archive.namelist() == ["annotations/default.json"]
        return json.loads(archive.read("annotations/default.json"))


def test_labels_items_and_masks(tmp_path: Path, scenes: Any) -> None:
    formats.write(scenes.LABELS, tmp_path, "cvat")
    content = read(tmp_path)
    labels = content["categories"]["label"]["labels"]
    assert [(label["name"], label["parent"]) for label in labels] == [
        ("bus", ""),
        ("car", ""),
        ("bus door", "bus"),
        ("car window", "car"),
        ("unused 5", ""),
        ("car wheel <&> é", "car"),
    ]
    first, second = content["items"]
    assert first["image"] == {"path": "street/a b.jpg", "size": [scenes.HEIGHT, scenes.WIDTH]}
    assert (first["id"], second["annotations"]) == ("street/a b", [])
    for entry in first["annotations"]:
        assert np.array_equal(
            from_coco(entry["rle"], scenes.HEIGHT, scenes.WIDTH), scenes.MASKS[entry["label_id"] + 1]
        )
        assert entry["group"] == 0
    assert [entry["attributes"].get("part_of") for entry in first["annotations"]] == [None, 1, 1, None]
    assert first["annotations"][1]["attributes"] == {
        "part_of": 1,
        "part": "window",
        "object_class": "car",
        "score": 0.5,
    }


def test_the_same_content_gives_the_same_bytes(tmp_path: Path, scenes: Any) -> None:
    archives = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        formats.write(scenes.LABELS, tmp_path / name, "cvat")
        archives.append((tmp_path / name / "annotations.zip").read_bytes())
    assert archives[0] == archives[1]


def test_a_single_document(scenes: Any) -> None:
    content = cvat.document(scenes.IMAGES[0], scenes.IDS)
    assert content["items"] == [cvat.item(scenes.IMAGES[0], scenes.IDS)]


def test_datumaro_reads_it(tmp_path: Path, scenes: Any) -> None:
    datumaro: Any = pytest.importorskip("datumaro", reason="datumaro isn't installed")
    formats.write(scenes.LABELS, tmp_path, "cvat")
    with ZipFile(tmp_path / "annotations.zip") as archive:
        archive.extractall(tmp_path)
    dataset = datumaro.Dataset.import_from(str(tmp_path), "datumaro")
    item = next(entry for entry in dataset if entry.id == "street/a b")
    for annotation in item.annotations:
        assert np.array_equal(annotation.image.astype(bool), scenes.MASKS[annotation.label + 1])


def test_images_of_one_name_but_for_the_suffix_are_refused(tmp_path: Path) -> None:
    images = [
        ImageLabels(CocoImage(number, name, 8, 8), ()) for number, name in enumerate(("a.jpg", "a.png"))
    ]
    with pytest.raises(InputError, match=r"a\.jpg.*a\.png"):
        formats.write(Labels(images, {}), tmp_path, "cvat")


def test_an_image_without_a_name_has_one(scenes: Any) -> None:
    image = ImageLabels(CocoImage(1, "", 8, 8), ())
    assert cvat.item(image, scenes.IDS)["id"] == "image"
