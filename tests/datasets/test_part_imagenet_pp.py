"""PartImageNet++: a file a class, overlapping parts, discarded images."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from partdistillation.data.coco import read_instances, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.datasets import part_imagenet_pp
from partdistillation.datasets.part_datasets import Finding
from partdistillation.datasets.part_imagenet_pp import PartImageNetPP
from partdistillation.errors import InputError
from partdistillation.functional.masks import from_coco

DATASET = PartImageNetPP()


@pytest.fixture
def root(tmp_path: Path, fake: Callable[[str], ModuleType]) -> Path:
    fake("part_imagenet_pp").write(tmp_path / "data")
    return tmp_path / "data"


def problems(root: Path) -> list[str]:
    return [text for severity, text in DATASET.check(root) if severity == "problem"]


def test_round_trip(root: Path, tmp_path: Path) -> None:
    prepared = DATASET.write(root, "all", tmp_path / "out")
    # Of two images of two classes one is discarded; a fish has three parts, a shell two.
    assert (prepared.num_images, prepared.num_objects, prepared.num_parts) == (3, 3, 3 + 2 + 2)
    objects, parts = read_instances(prepared.objects), read_parts(prepared.parts)
    assert [(image.id, image.file_name) for image in objects.images] == [
        ("n01440764_0", "images/n01440764/n01440764_0.JPEG"),
        ("n01955084_0", "images/n01955084/n01955084_0.JPEG"),
        ("n01955084_1", "images/n01955084/n01955084_1.JPEG"),
    ]
    (fish,) = objects.of("n01440764_0")
    expected = np.zeros((10, 16), np.bool_)
    expected[1:5, :13] = True
    np.testing.assert_array_equal(from_coco(fish.segmentation, 10, 16), expected)
    found = parts_of(parts, parts.images[0])
    assert [(part.category, part.name) for part in found] == [
        ("n01440764", "head"),
        ("n01440764", "fin"),
        ("n01440764", "tail"),
    ]
    for number, part in enumerate(found):
        expected[:] = False
        expected[1:5, 4 * number : 4 * number + 5] = True
        np.testing.assert_array_equal(part.mask, expected)


def test_images_beside_each_other_in_train(root: Path, tmp_path: Path) -> None:
    (root / "train").mkdir()
    for path in (root / "images").rglob("*.JPEG"):
        path.rename(root / "train" / path.name)
    prepared = DATASET.write(root, "all", tmp_path / "out")
    assert read_instances(prepared.objects).images[0].file_name == "train/n01440764_0.JPEG"


def test_check(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(DATASET.check(root)) == [
        Finding("problem", "classes (files in json/): 2, published are 1000"),
        Finding("problem", "images: 3, published are 100000"),
        Finding("problem", "part categories: 5, published are 3310 or 3308"),
        Finding("problem", "parts: 7, published are 406364"),
        Finding("ok", "all 3 images are there"),
        Finding("ok", "3 images were read and are whole, of the annotated sizes"),
    ]
    for name, value in zip(
        ("NUM_CLASSES", "NUM_IMAGES", "NUM_PART_CATEGORIES", "NUM_PARTS"), (2, 3, 5, 7), strict=True
    ):
        monkeypatch.setattr(part_imagenet_pp, name, value)
    assert {severity for severity, _ in DATASET.check(root)} == {"ok"}


def test_missing_images(root: Path, tmp_path: Path) -> None:
    (root / "images" / "n01440764" / "n01440764_0.JPEG").unlink()
    with pytest.raises(InputError, match=r"no file for images/n01440764/n01440764_0.JPEG"):
        DATASET.write(root, "all", tmp_path / "out")
    assert "1 of 3 images are missing" in problems(root)[-1]
    assert "ImageNet's" in problems(root)[-1]


def test_bad_copies(root: Path, tmp_path: Path) -> None:
    fish = root / "json" / "n01440764.json"
    content = fish.read_text()
    for text, message in (
        ("{", "expected JSON"),
        (content.replace('"image_id": 0', '"image_id": 8'), "3 that point to no entry"),
        (json.dumps(json.loads(content) | {"images": []}), "the split is empty"),
    ):
        fish.write_text(text)
        with pytest.raises(InputError, match=message):
            DATASET.write(root, "all", tmp_path / "out")
        assert any("n01440764.json" in each for each in problems(root))
    fish.rename(root / "json" / "tench.json")
    with pytest.raises(InputError, match=r"tench.json: .* its parts have no object class"):
        DATASET.write(root, "all", tmp_path / "out")
    assert "its parts have no object class" in problems(root)[0]


def test_bad_list_of_discarded_images(root: Path, tmp_path: Path) -> None:
    for text in ('["n01440764_1.JPEG"]', "{", '{"a": 1}', '[{"name": "a"}]', "3"):
        (root / "discarded_data.json").write_text(text)
        with pytest.raises(InputError, match=r"discarded_data.json: expected a list"):
            DATASET.write(root, "all", tmp_path / "out")
    assert "discarded_data.json" in problems(root)[0]
    (root / "discarded_data.json").unlink()
    assert DATASET.write(root, "all", tmp_path / "out").num_images == 4


def test_no_annotations(tmp_path: Path) -> None:
    assert "found none" in problems(tmp_path)[0]
    assert "https://huggingface.co/datasets/lixiao20/PartImageNetPP" in problems(tmp_path)[0]


def test_an_image_without_usable_parts_is_kept(root: Path, tmp_path: Path) -> None:
    path = root / "json" / "n01955084.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"][:2]:
        annotation["segmentation"] = None
    path.write_text(json.dumps(content))
    prepared = DATASET.write(root, "all", tmp_path / "out")
    assert (prepared.num_images, prepared.num_objects) == (3, 2)
    assert "expected a segmentation, found none" in prepared.notes[0]
