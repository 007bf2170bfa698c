"""Data sets that are inputs as they are, ImageNet's folders and COCO 2017: what a copy of them lacks."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from partdistillation.classes.wordnet import Synset, WordNet
from partdistillation.data.image_folder import scan
from partdistillation.datasets import coco_instances, imagenet
from partdistillation.datasets.coco_instances import Coco
from partdistillation.datasets.imagenet import ImageNet
from partdistillation.datasets.part_datasets import Finding
from partdistillation.errors import InputError


@pytest.fixture(autouse=True)
def wordnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the three classes, whatever is installed."""
    names = {1507175: "bird", 2012849: "crane", 3126707: "crane"}
    synsets = {offset: Synset(offset, (name,), "", (), False) for offset, name in names.items()}
    monkeypatch.setattr(imagenet, "read_wordnet", lambda: WordNet(synsets, {}))


@pytest.fixture(params=["1k", "21k"])
def copy(request: pytest.FixtureRequest, tmp_path: Path, fake: Callable[[str], ModuleType]) -> Path:
    fake("imagenet").write(tmp_path / "data", request.param)
    return tmp_path / "data"


@pytest.fixture
def folder(tmp_path: Path, fake: Callable[[str], ModuleType]) -> Path:
    fake("imagenet").write(tmp_path / "data", "21k")
    return tmp_path / "data"


def found(root: Path, severity: str = "problem") -> list[str]:
    return [text for kind, text in ImageNet().check(root) if kind == severity]


def test_a_sound_copy(copy: Path) -> None:
    places = ["train: ", "val: "] if (copy / "train").is_dir() else [""]
    expected = [
        (
            "note",
            "3 classes, which no release has (ImageNet-1K: 1,000, ImageNet-21K, autumn 2011: 21,841, "
            "ImageNet-21K, winter 2021: 19,167)",
        ),
        ("ok", "images: 7 (published number: unknown)"),
        ("ok", "7 images, evenly chosen, were read and are whole"),
        (
            "ok",
            "all classes are synsets of WordNet 3.0: n01507175 bird, n02012849 crane, n03126707 crane",
        ),
    ]
    assert list(ImageNet().check(copy)) == [
        Finding(severity, place + text)  # type: ignore[arg-type]
        for place in places
        for severity, text in expected
    ]


def test_published_numbers(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "RELEASES", {3: "ImageNet-3"})
    monkeypatch.setattr(imagenet, "NUM_IMAGES", {("train", 3): 7, ("val", 3): 7, (".", 3): 7})
    assert {kind for kind, _ in ImageNet().check(copy)} == {"ok"}
    assert any(text.endswith("3 classes, as ImageNet-3") for text in found(copy, "ok"))
    monkeypatch.setattr(imagenet, "NUM_IMAGES", {("train", 3): 8, ("val", 3): 7, (".", 3): 8})
    assert [text.removeprefix("train: ") for text in found(copy)] == ["images: 7, published are 8"]


def test_what_is_counted_is_what_is_read(folder: Path) -> None:
    assert len(scan(folder).images) == 7
    assert scan(folder).categories == ("n01507175", "n02012849", "n03126707")


def test_files_that_were_cut_off(folder: Path) -> None:
    path = folder / "n02012849" / "n02012849_0.JPEG"
    path.write_bytes(path.read_bytes()[:-40])
    (problem,) = found(folder)
    assert problem.startswith(f"{path}: expected a whole, readable image")
    assert problem.endswith("get it at https://www.image-net.org/download.php")


def test_sample_is_spread_over_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "_SAMPLED", 4)
    read: list[str] = []
    monkeypatch.setattr(imagenet, "load_image", lambda path: read.append(path.name))
    for number in range(8):
        for image in "abc":
            path = tmp_path / f"n{number:08}" / f"{number}{image}.JPEG"
            path.parent.mkdir(exist_ok=True)
            path.touch()
    list(ImageNet().check(tmp_path))
    assert read == ["0a.JPEG", "2a.JPEG", "4a.JPEG", "6a.JPEG"]
    read.clear()
    for number in range(1, 8):
        for path in (tmp_path / f"n{number:08}").iterdir():
            path.rename(tmp_path / "n00000000" / path.name)
        (tmp_path / f"n{number:08}").rmdir()
    list(ImageNet().check(tmp_path))
    assert read == ["0a.JPEG", "2a.JPEG", "4a.JPEG", "6a.JPEG"]


def test_odd_folders(folder: Path) -> None:
    for name in ("n09999999", "birds", ".cache"):
        (folder / name).mkdir()
    (folder / "n09999999" / "notes.txt").touch()
    assert found(folder) == [
        "classes without an image: n09999999: get it at https://www.image-net.org/download.php",
        "no synsets of WordNet 3.0: n09999999",
    ]
    assert "folders that aren't named after synsets: birds" in found(folder, "note")


