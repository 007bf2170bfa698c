"""What is exported, corrected in a tool and read back: the same masks, each part with its object."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from partdistillation.config import Inputs
from partdistillation.data.coco import CocoImage, read_instances, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.datasets.corrected import read_corrected
from partdistillation.datasets.own_parts import require_labels
from partdistillation.errors import InputError, StoreError
from partdistillation.export import formats, label_studio
from partdistillation.export.labels import Catalog, ImageLabels, Labels, ObjectLabel, PartLabel
from partdistillation.functional.masks import decoded

HEIGHT, WIDTH = 12, 16
CATALOG: Catalog = {"car": ["wheel", "race stripe"], "race car": ["wheel"]}


def box(y: slice, x: slice) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y, x] = True
    return mask


WHEEL, FAR_WHEEL = box(slice(8, 12), slice(0, 4)), box(slice(8, 12), slice(9, 12))
NEAR = ObjectLabel("car", box(slice(0, 12), slice(0, 8)), (PartLabel("wheel", WHEEL),))
FAR = ObjectLabel("car", box(slice(0, 12), slice(8, 16)), (PartLabel("wheel", FAR_WHEEL),))
LABELS = Labels(
    (
        ImageLabels(CocoImage(1, "car/1.png", WIDTH, HEIGHT), (FAR, NEAR)),
        ImageLabels(CocoImage(2, "car/2.png", WIDTH, HEIGHT), ()),
    ),
    CATALOG,
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (folder := tmp_path / "images/car").mkdir(parents=True)
    for name in ("1.png", "2.png"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)
    return tmp_path / "images"


def exported(tool: str, folder: Path, objects: tuple[ObjectLabel, ...] = (FAR, NEAR)) -> Path:
    first, *others = tuple(LABELS.images)
    labels = Labels((replace(first, objects=objects), *others), CATALOG)
    match tool:
        case "coco":
            formats.write(labels, folder, "coco")
            return folder / "annotations.json"
        case "cvat":
            formats.write(labels, folder, "cvat")
            return folder / "annotations.zip"
    return written(folder, [annotated(label_studio.task(image)) for image in labels.images])


def annotated(task: Any) -> Any:
    """As Label Studio exports a task whose prediction somebody accepted."""
    return {"data": task["data"], "annotations": [{"result": task["predictions"][0]["result"]}]}


def written(folder: Path, content: object) -> Path:
    path = folder / "a.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("tool", ["coco", "cvat", "label-studio"])
def test_masks_come_back(tool: str, tmp_path: Path, images: Path) -> None:
    text = read_corrected(exported(tool, tmp_path), images, tmp_path / "own")
    assert text == "2 parts in 1 photographs; left out: 1 x photograph without masks"
    objects, parts = read_instances(tmp_path / "own/objects.json"), read_parts(tmp_path / "own/parts.json")
    (image,) = objects.images
    assert (image.file_name, image.width, image.height) == ("car/1.png", WIDTH, HEIGHT)
    far, near = parts_of(parts, image)
    assert (far.category, far.name, far.object_id, near.object_id) == ("car", "wheel", 1, 2)
    assert np.array_equal(decoded(far.encoded), FAR_WHEEL)
    assert np.array_equal(near.mask, WHEEL)
    own = tmp_path / "own"
    require_labels(Inputs(images=images, objects=own / "objects.json", parts=own / "parts.json"))


def test_ids_that_lead_nowhere_dont_decide(tmp_path: Path, images: Path) -> None:
    """CVAT numbers anew what it exports, so that `part_of` leads nowhere."""
    content = json.loads(exported("coco", tmp_path).read_text())
    for annotation in content["annotations"]:
        annotation.pop("object_id", None)
        annotation["attributes"] = {"part_of": 99}
    read_corrected(written(tmp_path, content), images, tmp_path / "own")
    parts = read_parts(tmp_path / "own/parts.json")
    assert [part.object_id for part in parts_of(parts, parts.images[0])] == [1, 2]


UPPER = ObjectLabel(
    "car", box(slice(0, 8), slice(0, 12)), (PartLabel("wheel", box(slice(4, 8), slice(0, 3))),)
)
LOWER = ObjectLabel(
    "car", box(slice(2, 12), slice(0, 12)), (PartLabel("wheel", box(slice(9, 12), slice(0, 3))),)
)
"""Both wheels lie on the lower car (12 and 9 pixels), and the first also on the upper one (12)."""


@pytest.mark.parametrize("tool", ["coco", "cvat", "label-studio"])
def test_a_link_decides_between_objects_that_overlap(tool: str, tmp_path: Path, images: Path) -> None:
    """By overlap alone the smaller object, the upper one, has what lies on both; the link says otherwise."""
    upper, lower = replace(UPPER, parts=()), replace(LOWER, parts=UPPER.parts + LOWER.parts)
    content = exported(tool, tmp_path, (upper, lower))
    read_corrected(content, images, tmp_path / "own")
    assert object_ids(tmp_path / "own") == [2, 2]


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ((1, 2), [1, 2]),
        ((2, 2), [2, 2]),
        ((None, 2), [1, 2]),  # what has no link goes by overlap: of 12 and 12 pixels, the smaller object
        ((2, 1), [2, 2]),  # the second wheel isn't on the upper car, but on the lower one
        ((2, 7), [1, 2]),  # one link leads nowhere: none is taken
        ((2, 3), [1, 2]),  # to a part
        ((2, 5), [1, 2]),  # to an object of another class
    ],
)
@pytest.mark.parametrize("attribute", [False, True])
def test_links_are_taken_where_they_are_consistent(
    links: tuple[int | None, int], expected: list[int], attribute: bool, tmp_path: Path, images: Path
) -> None:
    other = ObjectLabel("race car", box(slice(0, 2), slice(14, 16)))
    content = json.loads(exported("coco", tmp_path, (UPPER, LOWER, other)).read_text())
    objects, parts = content["annotations"][:3], content["annotations"][3:]
    objects[2]["id"] = 5
    for number, (part, link) in enumerate(zip(parts, links, strict=True), start=3):
        part |= {"id": number, "object_id": None if attribute else link, "attributes": {"part_of": link}}
        if not attribute:
            del part["attributes"]
    read_corrected(written(tmp_path, content), images, tmp_path / "own")
    assert object_ids(tmp_path / "own") == expected


def test_a_part_beside_its_object_stays_with_it(tmp_path: Path, images: Path) -> None:
    """Without the link its own mask would stand for another car."""
    aside = replace(NEAR, parts=(PartLabel("wheel", box(slice(8, 12), slice(14, 16))),))
    read_corrected(exported("label-studio", tmp_path, (aside,)), images, tmp_path / "own")
    assert object_ids(tmp_path / "own") == [1]
    assert len(read_instances(tmp_path / "own/objects.json").of(1)) == 1


def test_ids_that_several_regions_have_are_no_links(tmp_path: Path, images: Path) -> None:
    content = json.loads(exported("coco", tmp_path, (UPPER, LOWER)).read_text())
    for annotation in content["annotations"]:
        annotation["id"] = 1
        annotation.get("attributes", {})["part_of"] = 1
        if "object_id" in annotation:
            annotation["object_id"] = 1
    read_corrected(written(tmp_path, content), images, tmp_path / "own")
    assert object_ids(tmp_path / "own") == [1, 2]


def object_ids(own: Path) -> list[object]:
    """Of the parts from top to bottom."""
    parts = read_parts(own / "parts.json")
    by_row = sorted(
        parts_of(parts, parts.images[0]), key=lambda part: int(np.flatnonzero(part.mask.any(axis=1))[0])
    )
    return [part.object_id for part in by_row]


def test_parts_without_an_object_make_one(tmp_path: Path, images: Path) -> None:
    content = json.loads(exported("coco", tmp_path).read_text())
    content["annotations"] = [entry for entry in content["annotations"] if "object_id" in entry]
    read_corrected(written(tmp_path, content), images, tmp_path / "own")
    objects = read_instances(tmp_path / "own/objects.json")
    (car,) = objects.of(1)
    assert car.area == np.count_nonzero(WHEEL | FAR_WHEEL)


def test_folders_before_a_name_dont_matter(tmp_path: Path, images: Path) -> None:
    tasks = [annotated(label_studio.task(image)) for image in LABELS.images]
    tasks[0]["data"]["image"] = "/data/local-files/?d=shop%20photos/images/car/1.png"
    read_corrected(written(tmp_path, tasks), images, tmp_path / "own")
    assert read_instances(tmp_path / "own/objects.json").images[0].file_name == "car/1.png"


def test_the_last_annotation_counts_unless_it_was_cancelled(tmp_path: Path, images: Path) -> None:
    task = annotated(label_studio.task(LABELS.images[0]))  # type: ignore[index]
    task["annotations"] += [{"result": [], "was_cancelled": True}]
    assert read_corrected(written(tmp_path, [task]), images, tmp_path / "own").startswith("2 parts")
    task["annotations"] += [{"result": []}]
    with pytest.raises(InputError, match="drawn or corrected"):
        read_corrected(written(tmp_path, [task]), images, tmp_path / "other")


def test_polygons_are_read(tmp_path: Path, images: Path) -> None:
    """In per cent, as Label Studio has them: the left half of the image."""
    region = {"type": "polygonlabels", "original_width": WIDTH, "original_height": HEIGHT}
    half = [[0, 0], [50, 0], [50, 100], [0, 100]]
    results = [
        region | {"value": {"points": half, "polygonlabels": [label]}} for label in ("car", "car wheel")
    ]
    task = {"data": {"image": "/data/upload/1/car/1.png"}, "annotations": [{"result": results}]}
    read_corrected(written(tmp_path, [task]), images, tmp_path / "own")
    parts = read_parts(tmp_path / "own/parts.json")
    assert np.array_equal(parts_of(parts, parts.images[0])[0].mask, box(slice(0, 12), slice(0, 8)))


def test_brushes_with_separate_labels_are_read(tmp_path: Path, images: Path) -> None:
    """Of controls `Brush` and `Labels`: two results of one region; relations have no value."""
    task = annotated(label_studio.task(LABELS.images[0]))  # type: ignore[index]
    results = []
    for result in task["annotations"][0]["result"]:
        label = result["value"].pop("brushlabels")
        results.append(result | {"type": "brush", "from_name": "brush"})
        value = result["value"] | {"labels": label}
        results.append(result | {"type": "labels", "from_name": "labels", "value": value})
    results.append({"type": "relation", "from_id": "object-0", "to_id": "object-1", "direction": "right"})
    results.append({"type": "labels", "id": "gone", "value": {"labels": ["car"]}})
    results.append(results[0] | {"id": "unnamed"})
    task["annotations"][0]["result"] = results
    text = read_corrected(written(tmp_path, [task]), images, tmp_path / "own")
    assert text == ("2 parts in 1 photographs; left out: 1 x brush with 0 labels, 1 x labels, 1 x relation")
    parts = read_parts(tmp_path / "own/parts.json")
    far, near = parts_of(parts, parts.images[0])
    assert np.array_equal(far.mask, FAR_WHEEL)
    assert np.array_equal(near.mask, WHEEL)
    assert (far.object_id, near.object_id) == (1, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nothing", "COCO|JSON object"),
        ([{"data": {}}], "Label Studio"),
        ({"items": [{"annotations": []}], "categories": {"label": {"labels": []}}}, "Datumaro"),
        ([{"data": {"image": "car/1.png"}, "annotations": []}], "drawn or corrected"),
    ],
)
def test_other_files_are_refused(content: object, message: str, tmp_path: Path, images: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_corrected(written(tmp_path, content), images, tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_what_cannot_be_placed_is_refused(tmp_path: Path, images: Path) -> None:
    content = json.loads(exported("coco", tmp_path).read_text())
    (images / "car/1.png").unlink()
    with pytest.raises(InputError, match=r"car/1\.png.*--images"):
        read_corrected(tmp_path / "annotations.json", images, tmp_path / "own")
    Image.new("RGB", (WIDTH + 1, HEIGHT)).save(images / "car/1.png")
    with pytest.raises(InputError, match="another image"):
        read_corrected(tmp_path / "annotations.json", images, tmp_path / "own")
    content["categories"] = [
        {"id": entry["id"], "name": f"c{entry['id']}"} for entry in content["categories"]
    ]
    with pytest.raises(InputError, match=r"object class \(car\) and its parts"):
        read_corrected(written(tmp_path, content), images, tmp_path / "own")


def test_supercategories_that_own_nothing_are_no_object_classes(tmp_path: Path, images: Path) -> None:
    """As in COCO itself, whose car is a vehicle, and as labelme2coco writes them."""
    for supercategory in ("vehicle", "none", ""):
        content = json.loads(exported("coco", tmp_path).read_text())
        for category in content["categories"]:
            category["supercategory"] = supercategory or category["name"]
        out = tmp_path / f"own {supercategory}"
        read_corrected(written(tmp_path, content), images, out)
        assert {category.name for category in read_parts(out / "parts.json").categories} == {"car wheel"}


def test_classes_that_begin_alike_stay_apart_where_the_file_says_so(tmp_path: Path, images: Path) -> None:
    seat = ObjectLabel("car seat", FAR.mask, (PartLabel("belt", FAR_WHEEL),))
    catalog: Catalog = {"car": ["wheel"], "car seat": ["belt"]}
    labels = Labels((ImageLabels(LABELS.images[0].image, (NEAR, seat)),), catalog)  # type: ignore[index]
    formats.write(labels, tmp_path, "coco")
    formats.write(labels, tmp_path, "cvat")
    for name in ("annotations.json", "annotations.zip"):
        read_corrected(tmp_path / name, images, tmp_path / f"own {name}")
        parts = read_parts(tmp_path / f"own {name}/parts.json")
        own = [(part.category, part.name) for part in parts_of(parts, parts.images[0])]
        assert own == [("car", "wheel"), ("car seat", "belt")]


def test_of_nested_objects_the_smaller_has_the_part(tmp_path: Path, images: Path) -> None:
    outer = ObjectLabel("car", box(slice(0, 12), slice(0, 16)))
    labels = Labels((ImageLabels(LABELS.images[0].image, (outer, NEAR)),), CATALOG)  # type: ignore[index]
    formats.write(labels, tmp_path, "coco")
    read_corrected(tmp_path / "annotations.json", images, tmp_path / "own")
    parts = read_parts(tmp_path / "own/parts.json")
    assert [part.object_id for part in parts_of(parts, parts.images[0])] == [2]


def test_what_is_no_mask_is_counted(tmp_path: Path, images: Path) -> None:
    task = annotated(label_studio.task(LABELS.images[0]))  # type: ignore[index]
    task["annotations"][0]["result"] += [{"type": "rectanglelabels", "value": {}}] * 2
    text = read_corrected(written(tmp_path, [task]), images, tmp_path / "own")
    assert text.endswith("; left out: 2 x rectanglelabels")


def test_earlier_imports_are_kept(tmp_path: Path, images: Path) -> None:
    file = exported("coco", tmp_path)
    read_corrected(file, images, tmp_path / "own")
    with pytest.raises(StoreError, match="new or empty folder"):
        read_corrected(file, images, tmp_path / "own")


def test_two_entries_for_one_photograph_are_refused(tmp_path: Path, images: Path) -> None:
    task = annotated(label_studio.task(LABELS.images[0]))  # type: ignore[index]
    with pytest.raises(InputError, match=r"every photograph once, found car/1\.png"):
        read_corrected(written(tmp_path, [task, json.loads(json.dumps(task))]), images, tmp_path / "own")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda task: task["annotations"][0]["result"][0]["value"].update(rle=[300]), "OverflowError"),
        (lambda task: task["annotations"][0]["result"][0].update(original_width="wide"), "whole number"),
        (lambda task: task["annotations"][0]["result"][0]["value"].update(brushlabels=[7]), "expected text"),
        (lambda task: task.pop("annotations"), "expected annotations, found none"),
        (lambda task: task.update(data={"a": 1}), "`image`"),
    ],
)
def test_damaged_tasks_are_named(change: Any, message: str, tmp_path: Path, images: Path) -> None:
    task = annotated(label_studio.task(LABELS.images[0]))  # type: ignore[index]
    change(task)
    with pytest.raises(InputError, match=rf"a\.json: task 0: .*{message}"):
        read_corrected(written(tmp_path, [task]), images, tmp_path / "own")


def test_uploaded_images_are_found(tmp_path: Path, images: Path) -> None:
    (images / "b.png").write_bytes((images / "car/1.png").read_bytes())
    task = annotated(label_studio.task(LABELS.images[0]))  # type: ignore[index]
    task["data"]["image"] = "/data/upload/1/1a2b3c4d-b.png"
    read_corrected(written(tmp_path, [task]), images, tmp_path / "own")
    assert read_instances(tmp_path / "own/objects.json").images[0].file_name == "b.png"
