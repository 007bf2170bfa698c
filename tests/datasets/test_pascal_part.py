"""Pascal Part: .mat files to COCO objects + parts, merged names and raw ones, and what can be wrong."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partdistillation.data.coco import read_instances, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.datasets import pascal_part
from partdistillation.datasets.part_datasets import Finding
from partdistillation.datasets.pascal_part import PASCAL_PARTS
from partdistillation.datasets.pascal_part_names import MERGED, PARTS
from partdistillation.errors import InputError
from partdistillation.functional.masks import from_coco

MERGING, RAW = PASCAL_PARTS
HEIGHT, WIDTH = 12, 20


@pytest.fixture
def module(fake: Callable[[str], ModuleType]) -> ModuleType:
    return fake("pascal_part")


@pytest.fixture
def copy(tmp_path: Path, module: ModuleType) -> Path:
    module.write(tmp_path / "data")
    return tmp_path / "data"


def problems(root: Path) -> list[str]:
    """Without those about numbers, which no small copy has right."""
    return [
        text
        for severity, text in MERGING.check(root)
        if severity == "problem" and "published are" not in text
    ]


def union_of(module: ModuleType, *boxes: tuple[int, int, int, int]) -> np.ndarray[Any, Any]:
    out: np.ndarray[Any, Any] = np.any([module.rectangle(box) for box in boxes], axis=0)
    return out


def test_masks_come_back_with_merged_names(copy: Path, tmp_path: Path, module: ModuleType) -> None:
    prepared = MERGING.write(copy, "train", tmp_path / "out")
    assert (prepared.num_images, prepared.num_objects, prepared.num_parts) == (2, 4, 7)
    assert prepared.notes == ()
    objects, parts = read_instances(prepared.objects), read_parts(prepared.parts)
    assert [image.id for image in objects.images] == ["2008_000002", "2009_000010"]
    assert all((prepared.images_dir / image.file_name).is_file() for image in objects.images)
    image = objects.images[0]
    assert [each.category.name for each in objects.of(image.id)] == ["horse", "car", "diningtable"]
    for each, (_, box, _) in zip(objects.of(image.id), module.OBJECTS["2008_000002"], strict=True):
        whole = from_coco(each.segmentation, HEIGHT, WIDTH)
        np.testing.assert_array_equal(whole, union_of(module, box))
    expected = [
        ("horse", "head", 1, [(1, 1, 3, 3)]),
        ("horse", "eye", 1, [(2, 2, 1, 1)]),
        ("horse", "leg", 1, [(2, 5, 1, 2), (2, 7, 1, 2), (8, 5, 1, 4)]),
        ("horse", "hoof", 1, [(2, 9, 1, 1)]),
        ("car", "wheel", 2, [(12, 6, 2, 2), (16, 6, 2, 2)]),
        ("car", "license plate", 2, [(14, 5, 1, 1)]),
    ]
    found = parts_of(parts, image)
    assert [(part.category, part.name, part.object_id) for part in found] == [each[:3] for each in expected]
    for part, (*_, boxes) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part.mask, union_of(module, *boxes))


def test_raw_names_and_regions(copy: Path, tmp_path: Path, module: ModuleType) -> None:
    prepared = RAW.write(copy, "trainval", tmp_path / "out")
    parts = read_parts(prepared.parts)
    found = [part for image in parts.images for part in parts_of(parts, image)]
    expected = [
        (category, name, box)
        for objects in module.OBJECTS.values()
        for category, _, boxes in objects
        for name, box in boxes.items()
    ]
    assert [(part.category, part.name) for part in found] == [each[:2] for each in expected]
    for part, (*_, box) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part.mask, union_of(module, box))


# The table of names


def test_names_cover_the_data_sets_own_list() -> None:
    """`part2ind.m` has so many names a class, without numbers; Pascal-Part-116 so many merged ones."""
    raw = {
        "aeroplane": 7, "bicycle": 6, "bird": 13, "bottle": 2, "bus": 13, "car": 13, "cat": 17, "cow": 19,
        "dog": 18, "horse": 21, "motorbike": 5, "person": 24, "pottedplant": 2, "sheep": 19, "train": 13,
        "tvmonitor": 1, "boat": 0, "chair": 0, "diningtable": 0, "sofa": 0,
    }  # fmt: skip
    assert {category: len(names) for category, names in MERGED.items()} == raw
    merged_116 = {
        "aeroplane": 6, "bicycle": 5, "bird": 9, "bottle": 2, "bus": 10, "car": 10, "cat": 9, "cow": 9,
        "dog": 10, "horse": 9, "motorbike": 4, "person": 14, "pottedplant": 2, "sheep": 9, "train": 7,
        "tvmonitor": 1, "boat": 0, "chair": 0, "diningtable": 0, "sofa": 0,
    }  # fmt: skip
    assert sum(merged_116.values()) == 116
    ours = {category: len(names) for category, names in PARTS.items()}
    assert {each: ours[each] - merged_116[each] for each in ours if ours[each] != merged_116[each]} == {
        "person": -1,
        "train": 4,
    }
    assert sum(ours.values()) == 119


@pytest.mark.parametrize(
    ("category", "written", "merged"),
    [
        ("horse", "lfho", "hoof"),
        ("horse", "rblleg", "leg"),
        ("person", "ruarm", "arm"),
        ("cat", "lbpa", "paw"),
        ("bicycle", "chainwheel", "chainwheel"),
        ("train", "hleftside", "head side"),
        ("bus", "backside", "back"),
    ],
)
def test_merged_names(category: str, written: str, merged: str) -> None:
    assert MERGED[category][written] == merged


# What can be wrong


Objects = list[dict[str, Any]]


def other_size(objects: Objects) -> None:
    objects[0]["parts"][0]["mask"] = np.ones((HEIGHT, WIDTH + 1), np.uint8)


def transposed(objects: Objects) -> None:
    objects[1]["mask"] = objects[1]["mask"].T


def no_mask(objects: Objects) -> None:
    objects[0]["mask"] = "none"


def no_class(objects: Objects) -> None:
    objects[0]["class"] = ""


def other_class(objects: Objects) -> None:
    objects[0]["class"] = "unicorn"


def nameless(objects: Objects) -> None:
    objects[0]["parts"][0]["part_name"] = 7


def no_field(objects: Objects) -> None:
    for each in objects:
        each["bbox"] = each.pop("class")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_size, "the mask of a horse head of the image's size, 20 x 12, found 21 x 12"),
        (transposed, "the mask of a car of the image's size, 20 x 12, found 12 x 20"),
        (no_mask, "expected the mask of a horse as numbers"),
        (no_class, "expected the class of an object, found"),
        (other_class, "20 classes of objects, found 'unicorn'"),
        (nameless, "expected the name of a part of a horse"),
        (no_field, "objects as structs with the fields class, mask, parts, found"),
    ],
)
def test_annotations_that_are_wrong(
    copy: Path, tmp_path: Path, module: ModuleType, change: Callable[[Objects], None], message: str
) -> None:
    path = copy / "Annotations_Part" / "2008_000002.mat"
    objects = module.annotation("2008_000002")
    change(objects)
    module.save(path, objects)
    with pytest.raises(InputError, match=message) as caught:
        MERGING.write(copy, "train", tmp_path / "out")
    assert str(caught.value).startswith(f"{path}: ")
    assert not (tmp_path / "out").exists()
    assert any(message.split(", found")[0] in text for text in problems(copy))


def test_parts_of_unknown_names_are_left_out(copy: Path, tmp_path: Path, module: ModuleType) -> None:
    objects = module.annotation("2010_000001")
    objects[0]["parts"][0]["part_name"] = "antenna"
    module.save(copy / "Annotations_Part" / "2010_000001.mat", objects)
    prepared = MERGING.write(copy, "val", tmp_path / "merged")
    assert prepared.num_parts == 2
    assert "a part of a person that isn't in the data set's list: 'antenna'" in prepared.notes[0]
    assert any(severity == "note" and "antenna" in text for severity, text in MERGING.check(copy))
    assert RAW.write(copy, "val", tmp_path / "raw").num_parts == 3


def test_missing_files(copy: Path, tmp_path: Path) -> None:
    annotation, image = (copy / "Annotations_Part/2008_000002.mat", copy / "VOCdevkit/VOC2010/JPEGImages")
    annotation.rename(tmp_path / "kept")
    with pytest.raises(InputError, match=r"annotation of every image of 'train', found none of 2008_000002"):
        MERGING.write(copy, "train", tmp_path / "out")
    (found,) = problems(copy)
    assert found.startswith("train: annotations are missing: 2008_000002.mat: get trainval.tar.gz")

    (tmp_path / "kept").rename(annotation)
    (image / "2009_000010.jpg").unlink()
    with pytest.raises(InputError, match=r"found no file for JPEGImages/2009_000010.jpg"):
        MERGING.write(copy, "train", tmp_path / "out")
    (found,) = problems(copy)
    assert "1 of 2 images are missing: JPEGImages/2009_000010.jpg: they are VOC 2010's" in found
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the split is empty"),
        ("2011_000003\n", "images up to 2010, found none"),
        ("2008_000002\n../../etc/passwd\n", "expected an image a line, as 2008_000002, found ../../etc"),
        (None, "expected the list of the split's images, found No such file"),
    ],
)
def test_lists_that_are_wrong(copy: Path, tmp_path: Path, content: str | None, message: str) -> None:
    path = copy / "VOCdevkit/VOC2010/ImageSets/Main/val.txt"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(InputError, match=message):
        MERGING.write(copy, "val", tmp_path / "out")
    assert any(message in text for text in problems(copy))


def test_an_image_set_without_parts_is_empty(copy: Path, tmp_path: Path, module: ModuleType) -> None:
    module.save(copy / "Annotations_Part" / "2010_000001.mat", [])
    with pytest.raises(InputError, match="1 images, 0 objects and 0 parts: the split is empty"):
        MERGING.write(copy, "val", tmp_path / "out")


def test_later_images_of_voc_2012_are_left_out(copy: Path, tmp_path: Path) -> None:
    (copy / "VOCdevkit" / "VOC2010").rename(copy / "VOCdevkit" / "VOC2012")
    with (copy / "VOCdevkit/VOC2012/ImageSets/Main/val.txt").open("a") as file:
        file.write("2011_000003\n")
    assert MERGING.write(copy, "val", tmp_path / "out").num_images == 1


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("Annotations_Part", "expected Annotations_Part/"),
        ("VOCdevkit", "expected VOCdevkit/VOC2010/JPEGImages"),
    ],
)
def test_other_layouts(copy: Path, tmp_path: Path, folder: str, message: str) -> None:
    (copy / folder).rename(copy / "elsewhere")
    with pytest.raises(InputError, match=message):
        MERGING.write(copy, "val", tmp_path / "out")
    (found,) = problems(copy)
    assert message in found


def test_check_counts(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(MERGING.check(copy))
    assert Finding("problem", "annotations (.mat files): 3, published are 10103") in found
    assert Finding("problem", "val: images: 1, published are 5105") in found
    assert Finding("ok", "train: 2 annotations were read and are sound") in found
    monkeypatch.setattr(pascal_part, "NUM_IMAGES", {"train": 2, "val": 1, "trainval": 3})
    assert {severity for severity, _ in MERGING.check(copy)} == {"ok"}


def test_pixels_of_photographs_are_read(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photograph = sorted((copy / "VOCdevkit" / "VOC2010" / "JPEGImages").iterdir())[0]
    with Image.open(photograph) as image:
        size = image.size
    Image.effect_noise(size, 99).convert("RGB").save(photograph, "JPEG")
    whole = photograph.read_bytes()
    photograph.write_bytes(whole[: len(whole) - 40])
    assert any(str(photograph) in problem for problem in problems(copy))
    assert "annotations" in capsys.readouterr().err


def test_published_numbers_add_up() -> None:
    numbers = pascal_part.NUM_IMAGES
    assert numbers["train"] + numbers["val"] == numbers["trainval"]


def test_photographs_are_whatever_they_are(copy: Path, tmp_path: Path) -> None:
    """Of another size than the masks."""
    Image.new("RGB", (WIDTH, HEIGHT - 1)).save(copy / "VOCdevkit/VOC2010/JPEGImages/2010_000001.jpg")
    with pytest.raises(InputError, match="of the image's size, 20 x 11, found 20 x 12"):
        MERGING.write(copy, "val", tmp_path / "out")


def test_a_folder_above_or_below_is_named(copy: Path, tmp_path: Path) -> None:
    for where in (copy.parent, copy / "VOCdevkit"):
        with pytest.raises(InputError, match=f"it is in {copy.resolve()}: give that folder"):
            MERGING.write(where, "val", tmp_path / "out")


def test_lists_of_other_editors(copy: Path, tmp_path: Path) -> None:
    """With a byte order mark and Windows' ends of lines."""
    path = copy / "VOCdevkit" / "VOC2010" / "ImageSets" / "Main" / "val.txt"
    path.write_bytes(b"\xef\xbb\xbf" + b"2010_000001\r\n")
    assert MERGING.write(copy, "val", tmp_path / "out").num_images == 1
