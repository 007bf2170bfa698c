"""A part model with more object classes: what is learned, what stays, and what is refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file as numpy_file
from safetensors.torch import load_file

from partdistillation import pipeline
from partdistillation.commands.main import main
from partdistillation.config import Inputs, Recipe
from partdistillation.errors import ConfigError, InputError, SettingsChanged
from partdistillation.inference import PartSegmenter, Result
from partdistillation.inference.exports import export
from partdistillation.inference.onnx_export import export_onnx
from partdistillation.inference.onnx_segmenter import OnnxPartSegmenter
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import read_info
from partdistillation.objects.salient_classes import FILE as MEANS
from partdistillation.part_shapes import PartShapes
from partdistillation.publishing.push import Publication, write_publication
from partdistillation.runs.part_table import ClassParts, PartTable, read_part_table, write_part_table
from partdistillation.runs.records import ObjectRow, PartRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import growing, retraining
from partdistillation.training import checkpoints, loop

pytestmark = pytest.mark.slow

OLD, NEW = ("axe", "car", "person", "tree"), ("bird", "horse", "truck")

Files = dict[str, bytes]


def contents(folder: Path) -> Files:
    """Of all files but locks."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def base(drawings: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that knows the old classes alone; its proposal model has random weights."""
    folder = tmp_path_factory.mktemp("base")
    content = json.loads((drawings / "objects_train.json").read_bytes())
    ids = {category["id"] for category in content["categories"] if category["name"] in OLD}
    content["annotations"] = [entry for entry in content["annotations"] if entry["category_id"] in ids]
    (folder / "old.json").write_text(json.dumps(content))
    images, objects = drawings / "train", folder / "old.json"
    inputs = Inputs(out=folder / "run", images=images, objects=objects, device="cpu")
    stage0 = PartMask2Former.from_pretrained(tiny_recipe.encoder)
    stage0.with_head(["part"], seed=0).save_pretrained(inputs.out / "proposal_model")
    pipeline.objects(inputs, tiny_recipe)
    pipeline.rank(inputs, tiny_recipe)
    pipeline.distill(inputs, tiny_recipe)
    return inputs.out


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its pictures, which take longer than all the rest."""
    monkeypatch.setattr(pipeline, "report", lambda *_: None)


@pytest.fixture(scope="module")
def grown(base: Path, drawings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run grown by the new classes, from the command line."""
    out = tmp_path_factory.mktemp("grown") / "run"
    (base / "review").mkdir()
    write_part_table(base / "review/part_table.json", PartTable({"car": ClassParts({1: "wheel"}, {2: 0})}))
    before = contents(base)
    images = ["--images", str(drawings / "train"), "--objects", str(drawings / "objects_train.json")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)  # a relative path is a path too
        patch.setattr(pipeline, "report", lambda *_: None)
        assert main(["grow", "part_model", *images, "--out", str(out), "--device", "cpu"]) == 0
    assert contents(base) == before
    return out


def test_only_the_part_rows_of_new_classes_are_new(base: Path, grown: Path) -> None:
    info = read_info(grown / "part_model")
    assert info == replace(read_info(base / "part_model"), class_names=(*OLD, *NEW))
    old, new = (load_file(run / "part_model/model.safetensors") for run in (base, grown))
    assert old.keys() == new.keys()
    for name, value in old.items():
        if not name.startswith("class_predictor."):
            assert torch.equal(new[name], value), name
        else:
            rows = len(OLD) * info.num_parts
            assert torch.equal(new[name][:rows], value[:rows])
            assert torch.equal(new[name][-1], value[-1])  # "no object"
            assert len(new[name]) == rows + len(NEW) * info.num_parts + 1


def described(result: Result, categories: tuple[str, ...]) -> list[object]:
    """All that was found of objects of these classes, masks as bytes."""
    return [
        (segmented.category, part.part, part.name, part.score, part.mask.tobytes())
        for segmented in result.objects
        if segmented.category in categories
        for part in segmented.parts
    ]