def test_without_wordnet(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> WordNet:
        raise InputError("expected WordNet's data.noun")

    monkeypatch.setattr(imagenet, "read_wordnet", missing)
    assert not found(folder)
    assert "the classes' names weren't looked up: expected WordNet's data.noun" in found(folder, "note")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("n01440764.tar", r"archives (n01440764.tar): unpack each into a folder of its name"),
        ("val/ILSVRC2012_val_00000001.JPEG", "images in no folder (ILSVRC2012_val_00000001.JPEG): sort them"),
        ("readme.txt", "found none: get it at https://www.image-net.org"),
    ],
)
def test_no_classes(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    (problem,) = found(tmp_path)
    assert message in problem


# COCO


@pytest.fixture
def coco(tmp_path: Path, fake: Callable[[str], ModuleType]) -> Path:
    fake("coco").write(tmp_path / "data")
    return tmp_path / "data"


def of_coco(root: Path) -> list[str]:
    """Problems, without those about numbers."""
    return [text for kind, text in Coco().check(root) if kind == "problem" and "published" not in text]


def test_coco_counts(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [
        Finding("problem", "train: images: 2, published are 118287"),
        Finding("problem", "train: objects: 2, published are 860001"),
        Finding("problem", "train: classes: 1, published are 80"),
        Finding("ok", "all 2 images are there"),
        Finding("ok", "2 images were read and are whole, of the annotated sizes"),
        Finding("problem", "val: images: 2, published are 5000"),
        Finding("problem", "val: objects: 2, published are 36781"),
        Finding("problem", "val: classes: 1, published are 80"),
        Finding("ok", "all 2 images are there"),
        Finding("ok", "2 images were read and are whole, of the annotated sizes"),
    ]
    assert list(Coco().check(coco)) == expected
    small = coco_instances.Published(images=2, objects=2)
    monkeypatch.setattr(coco_instances, "PUBLISHED", {"train": small, "val": small})
    monkeypatch.setattr(coco_instances, "NUM_CLASSES", 1)
    assert {kind for kind, _ in Coco().check(coco)} == {"ok"}


def test_coco_with_images_in_a_folder(coco: Path) -> None:
    (coco / "images").mkdir()
    (coco / "val2017").rename(coco / "images" / "val2017")
    assert not of_coco(coco)


def test_coco_that_lacks_files(coco: Path) -> None:
    (coco / "annotations" / "instances_train2017.json").unlink()
    (coco / "val2017" / "000000000285.jpg").unlink()
    annotations, images = of_coco(coco)
    assert annotations.startswith(f"train: {coco}: expected annotations/instances_train2017.json or")
    assert annotations.endswith("get annotations_trainval2017.zip at https://cocodataset.org/#download")
    assert images.startswith("1 of 2 images are missing: val2017/000000000285.jpg: get val2017.zip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(images=[]), "the split is empty"),
        (lambda d: d["annotations"][0].update(image_id=7), "1 annotations point to no image in it"),
        (lambda d: d["images"][0].update(width=0), "entries of images can't be used: 139"),
        (lambda d: d.pop("categories"), "expected a list `categories`"),
    ],
)
def test_coco_with_a_problem(coco: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    path = coco / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    assert any(message in text for text in of_coco(coco))


@pytest.mark.parametrize("dataset", [ImageNet(), Coco()])
def test_there_is_nothing_to_prepare(tmp_path: Path, dataset: ImageNet | Coco) -> None:
    with pytest.raises(InputError, match=f"{dataset.name}, split val.* there is nothing to prepare"):
        dataset.write(tmp_path, "val", tmp_path / "out")


def test_links_to_classes_will_do(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "n01507175").symlink_to(folder / "n01507175")
    Image.new("RGB", (4, 4)).save(folder / "n01507175" / "more.png")
    assert "images: 4 (published number: unknown)" in found(elsewhere, "ok")


def test_validation_images_in_no_folders_are_a_problem(
    tmp_path: Path, fake: Callable[[str], ModuleType]
) -> None:
    """As their archive unpacks: train/ alone would look like a whole copy."""
    fake("imagenet").write(tmp_path)
    for path in sorted((tmp_path / "val").rglob("*.JPEG")):
        path.rename(tmp_path / "val" / f"{path.parent.name}{path.name}")
    for folder in (tmp_path / "val").iterdir():
        if folder.is_dir():
            folder.rmdir()
    (found,) = [text for kind, text in ImageNet().check(tmp_path) if kind == "problem"]
    assert found.startswith("val: ")
    assert "images in no folder" in found


@pytest.mark.parametrize("where", ["..", "train/n01507175"])
def test_a_folder_above_or_below_is_named(
    tmp_path: Path, fake: Callable[[str], ModuleType], where: str
) -> None:
    root = tmp_path / "imagenet"
    fake("imagenet").write(root)
    (found,) = [text for kind, text in ImageNet().check(root / where) if kind == "problem"]
    assert f"it is in {root.resolve()}" in found
