"""The part model on photographs: one call, and a folder with rows, COCO and pictures."""

import itertools
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from partdistillation.data.coco import CocoImage, read_instances, read_parts
from partdistillation.errors import CheckpointError, ConfigError, InputError, SettingsChanged
from partdistillation.export.coco import write_objects
from partdistillation.export.labels import ImageLabels, ObjectLabel
from partdistillation.functional.masks import decode
from partdistillation.functional.ranking import Parts
from partdistillation.inference import FoundObject, ObjectMask, PartSegmenter, predict
from partdistillation.models.heads import ClassHead, PartHead
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import run_network, segment_parts
from partdistillation.objects import Instance
from partdistillation.objects.mask2former import Mask2FormerObjects
from partdistillation.runs.part_table import ClassParts, PartTable, write_part_table
from partdistillation.runs.records import ObjectRow, PartRow
from partdistillation.runs.stage_reader import read_rows

HEIGHT, WIDTH = 40, 60
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
LOOSE: dict[str, Any] = {"min_ratio": 0.0, "min_score": 0.0}


def rectangle(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


CAR, CAT, LAMP = rectangle(2, 5, 30, 30), rectangle(33, 10, 58, 38), rectangle(0, 0, 9, 4)
OBJECTS = [ObjectMask(CAR, "car", 0.9), ObjectMask(CAT, "cat")]


@pytest.fixture
def part_model(small_network: PartMask2Former) -> PartMask2Former:
    """Parts of cars and cats (of three objects that stage 0 knows), sure enough of them for the filters."""
    network = small_network.with_head(["car", "cat"], num_parts=3, seed=1)
    assert isinstance(network.class_predictor, PartHead)
    with torch.no_grad():
        network.class_predictor.rows.mul_(8)
    return network


@pytest.fixture
def segmenter(part_model: PartMask2Former) -> PartSegmenter:
    return PartSegmenter(part_model)


@pytest.fixture
def model_dir(part_model: PartMask2Former, small_network: PartMask2Former, tmp_path: Path) -> Path:
    """As stage 5 writes it."""
    assert isinstance(small_network.class_predictor, ClassHead)
    with torch.no_grad():
        small_network.class_predictor.weight.mul_(20)
    part_model.save_pretrained(tmp_path / "part_model")
    small_network.save_pretrained(tmp_path / "part_model/objects_model")
    return tmp_path / "part_model"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "car").mkdir(parents=True)
    Image.fromarray(IMAGE).save(folder / "car/a.png")
    Image.fromarray(IMAGE[::-1]).save(folder / "b.png")
    (folder / "c.jpg").write_bytes(b"no image")
    return folder


def test_parts_of_given_objects(segmenter: PartSegmenter) -> None:
    result = segmenter(IMAGE, OBJECTS, **LOOSE)
    assert [(found.category, found.score) for found in result.objects] == [("car", 0.9), ("cat", 1.0)]
    view = run_network(segmenter.network, IMAGE, segmenter.network.info.image_size)
    for index, found in enumerate(result.objects):
        expected = segment_parts(segmenter.network, view, found.mask, index, **LOOSE)
        assert [part.part for part in found.parts] == expected.labels.tolist()
        assert [part.score for part in found.parts] == expected.scores.tolist()
        for part, mask in zip(found.parts, expected.masks, strict=True):
            assert np.array_equal(part.mask, mask.numpy())
            assert part.name == f"part {part.part}"
        assert np.array_equal(sum(part.mask.astype(int) for part in found.parts), found.mask)


def test_the_network_runs_once_an_image(segmenter: PartSegmenter) -> None:
    calls: list[int] = []
    segmenter.network.register_forward_hook(lambda *_: calls.append(1))
    together = segmenter(IMAGE, OBJECTS, **LOOSE)
    assert len(calls) == 1
    alone = [segmenter(IMAGE, [one], **LOOSE).objects[0] for one in OBJECTS]
    for one, other in zip(together.objects, alone, strict=True):
        assert [part.score for part in one.parts] == [part.score for part in other.parts]
    assert len(calls) == 3


def test_thresholds(segmenter: PartSegmenter) -> None:
    parts = segmenter(IMAGE, OBJECTS[:1], **LOOSE).objects[0].parts
    limit = sorted(part.score for part in parts)[-1]
    assert all(part.score > 0.3 for part in segmenter(IMAGE, OBJECTS[:1]).objects[0].parts)
    assert segmenter(IMAGE, OBJECTS[:1], min_score=limit).objects[0].parts == ()
    shares = [part.mask.sum() / CAR.sum() for part in parts]
    kept = segmenter(IMAGE, OBJECTS[:1], min_score=0.0, min_ratio=min(shares)).objects[0].parts
    assert len(kept) == len(parts) - 1


