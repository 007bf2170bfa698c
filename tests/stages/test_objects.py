"""Stage 1: from COCO, from a folder of masks, and what becomes of images that can't be used."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partdistillation.config import Inputs, ObjectsConfig, Recipe
from partdistillation.errors import ConfigError
from partdistillation.records import ObjectRow
from partdistillation.stages import objects
from partdistillation.store import StageReader, read_rows


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
        f"3 of 12 images can't be used: {broken['file_name']}: {reasons[0]};"
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
