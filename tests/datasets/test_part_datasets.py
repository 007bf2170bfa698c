"""What all published data sets share: writing a split, its errors, and the two commands."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from partdistillation.commands import doctor
from partdistillation.commands import main as cli
from partdistillation.data.coco import CocoImage, read_instances, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.datasets import prepare as all_part_datasets
from partdistillation.datasets.part_datasets import (
    AnnotatedImage,
    Finding,
    PreparedSplit,
    compared,
    write_split,
)
from partdistillation.datasets.prepare import PART_DATASETS
from partdistillation.errors import InputError
from partdistillation.export.labels import ObjectLabel, PartLabel
from partdistillation.functional.masks import EncodedMask, encode, from_coco

HEIGHT, WIDTH = 6, 9


def mask(*columns: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    out = np.zeros((HEIGHT, WIDTH), np.bool_)
    out[1:4, list(columns)] = True
    return out


def image(identity: int = 1, name: str = "a.png") -> CocoImage:
    return CocoImage(identity, name, WIDTH, HEIGHT)


def photographs(root: Path, *names: str) -> Path:
    for name in names or ("a.png",):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / name)
    return root


CAR = ObjectLabel("Car", mask(0, 1, 2), (PartLabel("Side Door", mask(1)),))


def test_writes_what_it_was_given(tmp_path: Path) -> None:
    encoded = EncodedMask(encode(mask(5)), HEIGHT, WIDTH)
    two = (CAR, ObjectLabel("Bus", mask(4, 5), (PartLabel("Wheel", encoded),)))
    folder = photographs(tmp_path / "images", "a.png", "b.png")
    labelled = [AnnotatedImage(image(), two), AnnotatedImage(image(2, "b.png"), ())]
    prepared = write_split(tmp_path / "new" / "out", "val", folder, iter(labelled))
    out = tmp_path / "new" / "out"
    assert prepared == PreparedSplit(folder, out / "objects_val.json", out / "parts_val.json", 2, 2, 2)

    objects = read_instances(prepared.objects)
    assert tuple(objects.images) == (image(), image(2, "b.png"))
    assert [(each.id, each.category.name) for each in objects.of(1)] == [(1, "Car"), (2, "Bus")]
    np.testing.assert_array_equal(from_coco(objects.of(1)[1].segmentation, HEIGHT, WIDTH), mask(4, 5))
    parts = read_parts(prepared.parts)
    found = parts_of(parts, parts.images[0])
    assert [(each.category, each.name, each.object_id) for each in found] == [
        ("Car", "Side Door", 1),
        ("Bus", "Wheel", 2),
    ]
    np.testing.assert_array_equal(found[1].mask, mask(5))


masks = st.lists(st.integers(0, 2**WIDTH - 1), min_size=1, max_size=4).map(
    lambda rows: np.array([[row >> x & 1 for x in range(WIDTH)] for row in rows], np.bool_)
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["Car", "Bus"]), masks), min_size=1, max_size=5), st.booleans())
def test_any_mask_comes_back(
    tmp_path_factory: pytest.TempPathFactory, labels: list[tuple[str, Any]], encoded: bool
) -> None:
    root = tmp_path_factory.mktemp("any")
    images, kept = [], []
    for number, (category, drawn) in enumerate(labels, start=1):
        height, width = drawn.shape
        given_mask = EncodedMask(encode(drawn), height, width) if encoded else drawn
        Image.new("1", (width, height)).save(root / f"{number}.png")
        found = ObjectLabel(category, given_mask, (PartLabel("Part", given_mask),))
        images.append(AnnotatedImage(CocoImage(number, f"{number}.png", width, height), (found,)))
        kept += [drawn] if drawn.any() else []
    if not kept:
        with pytest.raises(InputError, match="the split is empty"):
            write_split(root / "out", "all", root, images)
        return
    prepared = write_split(root / "out", "all", root, images)
    dataset = read_parts(prepared.parts)
    back = [part.mask for each in dataset.images for part in parts_of(dataset, each)]
    assert len(back) == len(kept) == prepared.num_objects == prepared.num_parts
    for ours, theirs in zip(back, kept, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(prepared.notes) == min(len(labels) - len(kept), 4)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    nothing = np.zeros((HEIGHT, WIDTH), np.bool_)
    objects = (
        ObjectLabel("Bus", nothing, (PartLabel("Wheel", mask(1)),)),
        ObjectLabel("Car", mask(1), (PartLabel("Wheel", nothing), PartLabel("Door", mask(1)))),
    )
    labelled = [AnnotatedImage(image(), objects, ("annotation 7: no", "annotation 8: no"))]
    prepared = write_split(tmp_path / "out", "val", photographs(tmp_path), labelled)
    assert (prepared.num_objects, prepared.num_parts) == (1, 1)
    assert prepared.notes == (
        "left out: image 1 (a.png): annotation 7: no",
        "left out: image 1 (a.png): annotation 8: no",
        "left out: image 1 (a.png): a Bus without a pixel",
        "left out: and 1 more",
    )


@pytest.mark.parametrize(
    ("labelled", "message"),
    [
        ([], "0 images, 0 objects and 0 parts: the split is empty"),
        ([AnnotatedImage(image(), (ObjectLabel("Car", mask(1), ()),))], "1 objects and 0 parts"),
        (
            [AnnotatedImage(image(), (CAR,)), AnnotatedImage(image(), (CAR,))],
            "images of different ids in 'val', found twice: 1",
        ),
        ([AnnotatedImage(image(name="gone.png"), (CAR,))], "no file for gone.png: get the images"),
    ],
)
def test_bad_splits_leave_nothing(tmp_path: Path, labelled: list[AnnotatedImage], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_split(tmp_path / "out", "val", photographs(tmp_path / "images"), labelled)
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder_to_write_to(
    tmp_path: Path, fake: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    fake("paco").write(tmp_path / "data")
    (tmp_path / "out").touch()
    command = ["prepare", "paco", str(tmp_path / "data"), "--split", "val", "--out", str(tmp_path / "out")]
    assert cli.main(command) == 2
    assert "expected a folder to write to, found a file" in capsys.readouterr().err


def test_counts_beside_published_ones() -> None:
    assert compared("images", 3, 3) == Finding("ok", "images: 3, as published")
    assert compared("images", 3, 4) == Finding("problem", "images: 3, published are 4")
    assert compared("images", 3, None) == Finding("ok", "images: 3 (published number: unknown)")


def test_names_are_keys() -> None:
    assert {name: dataset.name for name, dataset in PART_DATASETS.items()} == {
        name: name for name in PART_DATASETS
    }


class Fixed:
    """A data set with given findings, which writes nothing."""

    name = "fixed"
    splits = ("val",)

    def __init__(self, *found: Finding) -> None:
        self.found = found

    def check(self, root: Path) -> Iterator[Finding]:
        assert root.is_dir()
        yield from self.found

    def write(self, root: Path, split: str, out: Path) -> PreparedSplit:
        names = (out / f"o_{split}.json", out / f"p_{split}.json")
        return PreparedSplit(root, *names, 2, 3, 4, ("left out: one",))


def test_doctor_prints_findings_in_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Finding("ok", "fine [b]"), Finding("note", "long " * 30), Finding("problem", "x" * 100)]
    monkeypatch.setattr(all_part_datasets, "PART_DATASETS", {"fixed": Fixed(*found)})
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(InputError, match=r"whole copy of fixed, found 1 problems, listed above"):
        doctor.check_dataset("fixed", tmp_path)
    printed = capsys.readouterr().out
    assert " ok       fine [b]" in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.count("long") == 30
    assert printed.count("x") == 100

    monkeypatch.setattr(all_part_datasets, "PART_DATASETS", {"fixed": Fixed(*found[:2])})
    assert cli.main(["doctor", "--dataset", "fixed", str(tmp_path)]) == 0


def test_prepare_prints_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(all_part_datasets, "PART_DATASETS", {"fixed": Fixed()})
    (tmp_path / "my data").mkdir()
    assert cli.main(["prepare", "fixed", str(tmp_path / "my data"), "--split", "val", "--out", "new"]) == 0
    assert capsys.readouterr().out == (
        "left out: one\n"
        "fixed, val: 2 images, 3 objects, 4 parts. Go on with\n"
        f"  --images '{tmp_path}/my data' \\\n  --objects new/o_val.json \\\n  --parts new/p_val.json\n"
    )


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [("imagenet_parts", ".", "expected one of the data sets part_imagenet"), ("paco", "gone", "found none")],
)
def test_unknown_names_and_folders(
    tmp_path: Path, name: str, folder: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(tmp_path / folder)
    for command in (
        ["doctor", "--dataset", name, root],
        ["prepare", name, root, "--split", "val", "--out", "x"],
    ):
        assert cli.main(command) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("part_imagenet", "train, val, test, val_test"),
        ("part_imagenet_pp", "all"),
        ("paco", "train, val, test"),
        ("pascal_part_raw", "train, val, trainval"),
        ("cityscapes_part", "train, val"),
    ],
)
def test_unknown_splits(tmp_path: Path, name: str, splits: str) -> None:
    with pytest.raises(InputError, match=f"{name}: expected one of the splits {splits}, found 'vla'"):
        all_part_datasets.prepare(name, tmp_path, "vla", tmp_path / "out")


# People's own data


def own(root: Path) -> None:
    photographs(root / "val", "a.png")
    prepared = write_split(root, "val", root / "val", [AnnotatedImage(image(), (CAR,))])
    assert prepared.objects == root / "objects_val.json"


def problems(root: Path, name: str = "coco_parts") -> list[str]:
    return [text for severity, text in PART_DATASETS[name].check(root) if severity == "problem"]


def test_own_data(tmp_path: Path) -> None:
    own(tmp_path)
    assert list(PART_DATASETS["coco_parts"].check(tmp_path)) == [
        Finding("ok", "objects_val.json: 1 images, 1 objects in 1 categories"),
        Finding("ok", "parts_val.json: 1 images, 1 parts in 1 categories"),
        Finding("ok", "all 1 images are there"),
        Finding("ok", "1 images were read and are whole, of the annotated sizes"),
    ]
    with pytest.raises(InputError, match="there is nothing to prepare"):
        PART_DATASETS["coco_parts"].write(tmp_path, "val", tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "objects",
            '"name":"Car"',
            '"name":"Van"',
            "parts of no class in objects_val.json: 'Car Side Door' of 'Car'",
        ),
        ("objects", '"image_id":1', '"image_id":9', "1 annotations point to no image in it"),
        ("objects", '"height":6', '"height":7', "images of another size in the two files: a.png"),
        (
            "objects",
            '"height":6',
            '"height":-6',
            "entries of images can't be used: 1 (expected width and height",
        ),
        ("objects", "a.png", "b.png", "1 of 1 images are missing: val/b.png"),
        ("parts", "a.png", "b.png", "images not in objects_val.json: b.png"),
        ("parts", '"size":[6,9]', '"size":[9,6]', "annotation 1: Expected a run-length encoding"),
        ("parts", '"images"', '"pictures"', "expected a list `images`"),
    ],
)
def test_own_data_with_a_problem(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    own(tmp_path)
    path = tmp_path / f"{file}_val.json"
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    assert any(message in text for text in problems(tmp_path)), problems(tmp_path)


def test_own_data_that_lacks_files(tmp_path: Path) -> None:
    assert "expected objects.json and parts.json" in problems(tmp_path)[0]
    own(tmp_path)
    (tmp_path / "objects_val.json").unlink()
    assert "objects_val.json: expected a COCO JSON file" in problems(tmp_path)[0]


@pytest.mark.slow
def test_street_parts(shared: Path) -> None:
    folder = shared / "data" / "street_parts"
    assert not problems(folder)


# What is written is what the commands take


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "split", "write"),
    [
        ("part_imagenet", "train", ("part_imagenet", "segmentation")),
        ("part_imagenet_ood", "val_test", ("part_imagenet", "out_of_distribution")),
        ("part_imagenet_pp", "all", ("part_imagenet_pp",)),
        ("paco", "val", ("paco",)),
        ("pascal_part", "trainval", ("pascal_part",)),
        ("cityscapes_part", "train", ("cityscapes_part",)),
    ],
)
def test_commands_take_what_is_written(
    tmp_path: Path,
    fake: Callable[[str], ModuleType],
    name: str,
    split: str,
    write: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, *release = write
    fake(module).write(tmp_path / "data", *release)
    before = sorted(path for path in (tmp_path / "data").rglob("*"))
    out = tmp_path / "prepared"
    assert cli.main(["prepare", name, str(tmp_path / "data"), "--split", split, "--out", str(out)]) == 0
    assert sorted(path for path in (tmp_path / "data").rglob("*")) == before

    run = str(tmp_path / "run")
    objects = str(out / f"objects_{split}.json")
    assert cli.main(["objects", "--images", str(tmp_path / "data"), "--objects", objects, "--out", run]) == 0
    parts = str(out / f"parts_{split}.json")
    assert cli.main(["evaluate", "--predictions", parts, "--parts", parts]) == 0
    capsys.readouterr()
    assert (out / "evaluation.json").is_file()
