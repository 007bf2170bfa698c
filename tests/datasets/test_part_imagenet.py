"""PartImageNet: both releases in their layouts, both notions of an object class, and what can be wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partdistillation.data.coco import read_instances, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.datasets.part_datasets import Finding
from partdistillation.datasets.prepare import PART_DATASETS
from partdistillation.errors import InputError
from partdistillation.functional.masks import from_coco

RELEASES = {"part_imagenet": "segmentation", "part_imagenet_ood": "out_of_distribution"}


@pytest.fixture(params=RELEASES)
def copy(
    request: pytest.FixtureRequest, tmp_path: Path, fake: Callable[[str], ModuleType]
) -> tuple[str, Path]:
    fake("part_imagenet").write(tmp_path / "data", RELEASES[request.param])
    return request.param, tmp_path / "data"


@pytest.fixture
def ood(tmp_path: Path, fake: Callable[[str], ModuleType]) -> Path:
    fake("part_imagenet").write(tmp_path / "data", "out_of_distribution")
    return tmp_path / "data"


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def problems(name: str, root: Path) -> list[str]:
    return [text for severity, text in PART_DATASETS[name].check(root) if severity == "problem"]


def test_objects_are_unions_of_parts(copy: tuple[str, Path], tmp_path: Path) -> None:
    name, root = copy
    prepared = PART_DATASETS[name].write(root, "train", tmp_path / "out")
    assert (prepared.num_images, prepared.num_objects, prepared.num_parts, prepared.notes) == (4, 4, 8, ())
    objects, parts = read_instances(prepared.objects), read_parts(prepared.parts)
    assert [image.id for image in objects.images] == [
        "n02085620_10",
        "n02085620_11",
        "n02701002_10",
        "n02701002_11",
    ]
    assert all((prepared.images_dir / image.file_name).is_file() for image in objects.images)
    image = objects.images[3]
    (whole,) = objects.of(image.id)
    assert whole.category.name == "n02701002"
    expected = np.zeros((12, 20), np.bool_)
    expected[2:8, 1:13] = True  # columns 1 to 5, and 6 to 12
    np.testing.assert_array_equal(from_coco(whole.segmentation, 12, 20), expected)
    found = parts_of(parts, image)
    assert [(part.category, part.name, part.object_id) for part in found] == [
        ("n02701002", "Body", whole.id),
        ("n02701002", "Side Mirror", whole.id),
    ]
    first = expected.copy()
    first[:, 6:] = False
    np.testing.assert_array_equal(found[0].mask, first)


def whole_maps(root: Path, split: str) -> Path:
    """The later release's object masks: rows 1 to 9, columns 0 to 14 are class 7, the rest is background."""
    folder = root / "annotations" / f"{split}_whole"
    folder.mkdir(parents=True)
    labels = np.full((12, 20), 158, np.uint8)
    labels[1:10, :15] = 7
    for photograph in (root / "images" / split).iterdir():
        Image.fromarray(labels).save(folder / f"{photograph.stem}.png")
    return folder


def test_object_masks_of_the_later_release(tmp_path: Path, fake: Callable[[str], ModuleType]) -> None:
    root = tmp_path / "data"
    fake("part_imagenet").write(root, "segmentation")
    assert sum("no object masks" in text for _, text in PART_DATASETS["part_imagenet"].check(root)) == 3
    folder = whole_maps(root, "train")
    Image.new("L", (5, 5)).save(folder / "n02085620_10.png")
    (folder / "n02085620_11.png").unlink()
    prepared = PART_DATASETS["part_imagenet"].write(root, "train", tmp_path / "out")
    assert (prepared.num_objects, prepared.num_parts) == (4, 8)
    assert [note.partition("n02085620_")[2][:2] for note in prepared.notes] == ["10", "11"]
    assert "the object's own mask" in prepared.notes[0]
    objects = read_instances(prepared.objects)
    expected = np.zeros((12, 20), np.bool_)
    expected[1:10, :15] = True
    for image in objects.images[2:]:
        (whole,) = objects.of(image.id)
        np.testing.assert_array_equal(from_coco(whole.segmentation, 12, 20), expected)
    (union,) = objects.of(objects.images[1].id)
    assert from_coco(union.segmentation, 12, 20).sum() == 6 * (5 + 7)
    findings = [text for _, text in PART_DATASETS["part_imagenet"].check(root)]
    assert any("expected 20 x 12 pixels, as annotated, found 5 x 5" in text for text in findings)
    assert any("train: images without an object mask: n02085620_11.JPEG" in text for text in findings)


