"""Cityscapes Panoptic Parts: numbers of pixels to COCO objects + parts, and what can be wrong."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from partdistillation.data.coco import read_instances, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.datasets import cityscapes_part
from partdistillation.datasets.cityscapes_part import CityscapesPart, Label, decode_label
from partdistillation.datasets.part_datasets import Finding
from partdistillation.errors import InputError
from partdistillation.functional.masks import from_coco

DATASET = CityscapesPart()
HEIGHT, WIDTH = 16, 24
ANNOTATION = Path("gtFinePanopticParts/train/aachen/aachen_000000_000019_gtFinePanopticParts.tif")
PHOTOGRAPH = Path("leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png")


@pytest.fixture
def module(fake: Callable[[str], ModuleType]) -> ModuleType:
    return fake("cityscapes_part")


@pytest.fixture
def copy(tmp_path: Path, module: ModuleType) -> Path:
    module.write(tmp_path / "data")
    return tmp_path / "data"


def problems(root: Path) -> list[str]:
    """Without those about numbers, which no small copy has right."""
    return [
        text
        for severity, text in DATASET.check(root)
        if severity == "problem" and "published are" not in text
    ]


# The published rules


@pytest.mark.parametrize(
    ("number", "label"),
    [
        # The examples of the format's page.
        (23, Label(23, None, None)),
        (26, Label(26, None, None)),
        (26002, Label(26, 2, None)),
        (2401002, Label(24, 10, 2)),
        (2401000, Label(24, 10, 0)),
        (2300304, Label(23, 3, 4)),
        # Those of the authors' `decode_uids`, one of each length.
        (1, Label(1, None, None)),
        (12, Label(12, None, None)),
        (1234, Label(1, 234, None)),
        (12345, Label(12, 345, None)),
        (123456, Label(1, 234, 56)),
        (1234567, Label(12, 345, 67)),
        (0, Label(0, None, None)),
        (9_999_999, Label(99, 999, 99)),
    ],
)
def test_decodes_as_published(number: int, label: Label) -> None:
    assert decode_label(number) == label


@pytest.mark.parametrize("number", [-1, 100, 999, 10_000_000, 2**31 - 1])
def test_numbers_without_a_meaning(number: int) -> None:
    with pytest.raises(InputError, match=f"found {number}"):
        decode_label(number)


@given(st.integers(1, 99), st.integers(0, 999), st.integers(0, 99))
def test_any_label_comes_back(of_class: int, instance: int, part: int) -> None:
    whole = f"{of_class}{instance:03}"
    assert decode_label(int(whole)) == Label(of_class, instance, None)
    assert decode_label(int(f"{whole}{part:02}")) == Label(of_class, instance, part)


# Round trip


def test_masks_come_back(copy: Path, tmp_path: Path, module: ModuleType) -> None:
    prepared = DATASET.write(copy, "train", tmp_path / "out")
    assert (prepared.num_images, prepared.num_objects, prepared.num_parts, prepared.notes) == (2, 3, 4, ())
    objects, parts = read_instances(prepared.objects), read_parts(prepared.parts)
    assert [image.id for image in objects.images] == ["aachen_000000_000019", "ulm_000001_000019"]
    assert all((prepared.images_dir / image.file_name).is_file() for image in objects.images)
    image = objects.images[0]
    labels = module.labels(module.IMAGES["train"]["aachen/aachen_000000_000019"])
    masks = {
        each.category.name + str(each.id): from_coco(each.segmentation, HEIGHT, WIDTH)
        for each in objects.of(image.id)
    }
    assert list(masks) == ["car1", "person2", "car3"]
    # An object has the pixels without a part, the void ones and the artefact too.
    of_object = {
        "car1": (26002, 2600202, 2600203, 2600200),
        "person2": (2401002, 2401005),
        "car3": (2600005,),
    }
    for name, numbers in of_object.items():
        np.testing.assert_array_equal(masks[name], np.isin(labels, numbers))
    found = parts_of(parts, image)
    assert [(part.category, part.name, part.object_id) for part in found] == [
        ("car", "wheel", 1),
        ("car", "light", 1),
        ("person", "head", 2),
        ("car", "chassis", 3),
    ]
    for part, number in zip(found, (2600202, 2600203, 2401002, 2600005), strict=True):
        np.testing.assert_array_equal(part.mask, labels == number)
    assert objects.of("ulm_000001_000019") == ()


def test_objects_without_parts_are_written(copy: Path, tmp_path: Path) -> None:
    prepared = DATASET.write(copy, "val", tmp_path / "out")
    objects = read_instances(prepared.objects)
    assert [each.category.name for each in objects.of("lindau_000000_000019")] == ["rider", "bus"]
    assert [category.name for category in read_parts(prepared.parts).categories] == ["rider leg"]


def test_folders_named_after_archives(copy: Path, tmp_path: Path) -> None:
    for folder, archive in (
        ("gtFinePanopticParts", "gtFinePanopticParts_trainval"),
        ("leftImg8bit", "leftImg8bit_trainvaltest"),
    ):
        (copy / archive).mkdir()
        (copy / folder).rename(copy / archive / folder)
    prepared = DATASET.write(copy, "val", tmp_path / "out")
    assert read_instances(prepared.objects).images[0].file_name == (
        "leftImg8bit_trainvaltest/leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png"
    )
    assert not problems(copy)


# What can be wrong


def shifted(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    labels[0, 0] = 500
    return labels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shifted, "as a pixel's number, found 500"),
        (lambda labels: -labels, "expected labels >= 0"),
        (lambda labels: labels.astype(np.float32), "one channel of integers, found mode F"),
        (lambda labels: labels[:, 1:].copy(), "expected the image's size, 24 x 16, found 23 x 16"),
        (lambda labels: labels.T.copy(), "expected the image's size, 24 x 16, found 16 x 24"),
    ],
)
def test_annotations_that_are_wrong(
    copy: Path,
    tmp_path: Path,
    module: ModuleType,
    change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]],
    message: str,
) -> None:
    labels = module.labels(module.IMAGES["train"]["aachen/aachen_000000_000019"])
    module.save(copy / ANNOTATION, change(labels))
    with pytest.raises(InputError, match=message) as caught:
        DATASET.write(copy, "train", tmp_path / "out")
    assert str(caught.value).startswith(f"{copy / ANNOTATION}: ")
    assert not (tmp_path / "out").exists()
    assert any(message in text for text in problems(copy))


@pytest.mark.parametrize("content", [b"", b"II*\0", b"<html>"])
def test_damaged_annotations(copy: Path, tmp_path: Path, content: bytes) -> None:
    (copy / ANNOTATION).write_bytes(content)
    with pytest.raises(InputError, match=f"{ANNOTATION}: expected"):
        DATASET.write(copy, "train", tmp_path / "out")


def test_cut_off_annotations(copy: Path, tmp_path: Path) -> None:
    whole = (copy / ANNOTATION).read_bytes()
    for size in range(8, len(whole), 64):
        (copy / ANNOTATION).write_bytes(whole[:size])
        with pytest.raises(InputError, match=f"{ANNOTATION}: expected"):
            DATASET.write(copy, "train", tmp_path / "out")


def test_parts_of_another_class_are_left_out(copy: Path, tmp_path: Path, module: ModuleType) -> None:
    labels = module.labels(module.IMAGES["val"]["lindau/lindau_000000_000019"])
    labels[labels == 28003] = 2800306
    path = copy / "gtFinePanopticParts/val/lindau/lindau_000000_000019_gtFinePanopticParts.tif"
    module.save(path, labels)
    prepared = DATASET.write(copy, "val", tmp_path / "out")
    assert (prepared.num_objects, prepared.num_parts) == (2, 1)
    assert prepared.notes[0].endswith("bus 3: parts [6], which a bus doesn't have")
    assert any(severity == "note" and "bus 3: parts [6]" in text for severity, text in DATASET.check(copy))


def test_missing_files(copy: Path, tmp_path: Path) -> None:
    (copy / PHOTOGRAPH).rename(tmp_path / "kept")
    with pytest.raises(InputError, match=f"found no file for {PHOTOGRAPH}"):
        DATASET.write(copy, "train", tmp_path / "out")
    (found,) = problems(copy)
    assert f"1 of 2 images are missing: {PHOTOGRAPH}: get leftImg8bit_trainvaltest.zip" in found

    (tmp_path / "kept").rename(copy / PHOTOGRAPH)
    (copy / ANNOTATION).unlink()
    (found,) = problems(copy)
    assert found.startswith(
        f"train: images without an annotation: {PHOTOGRAPH.name}: get gtFinePanopticParts"
    )


def test_empty_splits(copy: Path, tmp_path: Path, module: ModuleType) -> None:
    (copy / "gtFinePanopticParts" / "val").rename(copy / "gone")
    with pytest.raises(InputError, match=r"expected annotations CITY/.*found none: the split is empty"):
        DATASET.write(copy, "val", tmp_path / "out")
    assert any("the split is empty" in text for text in problems(copy))
    module.save(copy / ANNOTATION, np.zeros((HEIGHT, WIDTH), np.int32))
    with pytest.raises(InputError, match="2 images, 0 objects and 0 parts: the split is empty"):
        DATASET.write(copy, "train", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_check_counts(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(DATASET.check(copy))
    assert Finding("problem", "train: annotations: 2, published are 2975") in found
    assert Finding("ok", "train: 2 annotations were read and are sound") in found
    monkeypatch.setattr(cityscapes_part, "NUM_IMAGES", {"train": 2, "val": 1})
    assert {severity for severity, _ in DATASET.check(copy)} == {"ok"}


def test_pixels_of_photographs_are_read(copy: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(copy / PHOTOGRAPH)
    whole = (copy / PHOTOGRAPH).read_bytes()
    (copy / PHOTOGRAPH).write_bytes(whole[: len(whole) // 2])
    (problem,) = problems(copy)
    assert str(copy / PHOTOGRAPH) in problem


def test_prepare_shows_how_far_it_is(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    DATASET.write(copy, "train", tmp_path / "out")
    images = len(list((copy / "leftImg8bit" / "train").rglob("*.png")))
    assert f"train: {images}/{images} images" in capsys.readouterr().err


def test_23_parts() -> None:
    assert sum(len(parts) for _, parts in cityscapes_part.CLASSES.values()) == 23


def test_images_may_be_of_other_kinds(copy: Path, tmp_path: Path) -> None:
    Image.new("L", (WIDTH, HEIGHT)).save(copy / PHOTOGRAPH)
    assert DATASET.write(copy, "train", tmp_path / "out").num_images == 2


def test_a_folder_above_is_named(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"it is in {copy.resolve()}: give that folder"):
        DATASET.write(copy.parent, "val", tmp_path / "out")
