"""The way out and back: what is written as COCO is read as the same, by us and by pycocotools."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO

from partdistillation.data.coco import CocoImage, read_instances, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.errors import InputError
from partdistillation.export.coco import document, write_objects, write_parts
from partdistillation.export.labels import Catalog, ImageLabels, ObjectLabel, PartLabel
from partdistillation.functional.masks import EncodedMask, encoded, from_coco

HEIGHT, WIDTH = 6, 8


def rectangle(y: slice, x: slice) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y, x] = True
    return mask


LEFT, RIGHT = rectangle(slice(0, 6), slice(0, 4)), rectangle(slice(0, 6), slice(4, 8))
WHEEL, DOOR = rectangle(slice(4, 6), slice(0, 2)), rectangle(slice(0, 2), slice(1, 3))
FAR_WHEEL = rectangle(slice(4, 6), slice(5, 7))

CAR = ObjectLabel(
    "Car", encoded(LEFT), (PartLabel("Wheel", WHEEL), PartLabel("Side Door", encoded(DOOR), 0.25)), 0.5
)
BUS = ObjectLabel("Bus", RIGHT, (PartLabel("Wheel", FAR_WHEEL),))
TREE = ObjectLabel("Bäume", DOOR)
IMAGES = [
    ImageLabels(CocoImage(5, "a.png", WIDTH, HEIGHT), (CAR, BUS)),
    ImageLabels(CocoImage("b", "b.png", WIDTH, HEIGHT), ()),
    ImageLabels(CocoImage("c", "c.png", WIDTH, HEIGHT), (TREE,)),
]


def test_parts_round_trip(tmp_path: Path) -> None:
    write_parts(tmp_path / "parts.json", IMAGES)
    dataset = read_parts(tmp_path / "parts.json")
    assert tuple(dataset.images) == tuple(labels.image for labels in IMAGES)
    assert [(category.name, category.supercategory) for category in dataset.categories] == [
        ("Bus Wheel", "Bus"),
        ("Car Side Door", "Car"),
        ("Car Wheel", "Car"),
    ]
    assert [annotation.score for annotation in dataset.of(5)] == [None, 0.25, None]
    parts = parts_of(dataset, dataset.images[0])
    assert [(part.category, part.name, part.object_id) for part in parts] == [
        ("Car", "Wheel", 1),
        ("Car", "Side Door", 1),
        ("Bus", "Wheel", 2),
    ]
    for part, mask in zip(parts, (WHEEL, DOOR, FAR_WHEEL), strict=True):
        np.testing.assert_array_equal(part.mask, mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_objects_round_trip_and_pycocotools_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "objects.json"
    write_objects(path, IMAGES)
    written = path.read_bytes()
    write_objects(path, IMAGES)
    assert path.read_bytes() == written
    assert [path.name for path in tmp_path.iterdir()] == ["objects.json"]

    dataset = read_instances(path)
    assert [(a.id, a.category.name, a.score) for a in dataset.of(5)] == [(1, "Car", 0.5), (2, "Bus", None)]
    assert [(a.id, a.category.name) for a in dataset.of("c")] == [(3, "Bäume")]
    np.testing.assert_array_equal(from_coco(dataset.of(5)[0].segmentation, HEIGHT, WIDTH), LEFT)

    theirs = COCO(str(path))
    assert theirs.anns[2]["bbox"] == [4, 0, 4, 6]
    assert theirs.anns[2]["area"] == 24
    np.testing.assert_array_equal(theirs.annToMask(theirs.anns[1]).astype(bool), LEFT)


@pytest.mark.parametrize("images", [IMAGES, IMAGES[1:2], []])
def test_files_hold_their_documents(tmp_path: Path, images: list[ImageLabels]) -> None:
    """Written entry by entry, they are what `json` writes at once; without labels too."""
    compact: dict[str, Any] = {"ensure_ascii": False, "separators": (",", ":")}
    path = tmp_path / "a.json"
    objects = [ImageLabels(labels.image, tuple(without_parts(labels))) for labels in images]
    write_objects(path, images)
    assert path.read_text() == f"{json.dumps(document(objects), **compact)}\n"
    write_parts(path, images)
    together, parts = document(images), json.loads(path.read_text())
    num_objects = len(document(objects)["annotations"])
    num_classes = len(document(objects)["categories"])
    for annotation in parts["annotations"]:
        annotation |= {
            "id": annotation["id"] + num_objects,
            "category_id": annotation["category_id"] + num_classes,
        }
    for category in parts["categories"]:
        category["id"] += num_classes
    for annotation in together["annotations"][num_objects:]:
        del annotation["attributes"]
    assert together["annotations"][num_objects:] == parts["annotations"]
    assert together["categories"][num_classes:] == parts["categories"]


def without_parts(labels: ImageLabels) -> list[ObjectLabel]:
    return [ObjectLabel(label.category, label.mask, (), label.score) for label in labels.objects]


def test_category_ids_are_places_in_a_catalog(tmp_path: Path) -> None:
    """Whatever is found. None takes a place but is no category; unknown names come after all known ones."""
    catalog: Catalog = {"Bus": ["Door", "Wheel"], "Car": [None, "Wheel", "Side Door", "Wheel"], "Van": []}
    known = [(1, "Bus"), (2, "Car"), (3, "Van")]
    parts = [(1, "Bus Door"), (2, "Bus Wheel"), (4, "Car Wheel"), (5, "Car Side Door")]
    for images, more in ((IMAGES, [(4, "Bäume")]), (IMAGES[1:2], [])):
        write_objects(tmp_path / "a.json", images, catalog)
        assert categories(json.loads((tmp_path / "a.json").read_text())) == [*known, *more]
        write_parts(tmp_path / "a.json", images, catalog)
        assert categories(json.loads((tmp_path / "a.json").read_text())) == parts
        together = document(images, catalog)
        others = [(10, name) for _, name in more]  # after 3 classes and 6 places of parts
        assert categories(together) == [*known, *others, *((3 + number, name) for number, name in parts)]
    used = [annotation["category_id"] for annotation in document(IMAGES, catalog)["annotations"]]
    assert used == [2, 1, 10, 7, 8, 5]


def categories(content: Any) -> list[tuple[int, str]]:
    return [(entry["id"], entry["name"]) for entry in content["categories"]]


@pytest.mark.usefixtures("unchecked")
def test_numbers_are_plain_and_what_coco_has_is_there(tmp_path: Path) -> None:
    score: Any = np.float32(0.5)
    image = CocoImage(1, "a.png", WIDTH, HEIGHT)
    write_objects(tmp_path / "a.json", [ImageLabels(image, (ObjectLabel("Car", LEFT, (), score),))])
    content = json.loads((tmp_path / "a.json").read_text())
    assert list(content) == ["info", "licenses", "images", "annotations", "categories"]
    assert (content["licenses"], content["annotations"][0]["score"]) == ([], 0.5)
    assert content["info"]["description"]


def test_damaged_masks_leave_nothing(tmp_path: Path) -> None:
    damaged = EncodedMask(encoded(LEFT[:, :3]).counts, HEIGHT, WIDTH)
    image = IMAGES[0].image
    with pytest.raises(InputError, match="fill"):
        write_objects(tmp_path / "a.json", [ImageLabels(image, (ObjectLabel("Car", damaged),))])
    car = ObjectLabel("Car", LEFT, (PartLabel("Wheel", damaged),))
    with pytest.raises(InputError, match="fill"):
        write_parts(tmp_path / "a.json", [ImageLabels(image, (car,))])
    assert not list(tmp_path.iterdir())