def test_object_masks_as_coco(tmp_path: Path, fake: Callable[[str], ModuleType]) -> None:
    """Without the label maps: the file of objects, whose images may be numbered otherwise."""
    module = fake("part_imagenet")
    module.write(tmp_path / "data", "segmentation")
    content = json.loads((tmp_path / "data" / "annotations" / "val" / "val.json").read_text())
    for image in content["images"]:
        image["id"] += 100
    content["categories"] = [{"id": 1, "name": "dog"}]
    content["annotations"] = [
        {"id": place, "image_id": image["id"], "category_id": 1, "iscrowd": 0}
        | {"segmentation": [module.rectangle(0, 0, 20, 10)], "bbox": [0, 0, 20, 10], "area": 200}
        for place, image in enumerate(content["images"])
    ]
    folder = tmp_path / "data" / "annotations" / "val_whole"
    folder.mkdir()
    (folder / "val.json").write_text(json.dumps(content))
    prepared = PART_DATASETS["part_imagenet"].write(tmp_path / "data", "val", tmp_path / "out")
    objects = read_instances(prepared.objects)
    for image in objects.images:
        (whole,) = objects.of(image.id)
        assert from_coco(whole.segmentation, 12, 20).sum() == 200
    texts = [text for _, text in PART_DATASETS["part_imagenet"].check(tmp_path / "data")]
    assert "val: 4 object masks were read and are sound" in texts


def test_supercategories_as_object_classes(copy: tuple[str, Path], tmp_path: Path) -> None:
    name, root = copy
    prepared = PART_DATASETS[f"{name}_supercategories"].write(root, "train", tmp_path / "out")
    names = [category.name for category in read_instances(prepared.objects).categories]
    assert names == ["Car", "Quadruped"]
    assert [category.name for category in read_parts(prepared.parts).categories] == [
        "Car Body",
        "Car Side Mirror",
        "Quadruped Body",
        "Quadruped Head",
    ]


def test_val_and_test_together(ood: Path, tmp_path: Path) -> None:
    """The paper's test set; the images of both files have the ids 0 and 1."""
    prepared = PART_DATASETS["part_imagenet_ood"].write(ood, "val_test", tmp_path / "out")
    objects = read_instances(prepared.objects)
    assert [image.file_name for image in objects.images] == [
        "val/n02088094/n02088094_10.JPEG",
        "val/n02088094/n02088094_11.JPEG",
        "test/n02814533/n02814533_10.JPEG",
        "test/n02814533/n02814533_11.JPEG",
    ]
    assert [objects.of(image.id)[0].category.name for image in objects.images] == [
        *["n02088094"] * 2,
        *["n02814533"] * 2,
    ]


def test_links_to_images_will_do(ood: Path, tmp_path: Path) -> None:
    (ood / "val").rename(tmp_path / "imagenet")
    (ood / "val").symlink_to(tmp_path / "imagenet")
    assert PART_DATASETS["part_imagenet_ood"].write(ood, "val", tmp_path / "out").num_images == 2


def test_check_counts(ood: Path) -> None:
    found = list(PART_DATASETS["part_imagenet_ood"].check(ood))
    assert Finding("problem", "train: images: 4, published are 16540") in found
    assert Finding("problem", "val: classes: 1, published are 19") in found
    assert Finding("problem", "all splits: part categories: 4, published are 40") in found
    assert Finding("ok", "all 4 images are there") in found
    assert not [text for _, text in found if "other release" in text or "missing" in text]


def test_published_numbers_add_up() -> None:
    """The README's table: 24095 images of 158 classes."""
    release: Any = PART_DATASETS["part_imagenet_ood"]
    assert sum(release.num_images.values()) == 24095
    assert sum(release.num_classes.values()) == 158


