"""PACO-LVIS: parts tied to their objects by `obj_ann_id`, objects without parts, and what can be wrong."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from partdistillation.data.coco import read_instances, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.datasets import paco
from partdistillation.datasets.paco import Paco, Published
from partdistillation.datasets.part_datasets import Finding
from partdistillation.errors import InputError
from partdistillation.functional.masks import from_coco

DATASET = Paco()


@pytest.fixture
def root(tmp_path: Path, fake: Callable[[str], ModuleType]) -> Path:
    fake("paco").write(tmp_path / "data")
    return tmp_path / "data"


def edit(root: Path, change: Callable[[dict[str, Any]], object], split: str = "val") -> None:
    path = root / "annotations" / f"paco_lvis_v1_{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def problems(root: Path) -> list[str]:
    return [text for severity, text in DATASET.check(root) if severity == "problem"]


def test_parts_stay_with_their_objects(root: Path, tmp_path: Path) -> None:
    prepared = DATASET.write(root, "val", tmp_path / "out")
    assert (prepared.num_images, prepared.num_objects, prepared.num_parts, prepared.notes) == (2, 3, 3, ())
    objects, parts = read_instances(prepared.objects), read_parts(prepared.parts)
    assert [image.file_name for image in objects.images] == [
        "val2017/000000000017.jpg",
        "val2017/000000000023.jpg",
    ]
    mugs = objects.of(17)
    assert [mug.category.name for mug in mugs] == ["mug", "mug"]
    expected = np.zeros((12, 24), np.bool_)
    expected[2:10, 2:10] = True
    np.testing.assert_array_equal(from_coco(mugs[0].segmentation, 12, 24), expected)
    found = parts_of(parts, parts.images[0])
    assert [(part.category, part.name, part.object_id) for part in found] == [
        ("mug", "handle", mugs[0].id),
        ("mug", "rim", mugs[0].id),
    ]
    (wheel,) = parts_of(parts, parts.images[1])
    assert (wheel.category, wheel.name) == ("car_(automobile)", "wheel")
    expected[:] = False
    expected[8:11, 3:6] = True
    np.testing.assert_array_equal(wheel.mask, expected)
    (car,) = objects.of(23)
    expected[:] = False
    expected[1:11, 1:21] = True
    np.testing.assert_array_equal(from_coco(car.segmentation, 12, 24), expected)


@pytest.mark.parametrize("folder", ["images", "coco"])
def test_images_below_a_folder(root: Path, tmp_path: Path, folder: str) -> None:
    (root / folder).mkdir()
    (root / "val2017").rename(root / folder / "val2017")
    prepared = DATASET.write(root, "val", tmp_path / "out")
    first = read_instances(prepared.objects).images[0]
    assert first.file_name == f"{folder}/val2017/000000000017.jpg"


def test_check(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(DATASET.check(root))
    assert found[:7] == [
        Finding("problem", "train: images: 2, published are 45790"),
        Finding("problem", "train: objects: 3, published are 217117"),
        Finding("problem", "train: parts: 3, published are 395071"),
        Finding("problem", "train: object classes: 2, published are 75"),
        Finding("problem", "train: part categories: 3, published are 456"),
        Finding("ok", "all 2 images are there"),
        Finding("ok", "2 images were read and are whole, of the annotated sizes"),
    ]
    monkeypatch.setattr(paco, "PUBLISHED", dict.fromkeys(paco.PUBLISHED, Published(2, 3, 3)))
    monkeypatch.setattr(paco, "NUM_OBJECT_CLASSES", 2)
    monkeypatch.setattr(paco, "NUM_PART_CATEGORIES", 3)
    assert {severity for severity, _ in DATASET.check(root)} == {"ok"}


def test_published_numbers_add_up() -> None:
    """With PACO-EGO4D's 81528 + 4240 + 53580 parts they are the 641K of its page."""
    assert sum(split.parts for split in paco.PUBLISHED.values()) + 81_528 + 4_240 + 53_580 == 641_405


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["categories"].pop(0), "expected an object class of every part category .* mug:handle"),
        (lambda d: d["annotations"][0].update(image_id=99), "1 that point to no entry of `images`"),
        (lambda d: d.update(images=[], annotations=[]), "the split is empty"),
        (lambda d: d["images"][0].update(file_name="val2017/1.jpg"), "no file for val2017/1.jpg"),
        (lambda d: d["images"][0].update(file_name="../1.jpg"), "inside the images directory"),
        (lambda d: d["annotations"][3].update(id=7), "annotations of different ids, found twice: 7"),
    ],
)
def test_bad_copies(
    root: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    before = problems(root)
    edit(root, change)
    with pytest.raises(InputError, match=message):
        DATASET.write(root, "val", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert set(problems(root)) - set(before)


@pytest.mark.parametrize(
    ("index", "change", "reason"),
    [
        (0, {"obj_ann_id": 8}, "annotation 5: expected an object's annotation in obj_ann_id, found 8"),
        (0, {"obj_ann_id": None}, "annotation 5: expected an object's annotation in obj_ann_id, found None"),
        (0, {"category_id": 400}, r"annotation 5: expected a part of mug, found one of car_\(automobile\)"),
        (0, {"segmentation": []}, "annotation 5: expected a segmentation, found only a box"),
        (0, {"segmentation": {"size": [3, 3], "counts": "0"}}, "annotation 5: Expected a run-length"),
    ],
)
def test_parts_that_cant_be_used_are_left_out(
    root: Path, tmp_path: Path, index: int, change: dict[str, Any], reason: str
) -> None:
    edit(root, lambda d: d["annotations"][index].update(change))
    prepared = DATASET.write(root, "val", tmp_path / "out")
    assert (prepared.num_objects, prepared.num_parts) == (3, 2)
    (note,) = prepared.notes
    assert re.search(reason, note)


def test_no_annotations(tmp_path: Path) -> None:
    found = problems(tmp_path)
    assert len(found) == 3
    assert "https://dl.fbaipublicfiles.com/paco/annotations/paco_lvis_v1.zip" in found[0]


def test_annotations_below_a_folder(root: Path, tmp_path: Path) -> None:
    """As detectron2 has its data sets: paco/annotations beside coco/."""
    (root / "paco").mkdir()
    (root / "annotations").rename(root / "paco" / "annotations")
    assert DATASET.write(root, "val", tmp_path / "out").num_objects == 3