def test_old_classes_are_segmented_as_before_alone_and_beside_new_ones(base: Path, grown: Path) -> None:
    before, after = (PartSegmenter.from_pretrained(run / "part_model", device="cpu") for run in (base, grown))
    scenes = [PartShapes(seed=3, size=64)[index] for index in range(8)]
    images = [scene.image for scene in scenes]
    given = [[(drawn.mask, drawn.category) for drawn in scene.objects] for scene in scenes]
    known = [[(mask, category) for mask, category in objects if category in OLD] for objects in given]
    assert any(0 < len(old) < len(everything) for old, everything in zip(known, given, strict=True))
    mixed = after(images, given, min_score=0.0, min_ratio=0.0)
    alone = before(images, known, min_score=0.0, min_ratio=0.0)
    parts = [part for result in alone for part in described(result, OLD)]
    assert parts
    assert parts == [part for result in mixed for part in described(result, OLD)]
    assert any(described(result, NEW) for result in mixed)


def test_the_head_gives_old_classes_the_same_logits_in_a_batch_with_new_ones(base: Path, grown: Path) -> None:
    networks = [
        PartSegmenter.from_pretrained(run / "part_model", device="cpu").network for run in (base, grown)
    ]
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = (network(pixels) for network in networks)
        assert torch.equal(before.mask_embeddings, after.mask_embeddings)
        (old, _) = networks[0].class_logits(before, [[1, 2], [0]])
        (both, _) = networks[1].class_logits(after, [[1, 5, 2], [6]])
    torch.testing.assert_close(both[:, [0, 2]], old, rtol=0, atol=1e-6)  # products round by their size


def test_what_is_left_is_a_run_of_the_new_photographs(grown: Path) -> None:
    rows = list(read_rows(grown / "objects", ObjectRow))
    assert {instance.category for row in rows for instance in row.objects} == set(NEW)
    by_name = {row.file_name: row for row in rows}
    assert "left out: objects of classes that the model has (person)" in by_name["000001.png"].reason
    assert by_name["000000.png"].status == "rejected"  # a tree alone
    parts = read_rows(grown / "parts", PartRow)
    assert {labelled.category for row in parts for labelled in row.objects} == set(NEW)
    assert not (grown / "segments").exists()


def test_names_are_kept_and_new_classes_come_after_the_old_ones(grown: Path) -> None:
    table = read_part_table(grown / "review/part_table.json")
    assert table.of("car") == ClassParts({1: "wheel"}, {2: 0})
    assert set(table.classes) == {"car", *NEW}
    assert not (grown / "part_model/part_table.json").exists()  # as the old one has none
    segmenter = PartSegmenter.from_pretrained(grown / "part_model", part_table=table)
    assert list(segmenter.catalog) == [*OLD, *NEW]
    assert segmenter.part_name("car", 1) == "wheel"


def test_every_way_takes_the_grown_model(grown: Path, drawings: Path, tmp_path: Path) -> None:
    predict = ["predict", str(grown / "part_model"), "--images", str(drawings / "val")]
    objects = ["--objects", str(drawings / "objects_val.json"), "--min-score", "0", "--device", "cpu"]
    assert main([*predict, *objects, "--out", str(tmp_path / "new")]) == 0
    rows = read_rows(tmp_path / "new/predictions", PartRow)
    assert {labelled.category for row in rows for labelled in row.objects if labelled.parts} > {
        "car",
        "horse",
    }
    export(grown, "coco", tmp_path / "coco")
    write_publication(Publication(grown / "part_model", "me/parts", "mit"), tmp_path / "card")
    assert "the object classes that it was grown by" in (tmp_path / "card/README.md").read_text()
    assert PartSegmenter.from_pretrained(tmp_path / "card").class_names == (*OLD, *NEW)


def test_the_old_settings_are_fitted_to_the_new_photographs(base: Path, tiny_recipe: Recipe) -> None:
    model = growing.read_base(base / "part_model", base / "new")
    salient = tiny_recipe.updated({"objects": {"source": "salient"}, "ranking": {"num_parts": 8}})
    fitted = model.fitted(Inputs(objects=Path("new.json")), salient)
    assert (fitted.objects.source, fitted.ranking.num_parts) == ("annotations", 3)
    assert model.fitted(Inputs(), salient).objects.source == "salient"
    fewer = tiny_recipe.updated({"ranking": {"num_parts": 2}})
    assert model.fitted(Inputs(), fewer) == fewer


@pytest.mark.long
def test_a_grown_run_has_a_report(base: Path, grown: Path) -> None:
    assert main(["grow", str(base / "part_model"), "--out", str(grown), "--device", "cpu"]) == 0
    assert (grown / "report/index.html").is_file()