def test_a_whole_copy_has_no_problems(ood: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import partdistillation.datasets.part_imagenet as module

    for name, value in (("NUM_IMAGES", 8), ("NUM_CLASSES", 4), ("NUM_PART_CATEGORIES", 4)):
        monkeypatch.setattr(module, name, value)
    small = module.PartImageNet(
        "small",
        "small.zip",
        num_images={"train": 4, "val": 2, "test": 2},
        num_classes={"train": 2, "val": 1, "test": 1},
        disjoint=True,
    )
    assert {severity for severity, _ in small.check(ood)} == {"ok"}


def test_the_other_release_is_recognised(copy: tuple[str, Path]) -> None:
    name, root = copy
    other = next(each for each in RELEASES if each != name)
    assert any("this is the other release" in text for text in problems(other, root))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["categories"][0].pop("supercategory"), "name its object class as `supercategory`"),
        (lambda d: d["annotations"][0].update(image_id=99), "1 that point to no entry of `images`"),
        (lambda d: d.update(images=[]), "the split is empty"),
        (lambda d: d.update(annotations=[]), "0 objects and 0 parts: the split is empty"),
        (
            lambda d: d["images"][0].update(file_name="dog.JPEG"),
            r"val\.json: .* named after their classes .* 'dog.JPEG'",
        ),
        (
            lambda d: d["images"][0].update(file_name="n02088094_99.JPEG"),
            "no file for val/n02088094/n02088094_99.JPEG",
        ),
        (lambda d: d["images"][0].update(width=0), "expected width and height"),
        (lambda d: d["images"][1].update(file_name=d["images"][0]["file_name"]), "found twice: n02088094_10"),
        (lambda d: d.pop("images"), "expected a list `images`"),
    ],
)
def test_bad_copies(
    ood: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    before = problems("part_imagenet_ood", ood)
    edit(ood / "val.json", change)
    with pytest.raises(InputError, match=message):
        PART_DATASETS["part_imagenet_ood"].write(ood, "val", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert set(problems("part_imagenet_ood", ood)) - set(before)


def test_names_of_images_dont_matter_to_supercategories(ood: Path, tmp_path: Path) -> None:
    edit(ood / "val.json", lambda d: d["images"][0].update(file_name="dog.JPEG"))
    (ood / "val" / "n02088094" / "n02088094_10.JPEG").rename(ood / "val" / "dog.JPEG")
    prepared = PART_DATASETS["part_imagenet_ood_supercategories"].write(ood, "val", tmp_path / "out")
    assert [image.id for image in read_instances(prepared.objects).images] == ["dog", "n02088094_11"]


def test_missing_files(ood: Path, tmp_path: Path) -> None:
    (ood / "val.json").unlink()
    with pytest.raises(InputError, match=r"annotations/val/val.json or annotations/val.json or val.json"):
        PART_DATASETS["part_imagenet_ood"].write(ood, "val", tmp_path / "out")
    (found,) = [text for text in problems("part_imagenet_ood", ood) if text.startswith("val")]
    assert "get it at https://github.com/TACJu/PartImageNet" in found

    (ood / "test" / "n02814533" / "n02814533_10.JPEG").unlink()
    expected = "1 of 2 images are missing: test/n02814533/n02814533_10.JPEG"
    assert any(text.startswith(expected) for text in problems("part_imagenet_ood", ood))


def test_unusable_annotations_are_left_out(ood: Path, tmp_path: Path) -> None:
    """A region of a line only, and one of a category that isn't there."""

    def change(content: dict[str, Any]) -> None:
        content["annotations"][0]["segmentation"] = [[1, 1, 5, 5]]
        content["annotations"][3]["category_id"] = 77

    edit(ood / "val.json", change)
    prepared = PART_DATASETS["part_imagenet_ood"].write(ood, "val", tmp_path / "out")
    assert prepared.num_parts == 2
    assert "annotation 0: Expected a polygon of at least 3 points" in prepared.notes[0]
    assert "annotation 3: expected a category_id" in prepared.notes[1]
    notes = [text for severity, text in PART_DATASETS["part_imagenet_ood"].check(ood) if severity == "note"]
    assert len(notes) == 2
    assert "annotation 3" in notes[0]


def test_images_of_another_size_are_left_out(ood: Path, tmp_path: Path) -> None:
    """A copy that was shrunk would be scored against masks of other pixels."""
    for image in (ood / "val").rglob("*_10.JPEG"):
        Image.new("RGB", (10, 6)).save(image)
    dataset = PART_DATASETS["part_imagenet_ood"]
    prepared = dataset.write(ood, "val", tmp_path / "out")
    assert prepared.num_images == len(read_parts(prepared.parts).images) == 1
    (note,) = prepared.notes
    assert note.endswith("expected 20 x 12 pixels, as annotated, found 10 x 6")
    assert any("as annotated, found 10 x 6" in text for text in problems(dataset.name, ood))

    for image in (ood / "val").rglob("*_11.JPEG"):
        Image.new("RGB", (10, 6)).save(image)
    with pytest.raises(InputError, match=r"the split is empty; left out: image .* found 10 x 6"):
        dataset.write(ood, "val", tmp_path / "none")


def test_images_that_were_cut_off_are_found(ood: Path) -> None:
    path = next((ood / "val").rglob("*_10.JPEG"))
    path.write_bytes(path.read_bytes()[:-40])
    (found,) = [text for text in problems("part_imagenet_ood", ood) if str(path) in text]
    assert "expected a whole, readable image" in found


@pytest.mark.parametrize("where", ["..", "train", "val/n02088094"])
def test_a_folder_above_or_below_is_named(ood: Path, tmp_path: Path, where: str) -> None:
    with pytest.raises(InputError, match=f"it is in {ood.resolve()}: give that folder") as found:
        PART_DATASETS["part_imagenet_ood"].write(ood / where, "val", tmp_path / "out")
    assert "expected annotations/val/val.json" in str(found.value)
