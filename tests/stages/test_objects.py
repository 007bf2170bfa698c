"""Stage 1: from all kinds of labels, another run, models; and what becomes of images that can't be used."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image

from partdistillation.config import Inputs, ObjectsConfig, Recipe
from partdistillation.errors import ConfigError, SettingsChanged
from partdistillation.objects import models, to_object
from partdistillation.recipes import RELEASED_1K
from partdistillation.runs.records import Object, ObjectRow
from partdistillation.runs.stage_reader import StageReader, read_rows
from partdistillation.stages import objects


def rows(inputs: Inputs, recipe: Recipe) -> list[ObjectRow]:
    return list(read_rows(objects.run(inputs, recipe), ObjectRow))


def test_every_image_is_a_row_whatever_is_wrong_with_it(
    drawings: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    document = json.loads((drawings / "objects_train.json").read_text())
    shutil.copytree(drawings / "train", tmp_path / "train")
    broken, gone, empty = document["images"][:3]
    (tmp_path / "train" / broken["file_name"]).write_bytes(b"not an image")
    (tmp_path / "train" / gone["file_name"]).unlink()
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] != empty["id"]]
    (tmp_path / "objects.json").write_text(json.dumps(document))
    found = rows(
        Inputs(out=tmp_path / "out", images=tmp_path / "train", objects=tmp_path / "objects.json"), Recipe()
    )
    assert [row.image_id for row in found] == [str(image["id"]) for image in document["images"]]
    assert [row.status for row in found] == ["rejected"] * 3 + ["ok"] * 9
    reasons = [row.reason for row in found[:3]]
    assert "another format or a damaged header" in reasons[0]
    assert "no such file" in reasons[1]
    assert reasons[2] == "no objects"
    assert caplog.messages[-1].startswith(
        f"3 of 12 images below {tmp_path / 'train'} can't be used: {broken['file_name']}: {reasons[0]};"
    )
    assert all(row.objects for row in found[3:])


def test_a_folder_of_masks_with_a_folder_a_class(tmp_path: Path) -> None:
    for name in ("cat/a.png", "cat/deep/b.png", "traffic light/c.png"):
        for folder, value in (("images", 90), ("masks", 0)):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (20, 10), value).save(tmp_path / folder / name)
    labels = np.zeros((10, 20), np.uint8)
    labels[2:5, 3:9], labels[6:8, 1:3] = 1, 2
    Image.fromarray(labels).save(tmp_path / "masks/cat/a.png")
    Image.fromarray(255 * (labels > 0).astype(np.uint8)).save(tmp_path / "masks/traffic light/c.png")
    recipe = replace(Recipe(), objects=ObjectsConfig(source="masks"))
    found = {
        row.image_id: row
        for row in rows(
            Inputs(out=tmp_path / "out", images=tmp_path / "images", objects=tmp_path / "masks"), recipe
        )
    }
    assert [(one.category, one.area) for one in found["cat/a.png"].objects] == [("cat", 18), ("cat", 4)]
    assert [(one.category, one.area) for one in found["traffic light/c.png"].objects] == [
        ("traffic light", 22)
    ]
    assert (found["cat/deep/b.png"].status, found["cat/deep/b.png"].reason) == ("rejected", "no objects")
    shards = [shard.name for shard in StageReader(tmp_path / "out" / objects.FOLDER, ObjectRow).shards]
    assert all(name.startswith(("cat-", "traffic_light.")) for name in shards)


def test_the_model_itself_finds_objects(drawings: Path, tmp_path: Path, tiny_recipe: Recipe) -> None:
    recipe = replace(tiny_recipe, objects=ObjectsConfig(source="mask2former", min_score=0.0, max_objects=3))
    found = rows(Inputs(out=tmp_path, images=drawings / "val"), recipe)
    assert [row.image_id for row in found] == [f"{number:06d}.png" for number in range(4)]
    assert all(len(row.objects) <= 3 for row in found)
    assert {one.category for row in found for one in row.objects} <= {"car", "cat", "tree"}


def test_a_folder_where_a_file_is_expected(drawings: Path, tmp_path: Path) -> None:
    inputs = Inputs(out=tmp_path, images=drawings / "train", objects=drawings)
    with pytest.raises(ConfigError, match=r"add --objects\.source masks"):
        objects.run(inputs, Recipe())


def test_masks_whose_values_are_classes(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.new("L", (20, 10)).save(tmp_path / "images/a.png")
    values = np.repeat(np.array([0, 0, 1, 1, 2, 2, 2, 2, 0, 0], np.uint8)[:, None], 20, axis=1)
    Image.fromarray(values).save(tmp_path / "masks/a.png")
    classes = tmp_path / "classes.txt"
    classes.write_text("road\nsky\n")
    recipe = replace(Recipe(), objects=ObjectsConfig(source="masks", classes=classes))
    inputs = Inputs(out=tmp_path / "out", images=tmp_path / "images", objects=tmp_path / "masks")
    (row,) = rows(inputs, recipe)
    assert [(one.category, one.area) for one in row.objects] == [("sky", 80), ("road", 40)]
    classes.write_text("# the same\n\nroad\nsky\n")
    assert rows(inputs, recipe) == [row]
    classes.write_text("sky\nroad\n")
    with pytest.raises(SettingsChanged, match="classes: was"):
        objects.run(inputs, recipe)
    with pytest.raises(ConfigError, match="expected a folder of masks, found the file"):
        objects.run(replace(inputs, objects=classes), recipe)


def test_another_runs_objects(drawings: Path, tmp_path: Path) -> None:
    first = Inputs(out=tmp_path / "first", images=drawings / "val", objects=drawings / "objects_val.json")
    there = {row.file_name: row for row in rows(first, Recipe())}
    shutil.copytree(drawings / "val", tmp_path / "photos")
    shutil.copy(tmp_path / "photos/000000.png", tmp_path / "photos/new.png")
    recipe = replace(Recipe(), objects=ObjectsConfig(source="run", max_objects=1))
    inputs = Inputs(out=tmp_path / "second", images=tmp_path / "photos", objects=first.out)
    *copied, new = rows(inputs, recipe)
    assert [row.file_name for row in copied] == sorted(there)
    assert all(row.objects == there[row.file_name].objects[:1] for row in copied)
    assert new.reason == "the other run has no image of this file name"
    same = replace(inputs, out=tmp_path / "third", objects=first.out / objects.FOLDER)
    assert rows(same, recipe) == [*copied, new], "the folder of the rows itself"
    with pytest.raises(ConfigError, match="expected another run"):
        objects.run(replace(inputs, objects=inputs.out), recipe)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two drawings in the folder n02958343, one in misc."""
    for name in ("n02958343/a.png", "n02958343/b.png", "misc/c.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10)).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def test_a_class_list_for_a_model_of_a_fixed_vocabulary(
    photos: Path, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    classes, model = tmp_path / "classes.txt", tmp_path / "moved"
    classes.write_text("car.n.01\tcar\tn02958343\ntree\nzebra\n")
    shutil.copytree(tiny_recipe.encoder, model)
    config = ObjectsConfig(source="mask2former", min_score=0.0, max_objects=3, classes=classes)
    inputs = Inputs(out=tmp_path / "out", images=photos)
    somewhere, *cars = rows(inputs, replace(tiny_recipe, objects=config))
    assert {one.category for row in cars for one in row.objects} <= {"car.n.01"}
    assert {one.category for one in somewhere.objects} <= {"car.n.01", "tree"}
    moved = replace(config, model=str(model), people=False)
    assert rows(inputs, replace(tiny_recipe, objects=moved)) == [somewhere, *cars], (
        "the model's contents count"
    )
    classes.write_text("car.n.01\tcar\tn02958343\ntree\n")
    with pytest.raises(SettingsChanged, match="classes: was"):
        objects.run(inputs, replace(tiny_recipe, objects=config))
    with pytest.raises(ConfigError, match=r"objects\.people: expected a model that knows"):
        objects.run(
            replace(inputs, out=tmp_path / "other"),
            replace(tiny_recipe, objects=replace(config, people=True)),
        )


class Everywhere:
    """Finds one object of whatever it is asked for in every image, but no car."""

    vocabulary = None

    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], class_names: Sequence[str]
    ) -> list[list[Object]]:
        names = [name for name in class_names if name != "car"]
        return [[self._object(image, place, name) for place, name in enumerate(names)] for image in images]

    def _object(self, image: UInt8[np.ndarray, "height width 3"], place: int, name: str) -> Object:
        mask = np.zeros(image.shape[:2], bool)
        mask[place] = True
        return to_object(mask, name, 0.9 - 0.1 * place)


