"""Every format writes its files into a folder."""

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools.coco import COCO

from partdistillation.config import Format
from partdistillation.errors import InputError
from partdistillation.export import formats
from partdistillation.export.labels import Labels


@pytest.fixture
def images(tmp_path: Path, scenes: Any) -> Path:
    folder = tmp_path / "images"
    for labels in scenes.IMAGES:
        path = folder / labels.image.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (scenes.WIDTH, scenes.HEIGHT)).save(path)
    return folder


FILES: dict[Format, set[str]] = {
    "coco": {"annotations.json"},
    "yolo": {"data.yaml", "images", "labels"},
    "label-studio": {"tasks.json", "labels.xml"},
    "cvat": {"annotations.zip"},
    "fiftyone": {"labels.json", "load.py"},
    "datasets": {"README.md", "masks"},
    "masks": {"legend.json", "objects", "parts"},
}


@pytest.mark.parametrize("name", FILES)
def test_files(name: Format, images: Path, tmp_path: Path, scenes: Any) -> None:
    (out := tmp_path / "out").mkdir()
    assert formats.write(scenes.LABELS, out, name, images)
    assert {path.name for path in out.iterdir()} == FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_photographs_are_copied(name: Format, images: Path, tmp_path: Path, scenes: Any) -> None:
    (out := tmp_path / "out").mkdir()
    formats.write(scenes.LABELS, out, name, images, copied=True)
    copied = out / "images/street/a b.jpg"
    assert copied.read_bytes() == (images / "street/a b.jpg").read_bytes()
    assert not os.path.islink(out / "images")  # noqa: PTH114


def test_missing_photographs_are_said(tmp_path: Path, scenes: Any) -> None:
    with pytest.raises(InputError, match=r"a b\.jpg: expected a photograph to copy"):
        formats.write(scenes.LABELS, tmp_path, "masks", tmp_path / "none", copied=True)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_pycocotools_links_parts_to_objects(tmp_path: Path, scenes: Any, images: Path) -> None:
    formats.write(scenes.LABELS, tmp_path, "coco", images)
    theirs = COCO(str(tmp_path / "annotations.json"))
    assert theirs.dataset["info"]["run"] == "0123"
    names = {number: category["name"] for number, category in theirs.cats.items()}
    assert names == scenes.IDS.names
    for annotation in theirs.anns.values():
        mask = theirs.annToMask(annotation).astype(bool)
        assert (mask == scenes.MASKS[annotation["category_id"]]).all()
    window = next(a for a in theirs.anns.values() if names[a["category_id"]] == "car window")
    assert names[theirs.anns[window["attributes"]["part_of"]]["category_id"]] == "car"
    assert window["attributes"] == {"part_of": window["object_id"], "part": "window", "object_class": "car"}
    results = [
        {key: annotation[key] for key in ("image_id", "category_id", "segmentation", "score")}
        for annotation in theirs.anns.values()
    ]
    assert len(theirs.loadRes(results).anns) == 4


def test_fiftyone_is_told_where_the_photographs_are(tmp_path: Path, scenes: Any, images: Path) -> None:
    formats.write(scenes.LABELS, tmp_path, "fiftyone", images)
    script = (tmp_path / "load.py").read_text()
    compile(script, "load.py", "exec")
    assert repr(str(images)) in script
    assert "extra_attrs=True" in script


def test_yolo_links_photographs_one_by_one(tmp_path: Path, scenes: Any, images: Path) -> None:
    """A link to their folder would lead readers to look for labels in there."""
    (out := tmp_path / "out").mkdir()
    formats.write(scenes.LABELS, out, "yolo", images)
    assert not os.path.islink(out / "images")  # noqa: PTH114
    assert (out / "images/street/a b.jpg").resolve() == images / "street/a b.jpg"
    (images / "street/c.png").unlink()
    with pytest.raises(InputError, match=r"c\.png: expected a photograph"):
        formats.write(scenes.LABELS, tmp_path / "new", "yolo", images)


def test_names_that_are_alike_are_refused(tmp_path: Path, scenes: Any, images: Path) -> None:
    labels = Labels((), {"car": ["seat"], "car seat": []})
    with pytest.raises(InputError, match="'car seat'"):
        formats.write(labels, tmp_path, "coco", images)