def test_a_class_without_parts_is_no_error(
    segmenter: PartSegmenter, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            lamp, car = segmenter(IMAGE, [ObjectMask(LAMP, "lamp"), OBJECTS[0]], **LOOSE).objects
    assert lamp.parts == ()
    assert car.parts
    assert [record.getMessage() for record in caplog.records] == [
        "the part model has no class 'lamp' (it has car, cat): it has no parts here"
    ]
    assert segmenter(IMAGE, [ObjectMask(LAMP, "lamp")]).objects[0].parts == ()
    assert segmenter(IMAGE, []).objects == ()


def test_what_an_image_may_be(segmenter: PartSegmenter, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(IMAGE).save(path)
    results = [segmenter(one, OBJECTS) for one in (IMAGE, path, str(path), Image.open(path))]
    assert len({result.to_json().replace("a.png", "") for result in results}) == 1
    assert [result.file_name for result in results] == ["", "a.png", "a.png", ""]
    turned = Image.fromarray(np.rot90(IMAGE, axes=(0, 1)))
    turned.getexif()[0x0112] = 6
    assert np.array_equal(segmenter(turned, []).image, IMAGE)
    found = results[0].objects
    assert segmenter(IMAGE, found).to_json() == results[0].to_json(), "found objects may be given again"


@pytest.mark.usefixtures("unchecked")
def test_what_an_image_may_not_be(segmenter: PartSegmenter, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="uint8"):
        segmenter(IMAGE.astype(np.float32), [])
    with pytest.raises(InputError, match="pixel format F, which has no agreed white level"):
        segmenter(Image.fromarray(IMAGE[..., 0].astype(np.float32)), [])
    with pytest.raises(InputError, match="no such file"):
        segmenter(tmp_path / "a.png", [])
    with pytest.raises(InputError, match="found \\(40, 50\\)"):
        segmenter(IMAGE, [ObjectMask(CAR[:, :50], "car")])
    with pytest.raises(InputError, match="0 pixels"):
        segmenter(IMAGE, [ObjectMask(np.zeros_like(CAR), "car")])


def test_names(part_model: PartMask2Former) -> None:
    segmenter = PartSegmenter(part_model, part_names={"car": ["wheel", "roof"]})
    car, cat = segmenter(IMAGE, OBJECTS, **LOOSE).objects
    names = {0: "wheel", 1: "roof", 2: "part 2"}
    assert all(part.name == names[part.part] for part in car.parts)
    assert all(part.name == f"part {part.part}" for part in cat.parts)


def test_objects_that_the_model_finds(model_dir: Path, part_model: PartMask2Former, tmp_path: Path) -> None:
    segmenter = PartSegmenter.from_pretrained(model_dir, device="cpu")
    assert segmenter.device.type == "cpu"
    assert segmenter.class_names == ("car", "cat")
    result = segmenter(IMAGE, max_objects=2, min_object_score=0.0)
    assert 1 <= len(result.objects) <= 2
    assert {found.category for found in result.objects} <= {"car", "cat"}, "stage 0 knows trees too"
    scores = [found.score for found in result.objects]
    assert scores == sorted(scores, reverse=True)
    again = segmenter(IMAGE, result.objects)
    assert again.to_json() == result.to_json()
    shutil.move(model_dir / "objects_model", tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="give objects or objects_model"):
        PartSegmenter.from_pretrained(model_dir)(IMAGE)
    given = PartSegmenter.from_pretrained(model_dir, objects_model=tmp_path / "elsewhere")
    assert given(IMAGE, max_objects=2, min_object_score=0.0).to_json() == result.to_json()


def test_models_that_do_not_fit(part_model: PartMask2Former, small_network: PartMask2Former) -> None:
    with pytest.raises(CheckpointError, match="found a model of 3 classes without parts"):
        PartSegmenter(small_network)
    trees = small_network.with_head(["tree"], seed=0)
    with pytest.raises(ConfigError, match=r"some of car, cat; found one of tree: .*--objects-model"):
        PartSegmenter(part_model, trees)(IMAGE)


def test_an_object_is_found_once(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several queries see the car, as cars and as a cat."""
    again, aside = rectangle(2, 5, 29, 30), rectangle(2, 5, 30, 19)
    instances = [
        Instance(again, "cat", 0.6),
        Instance(CAR, "car", 0.9),
        Instance(aside, "car", 0.7),
        Instance(CAT, "cat", 0.5),
    ]
    monkeypatch.setattr(f"{Mask2FormerObjects.__module__}.find_instances", lambda *_, **__: iter(instances))
    segmenter = PartSegmenter.from_pretrained(model_dir)
    # the upper 14 of 25 rows: an IoU of .56
    assert [(found.category, found.score) for found in segmenter(IMAGE).objects] == [
        ("car", 0.9),
        ("cat", 0.5),
    ]
    loose = segmenter(IMAGE, max_overlap=0.6).objects
    assert [found.score for found in loose] == [0.9, 0.7, 0.5]
    np.testing.assert_array_equal(loose[1].mask, aside)
    assert [found.score for found in segmenter(IMAGE, max_overlap=1).objects] == [0.9, 0.7, 0.6, 0.5]
    assert [found.score for found in segmenter(IMAGE, max_objects=1).objects] == [0.9]


# ---------------------------------------------------------------------- predict


def rows_of(out: Path) -> Sequence[tuple[ObjectRow, PartRow]]:
    rows = zip(read_rows(out / "objects", ObjectRow), read_rows(out / "predictions", PartRow), strict=True)
    return list(rows)


def contents(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def objects_json(path: Path) -> Path:
    labels = (
        ObjectLabel("car", CAR, (), 0.9),
        ObjectLabel("cat", CAT, (), 0.8),
        ObjectLabel("lamp", LAMP, (), 0.7),
    )
    images = [
        ImageLabels(CocoImage(7, "car/a.png", WIDTH, HEIGHT), labels),
        ImageLabels(CocoImage(8, "c.jpg", WIDTH, HEIGHT), ()),
    ]
    write_objects(path, images)
    return path


def test_predict_for_annotated_objects(model_dir: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = objects_json(tmp_path / "objects.json")
    assert predict(model_dir, photos, given, out=out, device="cpu") == out
    (_, good), (_, bad) = rows_of(out)
    assert (bad.status, bad.file_name) == ("rejected", "c.jpg")
    assert good.status == "ok"
    assert good.reason == "the part model has no class 'lamp' (it has car, cat)"
    segmenter = PartSegmenter.from_pretrained(model_dir)
    expected = segmenter(photos / "car/a.png", OBJECTS).objects
    for row, found in zip(good.objects, (*expected, None), strict=True):
        parts = found.parts if isinstance(found, FoundObject) else ()
        assert [(part.part, part.score) for part in row.parts] == [(p.part, p.score) for p in parts]
        for part, other in zip(row.parts, parts, strict=True):
            assert np.array_equal(decode(part.rle, HEIGHT, WIDTH), other.mask)
            assert part.area == other.mask.sum()
    parts_file, objects_file = read_parts(out / "predictions.json"), read_instances(out / "objects.json")
    assert [image.id for image in parts_file.images] == [7]
    assert [a.category.name for a in objects_file.of(7)] == ["car", "cat", "lamp"]
    written = [(a.category.supercategory, a.category.name, a.object_id) for a in parts_file.of(7)]
    assert written == [
        (row.category, f"{row.category} part {part.part}", number)
        for number, row in enumerate(good.objects, start=1)
        for part in row.parts
    ]
    assert written
    assert [path.name for path in out.glob("pictures/**/*")] == ["car", "a.png"]


def test_predict_finds_objects_and_resumes(model_dir: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(model_dir, photos, out=out, device="cpu")
    rows = rows_of(out)
    assert [parts.file_name for _, parts in rows] == ["b.png", "c.jpg", "car/a.png"]
    assert [parts.status for _, parts in rows] == ["ok", "rejected", "ok"]
    images = json.loads((out / "predictions.json").read_text())["images"]
    assert [(image["id"], image["file_name"]) for image in images] == [(1, "b.png"), (3, "car/a.png")]
    before = contents(out)
    shutil.rmtree(out / "predictions")
    (out / "predictions.json").unlink()
    predict(model_dir, photos, out=out, device="cpu")
    assert contents(out) == before
    with pytest.raises(SettingsChanged):
        predict(model_dir, photos, objects_json(tmp_path / "objects.json"), out=out, device="cpu")


@pytest.mark.slow
def test_predict_may_be_shared(model_dir: Path, photos: Path, tmp_path: Path) -> None:
    alone, out = tmp_path / "alone", tmp_path / "out"
    predict(model_dir, photos, out=alone, device="cpu")
    for _ in range(2):  # the second finds all done
        predict(model_dir, photos, out=out, device="cpu", engine="shared")
        assert contents(out) == contents(alone)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_predict_makes_the_same_on_all_engines(model_dir: Path, photos: Path, tmp_path: Path) -> None:
    def start(out: str, engine: str) -> "subprocess.Popen[bytes]":
        command = [
            sys.executable,
            "-m",
            "partdistillation",
            "predict",
            str(model_dir),
            "--images",
            str(photos),
        ]
        return subprocess.Popen(
            [*command, "--out", str(tmp_path / out), "--engine", engine, "--device", "cpu"]
        )

    pytest.importorskip("ray")
    ways = (("alone", "processes"), ("shared", "shared"), ("shared", "shared"), ("ray", "ray"))
    assert [process.wait() for process in [start(*way) for way in ways]] == [0, 0, 0, 0]
    alone = contents(tmp_path / "alone")
    assert contents(tmp_path / "shared") == alone
    assert contents(tmp_path / "ray") == alone


@pytest.mark.slow
def test_predict_with_another_model_for_objects(model_dir: Path, photos: Path, tmp_path: Path) -> None:
    predict(model_dir, photos, out=tmp_path / "own", device="cpu")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(model_dir / "objects_model", elsewhere)
    with pytest.raises(ConfigError, match="--objects-model"):
        predict(model_dir, photos, out=tmp_path / "none", device="cpu")
    predict(model_dir, photos, out=tmp_path / "other", objects_model=elsewhere, device="cpu")
    assert rows_of(tmp_path / "other") == rows_of(tmp_path / "own")
    with pytest.raises(SettingsChanged, match="max_overlap"):
        predict(
            model_dir, photos, out=tmp_path / "other", objects_model=elsewhere, device="cpu", max_overlap=1
        )


def test_category_ids_are_the_models(model_dir: Path, photos: Path, tmp_path: Path) -> None:
    """Whatever is found: car and cat, then each one's three parts; classes it doesn't know come last."""
    given, empty = objects_json(tmp_path / "objects.json"), tmp_path / "empty.json"
    write_objects(empty, [ImageLabels(CocoImage(7, "car/a.png", WIDTH, HEIGHT), (ObjectLabel("cat", CAT),))])
    parts = [(number, f"{name} part {part}") for number, (name, part) in enumerate(
        itertools.product(("car", "cat"), range(3)), start=1
    )]  # fmt: skip
    for objects, out, others in ((given, tmp_path / "a", [(3, "lamp")]), (empty, tmp_path / "b", [])):
        predict(model_dir, photos, objects, out=out, device="cpu")
        assert categories(out / "objects.json") == [(1, "car"), (2, "cat"), *others]
        assert categories(out / "predictions.json") == parts
    segmenter = PartSegmenter.from_pretrained(model_dir, part_table=TABLE)
    for wanted in (OBJECTS, [], [ObjectMask(LAMP, "lamp")]):
        document = segmenter(IMAGE, wanted, **LOOSE).to_coco()
        assert document["info"]
        assert document["licenses"] == []
        named = {entry["name"]: entry["id"] for entry in document["categories"]}
        ids = {"car": 1, "cat": 2, "car wheel": 3, "car roof": 5, "cat part 0": 6, "cat part 1": 7}
        assert named == (ids | {"lamp": 9} if wanted and wanted[0].category == "lamp" else ids)


def categories(path: Path) -> list[tuple[int, str]]:
    return [(entry["id"], entry["name"]) for entry in json.loads(path.read_text())["categories"]]


def test_what_cannot_be_used_is_said(
    model_dir: Path, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    predict(model_dir, photos / "c.jpg", out=tmp_path / "bad", device="cpu")
    assert caplog.messages[-1].startswith(
        f"1 of 1 images below {photos} can't be used: c.jpg: expected a JPEG, PNG"
    )
    with pytest.raises(InputError, match=r"none: expected a folder of photographs, or one photograph"):
        predict(model_dir, photos / "none", out=tmp_path / "none", device="cpu")
    assert not (tmp_path / "none").exists()


def test_predict_for_one_photo_and_for_masks(model_dir: Path, photos: Path, tmp_path: Path) -> None:
    predict(model_dir, photos / "b.png", out=tmp_path / "one", device="cpu")
    ((_, row),) = rows_of(tmp_path / "one")
    assert (row.image_id, row.status) == ("b.png", "ok")
    masks = tmp_path / "masks/car"
    masks.mkdir(parents=True)
    Image.fromarray(CAR.astype(np.uint8)).save(masks / "a.png")
    predict(model_dir, photos, masks.parent, out=tmp_path / "masked", device="cpu")
    last = rows_of(tmp_path / "masked")[-1]
    assert [found.category for found in last[0].objects] == ["car"]
    assert np.array_equal(decode(last[0].objects[0].rle, HEIGHT, WIDTH), CAR)


# ---------------------------------------------------------------------- part tables


TABLE = PartTable(
    {"car": ClassParts({0: "wheel", 2: "roof"}, {1: 0}), "cat": ClassParts(rejected=frozenset({2}))}
)


@pytest.fixture
def three_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every object has its part classes 2, 0 and 1 from the left, which random weights wouldn't find."""

    def strips(network: Any, view: Any, mask: NDArray[np.bool_], object_class: int, **_: Any) -> Parts:
        first, last = np.flatnonzero(mask.any(axis=0))[[0, -1]].tolist()
        edges = np.linspace(first, last, 4).astype(int)
        columns = np.arange(WIDTH)
        masks = np.stack([mask & (columns >= a) & (columns < b) for a, b in itertools.pairwise(edges)])
        scores = torch.tensor([0.5, 0.75, 1.0])
        return Parts(torch.tensor([2, 0, 1]), torch.from_numpy(masks), scores, torch.full((3,), 0.3))

    monkeypatch.setattr("partdistillation.inference.segmenter.segment_parts", strips)


@pytest.mark.usefixtures("three_parts")
def test_a_part_table_joins_leaves_out_and_names(part_model: PartMask2Former) -> None:
    names = {"car": ["a", "b", "c"], "cat": ["d"]}
    plain, decided = (
        PartSegmenter(part_model, part_names=names, part_table=table) for table in (None, TABLE)
    )
    before, after = (one(IMAGE, OBJECTS, **LOOSE).objects for one in (plain, decided))
    assert [part.part for part in before[0].parts] == [2, 0, 1]
    wheel, tyre = (next(p for p in before[0].parts if p.part == number) for number in (0, 1))
    joined = next(part for part in after[0].parts if part.part == 0)
    assert np.array_equal(joined.mask, wheel.mask | tyre.mask)
    assert joined.score == max(wheel.score, tyre.score)
    assert [(part.part, part.name) for part in after[0].parts] == [(2, "roof"), (0, "wheel")]
    assert [part.part for part in after[1].parts] == [0, 1]
    assert [plain.part_name("cat", 0), plain.part_name("cat", 1)] == ["d", "part 1"]
    with pytest.raises(InputError, match=r"part 3 of 'car': expected parts 0 to 2"):
        PartSegmenter(part_model, part_table=PartTable({"car": ClassParts({3: "tail"})}))


def test_where_a_part_table_comes_from(model_dir: Path, tmp_path: Path) -> None:
    assert PartSegmenter.from_pretrained(model_dir).part_table == PartTable()
    write_part_table(tmp_path / "mine.json", TABLE)
    assert PartSegmenter.from_pretrained(model_dir, part_table=tmp_path / "mine.json").part_table == TABLE
    write_part_table(model_dir / "part_table.json", TABLE)
    assert PartSegmenter.from_pretrained(model_dir).part_table == TABLE
    assert PartSegmenter.from_pretrained(model_dir, part_table=PartTable()).part_table == PartTable()


@pytest.mark.usefixtures("three_parts")
def test_predict_with_a_part_table(model_dir: Path, photos: Path, tmp_path: Path) -> None:
    given = objects_json(tmp_path / "objects.json")
    file, plain, out = tmp_path / "mine.json", tmp_path / "plain", tmp_path / "out"
    predict(model_dir, photos, given, out=plain, device="cpu")
    write_part_table(file, PartTable({"car": ClassParts({0: "wheel"})}))
    predict(model_dir, photos, given, out=plain, device="cpu", part_table=file)  # names: the same rows
    named = {one.name for one in read_parts(plain / "predictions.json").categories}
    assert named >= {"car wheel", "car part 1", "cat part 2"}
    assert "part_table" not in (plain / "predictions/manifest.json").read_text()
    write_part_table(file, TABLE)
    with pytest.raises(SettingsChanged, match="part_table"):
        predict(model_dir, photos, given, out=plain, device="cpu", part_table=file)
    predict(model_dir, photos, given, out=out, device="cpu", part_table=file)
    assert [parts for _, parts in rows_of(out)] == [TABLE.applied(parts) for _, parts in rows_of(plain)]
    named = {one.name for one in read_parts(out / "predictions.json").categories}
    assert named == {"car wheel", "car roof", "cat part 0", "cat part 1"}