@pytest.mark.long
@pytest.mark.timeout(1_200)
@pytest.mark.usefixtures("unchecked")  # sizes are symbols in an exporter
def test_without_pytorch_too(grown: Path, tmp_path: Path) -> None:
    export_onnx(grown / "part_model", tmp_path / "onnx")
    scene = PartShapes(seed=3, size=64)[1]
    objects = [(scene.objects[0].mask, category) for category in ("car", "truck")]
    theirs = PartSegmenter.from_pretrained(grown / "part_model", device="cpu")
    ours = OnnxPartSegmenter.from_pretrained(tmp_path / "onnx")
    expected, actual = (one(scene.image, objects, min_score=0.0) for one in (theirs, ours))
    for other, shape in zip(expected.objects, actual.objects, strict=True):
        assert [part.part for part in shape.parts] == [part.part for part in other.parts]


@pytest.mark.usefixtures("no_report")
def test_again_nothing_is_done_again_and_other_settings_are_refused(
    base: Path, grown: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(grown / "part_model")
    command = ["grow", str(base / "part_model"), "--out", str(grown), "--device", "cpu"]
    assert main(command) == 0
    assert contents(grown / "part_model") == before
    assert main([*command, "--distillation.steps", "3"]) == 2
    assert "trained with other settings" in capsys.readouterr().err


@pytest.mark.usefixtures("no_report")
def test_a_stopped_one_goes_on_to_the_same_bytes(
    base: Path, grown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["grow", str(base / "part_model"), "--config", str(grown / "config.yaml"), "--device", "cpu"]
    command += ["--out", str(tmp_path / "run")]
    save_checkpoint = checkpoints.save_checkpoint

    def stopped(*arguments: object, **more: object) -> None:
        save_checkpoint(*arguments, **more)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", stopped)
        assert main(command) == 130
    assert list((tmp_path / "run/checkpoints").rglob("step-*1.safetensors"))
    assert main(command) == 0
    weights = "part_model/model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (grown / weights).read_bytes()


@pytest.fixture
def more(drawings: Path, tmp_path: Path) -> Callable[[str], Inputs]:
    """Inputs of one drawing with one object, which is of the class that is given."""

    def make(category: str) -> Inputs:
        scene = PartShapes(seed=3, size=64)[0]
        (tmp_path / "more").mkdir(exist_ok=True)
        Image.fromarray(scene.image).save(tmp_path / "more/a.png")
        content = json.loads((drawings / "objects_train.json").read_bytes())
        content["images"] = [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}]
        content["categories"] = [{"id": 1, "name": category}]
        box = {"segmentation": [[8, 8, 56, 8, 56, 56, 8, 56]], "bbox": [8, 8, 48, 48], "area": 2304}
        content["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, **box}]
        (tmp_path / "more.json").write_text(json.dumps(content))
        images, objects = tmp_path / "more", tmp_path / "more.json"
        return Inputs(out=tmp_path / "out", images=images, objects=objects, device="cpu")

    return make


@pytest.mark.long
@pytest.mark.usefixtures("no_report")
def test_what_was_grown_can_be_grown_and_retrained_names_stay(
    grown: Path, tiny_recipe: Recipe, more: Callable[[str], Inputs], tmp_path: Path
) -> None:
    run = tmp_path / "grown"
    shutil.copytree(grown, run)
    names = PartTable({"car": ClassParts({0: "door"})})
    write_part_table(run / "part_model/part_table.json", names)  # as in a retrained model's folder
    ranking = {"num_parts": 5, "candidates": "segments", "features": "encoder"}  # as the recipe `small`
    recipe = tiny_recipe.updated({"ranking": ranking})
    model = pipeline.grow(more("kite"), recipe, run / "part_model")
    info = read_info(model)
    assert (info.class_names, info.num_parts) == ((*OLD, *NEW, "kite"), 3)  # not 5: as the old ones
    assert (tmp_path / "out/segments").is_dir()
    for table in (model / "part_table.json", tmp_path / "out/review/part_table.json"):
        assert read_part_table(table) == PartTable({**names.classes, "kite": ClassParts()})
    write_part_table(model / "part_table.json", names)  # a person's, from now on
    pipeline.grow(more("kite"), recipe, run / "part_model")
    assert read_part_table(model / "part_table.json") == names


def test_classes_that_are_there_already_are_refused(
    base: Path, tiny_recipe: Recipe, more: Callable[[str], Inputs], tmp_path: Path, drawings: Path
) -> None:
    with pytest.raises(InputError, match=r"all 1 rejected:\s+1 x left out: objects of classes .* \(car\)"):
        pipeline.grow(more("car"), tiny_recipe, base / "part_model")
    (tmp_path / "photos/car").mkdir(parents=True)
    shutil.copy(drawings / "train/000000.png", tmp_path / "photos/car")
    recipe = replace(tiny_recipe, objects=replace(tiny_recipe.objects, source="mask2former"))
    inputs = Inputs(out=tmp_path / "other", images=tmp_path / "photos", device="cpu")
    with pytest.raises(InputError, match=r"found folders of car, which .*part_model has already"):
        pipeline.grow(inputs, recipe, base / "part_model")
    assert not (tmp_path / "other").exists()


def test_other_models_are_refused(
    base: Path, tiny_recipe: Recipe, more: Callable[[str], Inputs], tmp_path: Path
) -> None:
    inputs = more("kite")
    run = tmp_path / "run"
    shutil.copytree(base, run)
    with pytest.raises(ConfigError, match=r"--out: expected a new folder"):
        pipeline.grow(replace(inputs, out=run), tiny_recipe, run / "part_model")
    with pytest.raises(InputError, match="found no run around it"):
        pipeline.grow(inputs, tiny_recipe, run / "proposal_model")
    take = growing.read_base(run / "part_model", inputs.out)
    growing.take_proposal_model(take, inputs)
    shutil.rmtree(run / "proposal_model")
    network = PartSegmenter.from_pretrained(run / "part_model").network
    network.with_head(["part"], seed=3).save_pretrained(run / "proposal_model")
    with pytest.raises(InputError, match=r"expected the proposal model that .* was trained from"):
        pipeline.grow(inputs, tiny_recipe, run / "part_model")
    with pytest.raises(SettingsChanged, match="is another proposal model than"):
        growing.take_proposal_model(take, inputs)
    shutil.rmtree(run / "proposal_model")
    with pytest.raises(InputError, match="found no proposal_model in"):
        pipeline.grow(inputs, tiny_recipe, run / "part_model")
    assert not (inputs.out / "objects").exists()


def test_the_parts_of_a_grown_run_arent_learned_again(grown: Path, tiny_recipe: Recipe) -> None:
    table = PartTable({"bird": ClassParts(rejected=frozenset({0}))})
    with pytest.raises(InputError, match="was grown: expected a run with the parts of all"):
        retraining.run(Inputs(out=grown), tiny_recipe, table)


def test_rows_that_no_part_has_stay_silent(grown: Path) -> None:
    head = PartSegmenter.from_pretrained(grown / "part_model", device="cpu").network.class_predictor
    assert np.isfinite(head.state_dict()["rows"].numpy()).all()


@pytest.mark.usefixtures("no_report")
def test_a_model_of_photographs_alone_learns_what_new_objects_look_like(
    tiny_recipe: Recipe, write_network: Callable[..., Path], tmp_path: Path
) -> None:
    network = write_network(tmp_path / "bright.onnx")
    for number, name in enumerate(("car", "kite")):
        (tmp_path / name / name).mkdir(parents=True)
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[16:48, 10 : 40 + 10 * number] = 255
        Image.fromarray(pixels).save(tmp_path / name / name / "a.png")
    recipe = tiny_recipe.updated({"objects": {"source": "salient", "model": str(network)}})
    old = Inputs(out=tmp_path / "old", images=tmp_path / "car", device="cpu")
    stage0 = PartMask2Former.from_pretrained(tiny_recipe.encoder)
    stage0.with_head(["part"], seed=0).save_pretrained(old.out / "proposal_model")
    pipeline.objects(old, recipe)
    pipeline.rank(old, recipe)
    model = pipeline.distill(old, recipe)
    new = Inputs(out=tmp_path / "new", images=tmp_path / "kite", device="cpu")
    grown = pipeline.grow(new, recipe, model)
    before, after = (numpy_file(folder / "objects_model" / MEANS) for folder in (model, grown))
    assert (set(before), set(after)) == ({"car"}, {"car", "kite"})
    assert after["car"].tobytes() == before["car"].tobytes()
    assert {shape.category for shape in PartSegmenter.from_pretrained(grown)(pixels).objects} == {"kite"}
