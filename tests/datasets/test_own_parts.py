"""People's own files are checked before anything is learned from them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from partdistillation.config import Inputs
from partdistillation.datasets.own_parts import OwnParts, require_labels
from partdistillation.errors import ConfigError, InputError

Content = dict[str, Any]


@pytest.fixture
def inputs(drawings: Path) -> Inputs:
    return Inputs(
        images=drawings / "train",
        objects=drawings / "objects_train.json",
        parts=drawings / "parts_train.json",
    )


def changed(path: Path, change: Callable[[Content], object], folder: Path) -> Path:
    content = json.loads(path.read_text())
    change(content)
    out = folder / path.name
    out.write_text(json.dumps(content))
    return out


def without(name: str) -> Callable[[Content], object]:
    return lambda content: content.update({name: []})


def another_size(content: Content) -> None:
    content["images"][0].update(width=99)
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 1]


def test_whole_files_pass(inputs: Inputs) -> None:
    require_labels(inputs)
    require_labels(replace(inputs, parts=None))
    require_labels(replace(inputs, objects=None))
    require_labels(replace(inputs, objects=inputs.images))  # a folder of masks, say: stage 1 reads it


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("annotations"), "empty: no annotations"),
        (without("images"), "empty: no images"),
        (lambda content: content["annotations"][0].update(image_id=999), "1 annotations point to no image"),
        (lambda content: content["images"][0].update(file_name="x.png"), r"found no file for x\.png"),
        (lambda content: content["categories"][0].pop("supercategory"), "every part category to name its"),
        (lambda content: content["categories"][0].update(supercategory="tank"), "parts of no class in"),
        (lambda content: content["annotations"][0].update(segmentation={"size": [1, 1], "counts": [1]}),
         r"image 1 \(000000\.png\): annotation 1"),
        (another_size, r"another size in the two files: 000000\.png"),
    ],
)  # fmt: skip
def test_bad_parts_are_named(
    inputs: Inputs, tmp_path: Path, change: Callable[[Content], object], message: str
) -> None:
    parts = changed(inputs.need("parts"), change, tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        require_labels(replace(inputs, parts=parts))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("annotations"), "empty: no annotations"),
        (lambda content: content["annotations"][0].update(image_id=999), "1 annotations point to no image"),
        (lambda content: content["images"][0].update(file_name="x.png"), r"found no file for x\.png"),
        (lambda content: content["images"].pop(), "point to no image"),
    ],
)
def test_bad_objects_are_named(
    inputs: Inputs, tmp_path: Path, change: Callable[[Content], object], message: str
) -> None:
    objects = changed(inputs.need("objects"), change, tmp_path)
    with pytest.raises(InputError, match=message):
        require_labels(replace(inputs, objects=objects))


def test_an_image_of_another_size_is_named(inputs: Inputs, tmp_path: Path) -> None:
    def change(content: Content) -> None:
        content["images"][0].update(width=99)
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 1]

    parts = changed(inputs.need("parts"), change, tmp_path)
    with pytest.raises(InputError, match=r"image 1 \(000000\.png\): expected 99 x 64 pixels"):
        require_labels(replace(inputs, objects=None, parts=parts))


def test_paths_that_do_not_exist_are_named(inputs: Inputs, tmp_path: Path) -> None:
    for name in ("images", "objects", "parts"):
        with pytest.raises(ConfigError, match=f"--{name}: expected a file or folder"):
            require_labels(inputs.updated({name: str(tmp_path / "nothing")}))


SQUARE = [[1, 1, 9, 1, 9, 9, 1, 9]]


def coco(categories: list[Content], category_id: int) -> str:
    return json.dumps(
        {
            "images": [{"id": 0, "file_name": "a.rf.1.jpg", "width": 16, "height": 12}],
            "categories": categories,
            "annotations": [
                {"id": 1, "image_id": 0, "category_id": category_id, "segmentation": SQUARE, "iscrowd": 0}
            ],
        }
    )


def said(root: Path) -> list[tuple[str, str]]:
    return [(severity, text) for severity, text in OwnParts().check(root) if severity != "ok"]


def test_roboflows_root_category_and_files_without_a_suffix(tmp_path: Path) -> None:
    """Its root is of no class and has no annotation; the photograph lies beside the files."""
    categories = [
        {"id": 0, "name": "facade", "supercategory": "none"},
        {"id": 1, "name": "window", "supercategory": "facade"},
        {"id": 3, "name": "facade", "supercategory": "facade"},
    ]
    (tmp_path / "objects.json").write_text(coco(categories, 3))
    (tmp_path / "parts.json").write_text(coco(categories, 1))
    ((_, missing),) = said(tmp_path)
    assert missing.startswith("1 of 1 images are missing: images/a.rf.1.jpg") or "missing: a.rf.1" in missing
    Image.new("RGB", (16, 12)).save(tmp_path / "a.rf.1.jpg")
    assert said(tmp_path) == []
    (tmp_path / "parts.json").write_text(coco(categories, 0))
    assert said(tmp_path) == [
        ("problem", "parts.json: parts of no class in objects.json: 'facade' of 'none'")
    ]


def test_parts_of_one_class_without_supercategory(tmp_path: Path) -> None:
    Image.new("RGB", (16, 12)).save(tmp_path / "a.rf.1.jpg")
    objects, parts = tmp_path / "objects.json", tmp_path / "parts.json"
    objects.write_text(coco([{"id": 1, "name": "guide dog"}], 1))
    parts.write_text(coco([{"id": 1, "name": "head"}], 1))
    ((severity, text),) = said(tmp_path)
    assert (severity, text.endswith("add --parts-class 'guide dog'")) == ("note", True)
    inputs = Inputs(images=tmp_path, objects=objects, parts=parts)
    with pytest.raises(InputError, match="name it with --parts-class"):
        require_labels(inputs)
    require_labels(replace(inputs, parts_class="guide dog"))
