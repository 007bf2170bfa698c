"""Photographs in tar archives are those of the unpacked folders, for every stage and everything after it."""

import shutil
import tarfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from partdistillation import pipeline
from partdistillation.commands import main as cli
from partdistillation.config import Inputs, Recipe
from partdistillation.data.coco import read_instances
from partdistillation.data.images import load_image
from partdistillation.errors import InputError
from partdistillation.functional.ranking import Parts
from partdistillation.inference.exports import export
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.report import run as run_report
from partdistillation.review.collages.drawing import read_image
from partdistillation.review.items import Tiles, add_runs, find_runs
from partdistillation.review.store import ReviewStore
from partdistillation.runs import seen
from partdistillation.runs.records import ObjectRow, SegmentRow
from partdistillation.runs.stage_reader import read_rows


@pytest.fixture(scope="module")
def packed(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive a folder."""
    root = tmp_path_factory.mktemp("packed")
    for name in "ab":
        with tarfile.open(root / f"{name}.tar", "w") as archive:
            archive.add(folders / name, arcname=".")
    return root


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
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


def upper_halves(network: Any, view: Any, mask: NDArray[np.bool_], object_class: int, **_: Any) -> Parts:
    """Every object has a part, which random weights wouldn't find: what lies above its middle."""
    rows = np.flatnonzero(mask.any(axis=1))
    part = mask & (np.arange(len(mask)) < rows.mean())[:, None]
    return Parts(torch.tensor([1]), torch.from_numpy(part[None]), torch.tensor([0.9]), torch.tensor([0.5]))


@pytest.fixture(scope="module")
def predicted(
    folders: Path, packed: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """What `partdistill predict` writes of the folders, and of the archives."""
    root = tmp_path_factory.mktemp("predicted")
    names = sorted({category.name for category in read_instances(folders / "objects.json").categories})
    network = PartMask2Former.from_pretrained(tiny_recipe.encoder).with_head(names, num_parts=3, seed=1)
    network.save_pretrained(root / "part_model")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("partdistillation.inference.segmenter.segment_parts", upper_halves)
        for images in (folders, packed):
            options = ["--images", images, "--objects", folders / "objects.json", "--out", root / images.name]
            assert cli.main(["predict", *map(str, (root / "part_model", *options))]) == 0
    return root / folders.name, root / packed.name


def test_predictions_of_archives_are_those_of_folders(predicted: tuple[Path, Path]) -> None:
    unpacked, streamed = (
        {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        for out in predicted
    )
    for files in (unpacked, streamed):
        for name in [name for name in files if name.name.endswith(".files.json")]:
            del files[name]  # the photographs' times and places
    assert len([name for name in streamed if name.parts[0] == "pictures"]) == 3
    assert streamed == unpacked


def test_parts_in_archives_are_reviewed(
    predicted: tuple[Path, Path], folders: Path, packed: Path, tmp_path: Path
) -> None:
    """The pictures that people see are the same."""
    pictures = []
    for out, images in zip(predicted, (folders, packed), strict=True):
        with closing(ReviewStore(tmp_path / f"{images.name}.sqlite")) as store:
            tiles = Tiles(store, add_runs(store, find_runs([out], images), seed=0))
            files = [
                tiles.file(key) for (key,) in store.query("SELECT key FROM tiles ORDER BY item, position")
            ]
            pictures.append([file and file.read_bytes() for file in files])
    assert pictures[0]
    assert None not in pictures[0]
    assert pictures[0] == pictures[1]


def test_photographs_in_archives_are_exported(
    predicted: tuple[Path, Path], folders: Path, packed: Path, tmp_path: Path
) -> None:
    export(predicted[1], "yolo", tmp_path / "yolo", images=packed, copy_images=True)
    name = "b/000001.png"
    assert (tmp_path / "yolo/images" / name).read_bytes() == (folders / name).read_bytes()
    for tool in ("yolo", "fiftyone"):
        with pytest.raises(InputError, match="a photograph in an archive; give --copy-images"):
            export(predicted[1], tool, tmp_path / tool / "linked", images=packed)