def test_an_open_vocabulary(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(models, "load_segmenter", lambda *_: Everywhere())
    monkeypatch.setattr("partdistillation.models.hub.commit", lambda _: "0" * 40)
    classes = tmp_path / "classes.txt"
    classes.write_text("car\tcar\tn02958343\ntree\nlamp\n")
    config = ObjectsConfig(source="sam3", classes=classes)
    inputs = Inputs(out=tmp_path / "out", images=photos)
    somewhere, *cars = rows(inputs, replace(Recipe(), objects=config))
    assert [one.category for one in somewhere.objects] == ["tree", "lamp"]
    assert "1 of 2 folders of images aren't in --objects.classes, such as misc: " in caplog.text
    assert [row.reason for row in cars] == ["no objects of class 'car'"] * 2
    released = replace(RELEASED_1K, objects=replace(RELEASED_1K.objects, source="sam3", classes=classes))
    row = rows(replace(inputs, out=tmp_path / "released"), released)[1]
    assert [(one.category, one.score) for one in row.objects][:2] == [("car", 0.9), ("person", 0.9)]
    assert len(row.objects) == 6
    with pytest.raises(SettingsChanged, match="min_score: was"):
        objects.run(inputs, replace(Recipe(), objects=replace(config, min_score=0.5)))


def test_an_open_vocabulary_wants_names(photos: Path, drawings: Path, tmp_path: Path) -> None:
    recipe = replace(Recipe(), objects=ObjectsConfig(source="grounded_sam"))
    with pytest.raises(ConfigError, match=r"in folders named after their class.*--objects\.classes"):
        objects.run(Inputs(out=tmp_path / "out", images=drawings / "val"), recipe)
    shutil.rmtree(photos / "misc")
    with pytest.raises(ConfigError, match=r"found WordNet's numbers \(n02958343\)"):
        objects.run(Inputs(out=tmp_path / "out", images=photos), recipe)
    assert not (tmp_path / "out").exists()


def test_damaged_photographs_are_rejected_unless_allowed(tmp_path: Path, image_files: ModuleType) -> None:
    folder = tmp_path / "images/cat"
    folder.mkdir(parents=True)
    photo = image_files.saved(image_files.photograph(), "JPEG")
    (folder / "cut.jpg").write_bytes(image_files.cut_with_end(photo, 0.5))
    (tmp_path / "masks/cat").mkdir(parents=True)
    Image.new("L", (160, 120), 1).save(tmp_path / "masks/cat/cut.png")
    inputs = Inputs(out=tmp_path / "out", images=tmp_path / "images", objects=tmp_path / "masks")
    (row,) = rows(inputs, replace(Recipe(), objects=ObjectsConfig(source="masks")))
    assert (row.status, "premature end of data" in row.reason) == ("rejected", True)
    recipe = replace(Recipe(), objects=ObjectsConfig(source="masks", allow_damaged=True))
    (row,) = rows(replace(inputs, out=tmp_path / "allowed"), recipe)
    assert (row.status, len(row.objects)) == ("ok", 1)


@pytest.mark.parametrize(
    ("name", "size", "encoders", "warned"),
    [
        ("a.jpg", 100, ("builtin:part-shapes",), True),
        ("a.png", 500, ("models/mine", "builtin:part-shapes"), True),
        ("a.png", 128, ("builtin:part-shapes",), False),
        ("a.jpg", 500, ("models/mine",), False),
    ],
)
def test_an_encoder_of_drawings_is_named_where_it_meets_photographs(
    tmp_path: Path,
    write_stage: Callable[[Path, Sequence[ObjectRow]], Path],
    name: str,
    size: int,
    encoders: tuple[str, ...],
    warned: bool,
) -> None:
    folder = write_stage(tmp_path / "objects", [ObjectRow("0", name, size, 60, "ok", "", ())])
    remark = objects.encoder_remark(folder, encoders)
    assert bool(remark) == warned
    assert not warned or "--encoder package:efficientnet-lite0" in remark
