"""A result as a picture, as COCO that pycocotools reads, and as JSON."""

import contextlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from partdistillation.errors import InputError
from partdistillation.functional.masks import from_coco
from partdistillation.inference.result import FoundObject, FoundPart, Result
from partdistillation.pictures.colors import PALETTE

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pycocotools.coco import COCO


def rectangle(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    mask = np.zeros((40, 60), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.fixture
def result() -> Result:
    image = np.full((40, 60, 3), 130, dtype=np.uint8)
    wheel = FoundPart(2, "part 2", 0.75, rectangle(5, 20, 15, 30))
    body = FoundPart(0, "body <&>", 0.9, rectangle(5, 10, 35, 20))
    car = FoundObject("car", 0.98, rectangle(5, 10, 35, 30), (body, wheel))
    dog = FoundObject("dog", 0.5, rectangle(40, 5, 50, 35))
    return Result(image, (car, dog), "street/a.jpg")


def test_boxes(result: Result) -> None:
    assert result.objects[0].box == (5, 10, 35, 30)
    assert result.objects[0].parts[1].box == (5, 20, 15, 30)
    assert (result.height, result.width) == (40, 60)


def test_coco_is_read_by_pycocotools(result: Result) -> None:
    coco = COCO()
    coco.dataset = json.loads(json.dumps(result.to_coco()))
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [names[a["category_id"]] for a in annotations] == ["car", "dog", "car body <&>", "car part 2"]
    assert [a["score"] for a in annotations] == [0.98, 0.5, 0.9, 0.75]
    assert [a.get("object_id") for a in annotations] == [None, None, 1, 1]
    assert annotations[3]["bbox"] == [5, 20, 10, 10]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pycocotools' own, of numpy
        mask = coco.annToMask(annotations[3])
    assert np.array_equal(mask.astype(bool), result.objects[0].parts[1].mask)
    assert coco.loadImgs(1) == [{"id": 1, "file_name": "street/a.jpg", "width": 60, "height": 40}]


def test_json_holds_everything(result: Result) -> None:
    document = json.loads(result.to_json())
    assert (document["file_name"], document["width"], document["height"]) == ("street/a.jpg", 60, 40)
    car, dog = document["objects"]
    assert (car["category"], car["score"], car["box"]) == ("car", 0.98, [5, 10, 35, 30])
    assert dog["parts"] == []
    wheel = car["parts"][1]
    assert (wheel["part"], wheel["name"], wheel["score"]) == (2, "part 2", 0.75)
    assert np.array_equal(from_coco(wheel["mask"], 40, 60), result.objects[0].parts[1].mask)


def test_plot_shows_parts_in_their_colors_and_enlarges_small_images(result: Result) -> None:
    picture = np.asarray(result.plot()).astype(int)
    assert picture.shape[1] == 720
    assert picture.shape[0] > 480  # the legend below
    wheel = picture[25 * 12, 10 * 12]
    assert np.argmin(np.abs(PALETTE[:8].astype(int) - wheel).sum(axis=1)) == 2
    assert (picture[2 * 12, 57 * 12] == 130).all()
    assert np.array_equal(picture, np.asarray(result.plot()))


def test_the_better_part_is_seen_where_parts_overlap() -> None:
    whole = rectangle(0, 0, 60, 40)
    parts = (FoundPart(1, "part 1", 0.9, whole), FoundPart(3, "part 3", 0.2, whole))
    shown = np.asarray(
        Result(np.zeros((40, 60, 3), np.uint8), (FoundObject("car", 1.0, whole, parts),)).plot()
    )
    assert np.allclose(shown[240, 360], 0.6 * PALETTE[1], atol=2)


def test_save_makes_no_folder(result: Result, tmp_path: Path) -> None:
    for name in ("a.png", "a.json"):
        with pytest.raises(InputError, match=rf"Expected a folder \S+none to write {name} to, found none"):
            result.save(tmp_path / "none" / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".webp"])
def test_save_picture(result: Result, tmp_path: Path, suffix: str) -> None:
    path = result.save(tmp_path / f"parts{suffix}")
    with Image.open(path) as picture:
        assert picture.size == result.plot().size


def test_save_json(result: Result, tmp_path: Path) -> None:
    assert result.save(str(tmp_path / "parts.json")).read_text(encoding="utf-8") == result.to_json() + "\n"


@pytest.mark.parametrize("name", ["parts.gif", "parts", "parts.json.txt"])
def test_save_refuses_other_suffixes(result: Result, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"found '{name}'"):
        result.save(tmp_path / name)
    with pytest.raises(InputError, match=r"found 'parts.json'"):
        result.plot(tmp_path / "parts.json")


def test_an_image_without_objects(tmp_path: Path) -> None:
    empty = Result(np.zeros((500, 600, 3), dtype=np.uint8), ())
    assert empty.plot().size == (600, 500)
    assert empty.to_coco()["annotations"] == []
    assert json.loads(empty.to_json())["objects"] == []


def test_masks_of_another_size_are_refused(result: Result) -> None:
    with pytest.raises(InputError, match=r"size \(10, 10\), found \(40, 60\) in an object of class 'car'"):
        Result(np.zeros((10, 10, 3), dtype=np.uint8), result.objects)


def test_other_formats_have_the_ids_of_coco(result: Result) -> None:
    names = {entry["name"]: entry["id"] for entry in result.to_coco()["categories"]}
    in_order = [names[name] for name in ("car", "car body <&>", "car part 2", "dog")]
    assert [int(line.split()[0]) + 1 for line in result.to_yolo().splitlines()] == in_order
    document: Any = result.to_cvat()
    assert [entry["label_id"] + 1 for entry in document["items"][0]["annotations"]] == in_order
    objects, parts = result.to_masks()
    assert np.array_equal(objects == names["dog"], result.objects[1].mask)
    assert np.array_equal(parts == names["car part 2"], result.objects[0].parts[1].mask)
    task: Any = result.to_label_studio()
    assert len(task["predictions"][0]["result"]) == 4
