"""Photographs in tar archives are those of the unpacked folders, for every stage and everything after it."""

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partdistillation import pipeline
from partdistillation.config import Inputs, Recipe
from partdistillation.data.images import load_image
from partdistillation.errors import InputError
from partdistillation.report import run as run_report
from partdistillation.review.collages.drawing import read_image
from partdistillation.runs import seen
from partdistillation.runs.records import ObjectRow, SegmentRow
from partdistillation.runs.store import read_rows


@pytest.fixture(scope="module")
def folders(drawings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawings in two folders, one of them damaged, and their objects."""
    root = tmp_path_factory.mktemp("folders")
    document = json.loads((drawings / "objects_train.json").read_text())
    document["images"] = document["images"][:4]
    ids = {image["id"] for image in document["images"]}
    document["annotations"] = [entry for entry in document["annotations"] if entry["image_id"] in ids]
    for place, image in enumerate(document["images"]):
        name = f"{'ab'[place % 2]}/{image['file_name']}"
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(drawings / "train" / image["file_name"], root / name)
        image["file_name"] = name
    path = root / document["images"][0]["file_name"]
    path.write_bytes(path.read_bytes()[:-100])
    (root / "objects.json").write_text(json.dumps(document))
    return root


@pytest.fixture(scope="module")
def packed(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive a folder."""
    root = tmp_path_factory.mktemp("packed")
    for name in "ab":
        with tarfile.open(root / f"{name}.tar", "w") as archive:
            archive.add(folders / name, arcname=".")
    return root


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_stages_of_archives_have_the_rows_of_folders(
    workers: int, folders: Path, packed: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    runs = [
        Inputs(out=tmp_path / images.name, images=images, objects=folders / "objects.json", workers=workers)
        for images, workers in ((folders, 1), (packed, workers))
    ]
    for inputs in runs:
        pipeline.objects(inputs, tiny_recipe)
        pipeline.segments(inputs, tiny_recipe)
    for stage, row in (("objects", ObjectRow), ("segments", SegmentRow)):
        unpacked, streamed = (list(read_rows(inputs.out / stage, row)) for inputs in runs)
        assert streamed == unpacked
        assert [one.status for one in streamed] == ["rejected"] + ["ok"] * 3
        assert "damaged data" in streamed[0].reason
    manifests = [(inputs.out / "segments" / "manifest.json").read_bytes() for inputs in runs]
    assert manifests[0] == manifests[1]
    report = run_report.contents(runs[1], tiny_recipe, seconds={})
    assert len(report.pictures) == 3
    assert not list(packed.glob("*/"))

    places = seen.places(packed, None)
    assert not list(seen.changes(runs[1].out / "objects", places, deep=True, absent=True))
    changed = replace(runs[1], images=Path(shutil.copytree(packed, tmp_path / "changed")))
    with tarfile.open(changed.images / "a.tar", "w") as archive:  # type: ignore[operator]
        for path in sorted((folders / "a").iterdir()):
            archive.add(folders / "b" / "000001.png", arcname=path.name)
    with pytest.raises(InputError, match="found others in their place"):
        pipeline.segments(changed, tiny_recipe)


def test_what_opens_photographs_opens_those_in_archives(folders: Path, packed: Path) -> None:
    pixels = load_image(folders / "b" / "000001.png")
    np.testing.assert_array_equal(load_image(packed / "b" / "000001.png"), pixels)
    height, width, _ = pixels.shape
    shown = read_image(packed / "b" / "000001.png", width, height)
    assert not isinstance(shown, str)
    np.testing.assert_array_equal(shown, pixels)
    assert read_image(packed / "b" / "gone.png", width, height) == "image is gone"
    with pytest.raises(InputError, match="found no such file"):
        load_image(packed / "b" / "gone.png")


def test_costly_photographs_are_decoded_apart(folders: Path, tmp_path: Path) -> None:
    from PIL import Image

    with Image.open(folders / "b" / "000001.png") as image:
        image.save(tmp_path / "x.tif", compression="jpeg")
    with tarfile.open(tmp_path / "car.tar", "w") as archive:
        archive.add(tmp_path / "x.tif", arcname="x.tif")
    np.testing.assert_array_equal(load_image(tmp_path / "car" / "x.tif"), load_image(tmp_path / "x.tif"))
