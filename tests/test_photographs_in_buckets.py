"""Photographs, masks and annotations at URLs give the rows of a local copy, in every stage and after it."""

import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from partdistillation import pipeline
from partdistillation.commands import main as cli
from partdistillation.config import Inputs, Recipe
from partdistillation.data.coco import read_instances
from partdistillation.data.images import load_image
from partdistillation.errors import InputError, StoreError
from partdistillation.functional.ranking import Parts
from partdistillation.inference.exports import export
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.runs.object_storage import ObjectStorage
from partdistillation.runs.remote import bring
from partdistillation.runs.run_folder import images_of
from partdistillation.settings import as_url


@pytest.fixture(scope="module")
def copy(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawings in two folders, one of them damaged, with their objects as annotations and as masks."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(folders, root / "photos")
    (root / "photos" / "objects.json").rename(root / "objects.json")
    for place, image in enumerate(json.loads((root / "objects.json").read_text())["images"]):
        path = root / "masks" / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = Image.new("L", (image["width"], image["height"]))
        mask.paste(1, (3, 3, 30, 20))
        if place < 3:
            mask.save(path)
        else:
            path.with_suffix("").mkdir()
            mask.save(path.with_suffix("") / "1.png")
    return root


@pytest.fixture
def url(copy: Path, bucket: str, tmp_path: Path) -> Path:
    """The same in a bucket; the photographs of one folder in an archive."""
    storage = ObjectStorage(bucket)
    for path in copy.rglob("*"):
        if path.is_file() and path.parent != copy / "photos" / "a":
            storage.write(path.relative_to(copy).as_posix(), path.read_bytes())
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(copy / "photos" / "a", arcname=".")
    storage.write("photos/a.tar", (tmp_path / "a.tar").read_bytes())
    return Path(bucket)


def files_of(folder: Path) -> dict[str, bytes]:
    """All but what says when the photographs were changed."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".files.json"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_stages_have_the_bytes_of_a_local_copy(
    workers: int, copy: Path, url: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    runs = [
        Inputs(out=tmp_path / name, images=root / "photos", objects=root / "objects.json", workers=workers)
        for name, root in (("local", copy), ("remote", url))
    ]
    for inputs in runs:
        pipeline.objects(inputs, tiny_recipe)
        with patch.object(ObjectStorage, "files", side_effect=AssertionError("listed again")):
            pipeline.segments(inputs, tiny_recipe)
    for stage in ("objects", "segments"):
        local, remote = (files_of(inputs.out / stage) for inputs in runs)
        assert len(local) > 1
        assert remote == local
    (listed,) = (runs[1].out / "remote").rglob("*.arrow")
    copies = {path.name for path in (runs[1].out / "remote").rglob("*") if path.is_file()}
    assert copies == {listed.name, "objects.json"}
    assert f"images: {str(url).replace(':/', '://')}/photos\n" in (runs[1].out / "config.yaml").read_text()

    pixels = load_image(copy / "photos/b/000001.png")
    np.testing.assert_array_equal(load_image(images_of(runs[1].out, None) / "b/000001.png"), pixels)
    assert cli.main(["doctor", "--out", str(runs[1].out), "--deep"]) == 0

    storage = ObjectStorage(as_url(url))
    storage.write("photos/b/000001.png", (copy / "photos/b/000003.png").read_bytes())
    again = replace(runs[1], workers=1)
    shutil.rmtree(again.out / "segments")
    with pytest.raises(
        StoreError, match=r"photos/b/000001.png: expected the file as it was when it was listed"
    ):
        pipeline.segments(again, tiny_recipe)


@pytest.mark.long
def test_a_whole_run_has_the_bytes_of_one_on_a_local_copy(
    copy: Path, url: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    for name, root in (("local", copy), ("remote", url)):
        inputs = Inputs(out=tmp_path / name, images=root / "photos", objects=root / "objects.json")
        pipeline.run(inputs, tiny_recipe)
    for stage in ("objects", "segments", "features", "part_classes", "parts", "part_model", "proposal_model"):
        assert files_of(tmp_path / "remote" / stage) == files_of(tmp_path / "local" / stage), stage
    assert files_of(tmp_path / "remote/report").keys() == files_of(tmp_path / "local/report").keys()


def test_masks_and_other_runs(copy: Path, url: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    masks = replace(tiny_recipe, objects=replace(tiny_recipe.objects, source="masks"))
    for name, root in (("local", copy), ("remote", url)):
        inputs = Inputs(out=tmp_path / name, images=root / "photos", objects=root / "masks")
        pipeline.objects(inputs, masks)
    local = files_of(tmp_path / "local/objects")
    assert files_of(tmp_path / "remote/objects") == local

    storage = ObjectStorage(as_url(url))
    for file, data in local.items():
        storage.write(f"first/objects/{file}", data)
    other = replace(tiny_recipe, objects=replace(tiny_recipe.objects, source="run"))
    for name, root in (("local", tmp_path / "local"), ("remote", url / "first")):
        inputs = Inputs(out=tmp_path / f"second-{name}", images=copy / "photos", objects=root)
        pipeline.objects(inputs, other)
    assert files_of(tmp_path / "second-remote/objects") == files_of(tmp_path / "second-local/objects")


def test_a_damaged_connection_rejects_no_photograph(url: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    inputs = Inputs(out=tmp_path / "run", images=url / "photos", objects=url / "objects.json")
    pipeline.objects(inputs, tiny_recipe)
    shutil.rmtree(inputs.out / "objects")
    with (
        patch.object(ObjectStorage, "read_unchanged", side_effect=StoreError("the line is cut")),
        pytest.raises(StoreError, match=r"objects, shard .*: the line is cut"),
    ):
        pipeline.objects(inputs, tiny_recipe)
    pipeline.objects(inputs, tiny_recipe)


def test_costly_photographs_are_decoded_apart(bucket: str, tmp_path: Path) -> None:
    with Image.new("RGB", (40, 30), "red") as image:
        image.save(tmp_path / "x.tif", compression="jpeg")
    ObjectStorage(bucket).write("photos/x.tif", (tmp_path / "x.tif").read_bytes())
    here = bring(Path(f"{bucket}/photos"), tmp_path / "run")
    np.testing.assert_array_equal(load_image(here / "x.tif"), load_image(tmp_path / "x.tif"))
    ObjectStorage(bucket).write("photos/x.tif", b"another")
    with pytest.raises(StoreError, match="found another one"):
        load_image(here / "x.tif")


def upper_halves(network: Any, view: Any, mask: NDArray[np.bool_], object_class: int, **_: Any) -> Parts:
    """Every object has a part, which random weights wouldn't find: what lies above its middle."""
    rows = np.flatnonzero(mask.any(axis=1))
    part = mask & (np.arange(len(mask)) < rows.mean())[:, None]
    return Parts(torch.tensor([1]), torch.from_numpy(part[None]), torch.tensor([0.9]), torch.tensor([0.5]))


@pytest.fixture(scope="module")
def model(copy: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("model") / "part_model"
    names = sorted({category.name for category in read_instances(copy / "objects.json").categories})
    network = PartMask2Former.from_pretrained(tiny_recipe.encoder).with_head(names, num_parts=3, seed=1)
    network.save_pretrained(folder)
    with patch("partdistillation.inference.segmenter.segment_parts", upper_halves):
        yield folder


def test_predictions_of_urls_are_those_of_copies(model: Path, copy: Path, url: Path, tmp_path: Path) -> None:
    for name, root in (("local", str(copy)), ("remote", as_url(url))):
        options = ["--images", f"{root}/photos", "--objects", f"{root}/objects.json"]
        assert cli.main(["predict", str(model), *options, "--out", str(tmp_path / name)]) == 0
    remote = files_of(tmp_path / "remote")
    listed = [name for name in remote if name.startswith("remote/")]
    assert len(listed) == 2
    assert {name: data for name, data in remote.items() if name not in listed} == files_of(tmp_path / "local")

    images = Path(f"{root}/photos")
    export(tmp_path / "remote", "yolo", tmp_path / "yolo", images=images, copy_images=True)
    name = "b/000001.png"
    assert (tmp_path / "yolo/images" / name).read_bytes() == (copy / "photos" / name).read_bytes()
    with pytest.raises(InputError, match="give --copy-images"):
        export(tmp_path / "remote", "yolo", tmp_path / "linked", images=images)


def test_one_photograph_by_its_url(model: Path, copy: Path, url: Path, tmp_path: Path) -> None:
    document = json.loads((copy / "objects.json").read_text())
    for entry in document["images"]:
        entry["file_name"] = Path(entry["file_name"]).name
    (tmp_path / "objects.json").write_text(json.dumps(document))
    image = f"{as_url(url)}/photos/b/000001.png"
    options = ["--images", image, "--objects", str(tmp_path / "objects.json"), "--out", str(tmp_path / "out")]
    assert cli.main(["predict", str(model), *options]) == 0
    assert [path.name for path in (tmp_path / "out/pictures").iterdir()] == ["000001.png"]


@pytest.mark.parametrize("command", ["run", "objects", "predict"])
def test_the_command_line_says_it_in_a_line(
    command: str, model: Path, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [command, *([str(model)] if command == "predict" else []), "--images", f"{bucket}/photos"]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f"partdistill: {bucket}/photos: expected files, found none; check the URL"
    assert not (tmp_path / "out").exists()
