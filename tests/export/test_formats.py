"""Every format writes its files into a folder."""

import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from partdistillation.config import Format
from partdistillation.errors import InputError
from partdistillation.export import coco, formats
from partdistillation.export.labels import Labels

FILES: dict[Format, set[str]] = {
    "coco": {"annotations.json"},
    "yolo": {"data.yaml", "labels"},
    "label-studio": {"tasks.json", "labels.xml"},
    "cvat": {"annotations.zip"},
    "fiftyone": {"labels.json", "load.py"},
    "datasets": {"README.md", "masks"},
    "masks": {"legend.json", "objects", "parts"},
}


@pytest.mark.parametrize("name", FILES)
def test_files(name: Format, tmp_path: Path, scenes: Any) -> None:
    assert formats.write(scenes.LABELS, tmp_path, name)
    assert {path.name for path in tmp_path.iterdir()} == FILES[name]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_pycocotools_links_parts_to_objects(tmp_path: Path, scenes: Any) -> None:
    formats.write(scenes.LABELS, tmp_path, "coco")
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


def test_fiftyone_is_told_where_the_photographs_are(tmp_path: Path, scenes: Any) -> None:
    images = tmp_path / "a folder"
    formats.write(scenes.LABELS, tmp_path, "fiftyone", images)
    script = (tmp_path / "load.py").read_text()
    compile(script, "load.py", "exec")
    assert repr(str(images)) in script
    assert "extra_attrs=True" in script


def test_names_that_are_alike_are_refused(tmp_path: Path) -> None:
    labels = Labels((), {"car": ["seat"], "car seat": []})
    with pytest.raises(InputError, match="'car seat'"):
        formats.write(labels, tmp_path, "coco")


def test_coco_is_its_document(tmp_path: Path, scenes: Any) -> None:
    """What is put together of texts is what `json` writes at once."""
    formats.write(scenes.LABELS, tmp_path, "coco")
    document = coco.document(scenes.IMAGES, scenes.CATALOG)
    document["info"] = document["info"] | {"run": "0123"}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    assert (tmp_path / "annotations.json").read_text() == f"{text}\n"
