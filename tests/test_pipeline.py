"""The whole method on twelve drawings: what it leaves, and that stopping it anywhere changes nothing."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from partdistillation import config, pipeline
from partdistillation.commands.main import main
from partdistillation.config import CONFIG_FILE, Inputs, Recipe
from partdistillation.data.coco import read_parts
from partdistillation.errors import ConfigError, InputError, SettingsChanged, StoreError
from partdistillation.evaluation import of_predictions
from partdistillation.evaluation import tables as score_tables
from partdistillation.inference import PartSegmenter
from partdistillation.models.pretrained import read_info
from partdistillation.report import run as run_report
from partdistillation.runs import stage_log, store
from partdistillation.runs.console import PlainConsole
from partdistillation.runs.records import ObjectRow, PartRow, ProposalRow, Row, SegmentRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.training import loop

STAGES: dict[str, type[Row]] = {
    "objects": ObjectRow,
    "segments": SegmentRow,
    "features": ProposalRow,
    "parts": PartRow,
}


@pytest.fixture(scope="module")
def data(drawings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawings, of which one is broken, one is gone and one has no objects."""
    folder = tmp_path_factory.mktemp("data")
    shutil.copytree(drawings, folder, dirs_exist_ok=True)
    path = folder / "objects_train.json"
    document = json.loads(path.read_text())
    broken, gone, empty = document["images"][:3]
    (folder / "train" / broken["file_name"]).write_bytes(b"not an image")
    (folder / "train" / gone["file_name"]).unlink()
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] != empty["id"]]
    path.write_text(json.dumps(document))
    return folder


def inputs_of(out: Path, data: Path) -> Inputs:
    return Inputs(
        out=out, images=data / "train", objects=data / "objects_train.json", parts=data / "parts_train.json"
    )


@pytest.fixture(scope="module")
def finished(data: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """A run from beginning to end. Not to be changed."""
    inputs = inputs_of(tmp_path_factory.mktemp("finished") / "out", data)
    pipeline.run(inputs, tiny_recipe)
    return inputs


@pytest.fixture
def copied(finished: Inputs, tmp_path: Path) -> Inputs:
    """The same, to be changed."""
    return replace(finished, out=Path(shutil.copytree(finished.out, tmp_path / "out")))


def contents(out: Path) -> dict[str, bytes]:
    """All that a run leaves, without the report and what tells the time: seconds, the model cards' date."""
    files = (
        path for path in out.rglob("*") if path.is_file() and path.name not in ("README.md", "seconds.json")
    )
    return {
        name: path.read_bytes()
        for path in files
        if not (name := str(path.relative_to(out))).startswith("report/")
    }


def test_every_image_is_a_row_of_every_stage(finished: Inputs) -> None:
    for folder, row in STAGES.items():
        statuses = [one.status for one in read_rows(finished.out / folder, row)]
        assert statuses == ["rejected"] * 3 + ["ok"] * 9, folder


def test_a_run_leaves_models_a_log_and_a_report(finished: Inputs, tiny_recipe: Recipe) -> None:
    out = finished.out
    segmenter = PartSegmenter.from_pretrained(out / "part_model")
    assert segmenter.network.info.num_parts == 3
    assert segmenter.network.info.image_size == 64
    assert segmenter.objects_finder.vocabulary == ("car", "cat", "tree")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [
        (stage, step) for stage in ("proposals", "distillation") for step in (0, 1)
    ]
    assert set(stage_log.seconds(out)) == {"objects", "segments", "proposals", "ranking", "distillation"}
    remembered = config.from_yaml(out / CONFIG_FILE, Inputs(out=out), Recipe())
    assert remembered == (finished, tiny_recipe)
    page = (out / "report" / "index.html").read_text()
    for text in (
        "9 of 12 images",
        "Images left out: 3",
        "no such file",
        "part model, 2 steps",
        "stage 3: proposals",
    ):
        assert text in page, text


def test_a_finished_run_does_nothing(copied: Inputs, tiny_recipe: Recipe) -> None:
    before, seconds = contents(copied.out), (copied.out / "seconds.json").read_bytes()
    config_before = before.pop(CONFIG_FILE)
    pipeline.run(copied, tiny_recipe)
    after = contents(copied.out)
    assert after.pop(CONFIG_FILE) == config_before
    assert after == before
    assert (copied.out / "seconds.json").read_bytes() == seconds


def test_a_stage_that_is_done_says_so(
    copied: Inputs, tiny_recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    all_stages(copied, tiny_recipe)
    assert capsys.readouterr().err.splitlines() == [
        "objects: done before, 12 photographs",
        "segments: done before, 12 photographs",
        f"proposals: done before, {copied.out / 'proposal_model'}",
        "ranking: done before, 12 photographs",
        f"distillation: done before, {copied.out / 'part_model'}",
    ]


def test_a_report_of_a_run_that_has_just_begun(finished: Inputs, tiny_recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "out" / "objects").mkdir(parents=True)
    page = pipeline.report(replace(finished, out=tmp_path / "out"), tiny_recipe)
    assert "<p>going on</p>" in page.read_text()


@pytest.mark.long
def test_a_report_can_be_written_while_a_run_goes_on(
    finished: Inputs, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    inputs, shown = replace(finished, out=tmp_path / "out"), list[dict[str, str]]()

    def then_reports(place: Any, name: str, every: int) -> None:
        function, calls = getattr(place, name), count(1)

        def reporting(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if next(calls) % every == 0:
                report = run_report.contents(inputs, tiny_recipe, seconds={})
                shown.append({stage.name: stage.made for stage in report.stages})
            return result

        patch.setattr(place, name, reporting)

    with pytest.MonkeyPatch.context() as patch:
        then_reports(store.StageStore, "commit", 5)
        for name in ("log", "save_checkpoint", "finish", "remove_checkpoints"):
            then_reports(loop, name, 1)
        all_stages(inputs, tiny_recipe)
    lasts = [list(stages.items())[-1] for stages in shown]
    assert lasts[0] == ("objects", "going on: 5 of 12 photographs")
    assert ("segments", "going on: 8 of 12 photographs") in lasts
    assert ("proposals", "going on: step 2") in lasts
    assert ("ranking", "going on: 11 of 12 photographs") in lasts
    assert lasts[-1] == ("distillation", "part model, 2 steps")
    assert all("going on" not in made for stages in shown for made in list(stages.values())[:-1])


def all_stages(inputs: Inputs, recipe: Recipe) -> None:
    """`pipeline.run` without the report, which takes as long as all of this."""
    for stage in (pipeline.objects, pipeline.segments, pipeline.proposals, pipeline.rank, pipeline.distill):
        stage(inputs, recipe)


class Killed(BaseException):
    """Stands for a kill: nothing of the program runs after it."""


def dies_at(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, count: int) -> None:
    """The call number `count` of a function is the last thing that happens."""
    function, calls = getattr(place, name), iter(range(1, count + 1))

    def counted(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if next(calls) == count:
            raise Killed
        return result

    monkeypatch.setattr(place, name, counted)


# Commits are 12 shards of each stage. A checkpoint is saved after each of two steps of two trainings.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "name", "count"),
    [
        (store.StageStore, "commit", 5),
        (store.StageStore, "commit", 30),
        (loop, "save_checkpoint", 1),
        (loop, "save_checkpoint", 3),
        (loop, "finish", 1),
        (loop, "remove_checkpoints", 2),
    ],
)
def test_a_run_that_was_killed_ends_with_the_same_bytes(
    place: Any, name: str, count: int, finished: Inputs, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    inputs = replace(finished, out=tmp_path / "out")
    with pytest.MonkeyPatch.context() as patch:
        dies_at(patch, place, name, count)
        with pytest.raises(Killed):
            all_stages(inputs, tiny_recipe)
    all_stages(inputs, tiny_recipe)
    assert contents(inputs.out) == contents(finished.out)


@pytest.mark.parametrize(
    "change",
    [
        {"objects": {"max_objects": 1}},
        {"segments": {"k": 2}},
        {"proposals": {"learning_rate": 1e-3}},
        {"ranking": {"num_parts": 2}},
        {"ranking": {"distance": "dot"}},
        {"distillation": {"steps": 3}},
    ],
    ids=str,
)
def test_other_settings_are_refused_and_not_remembered(
    change: dict[str, Any], copied: Inputs, tiny_recipe: Recipe
) -> None:
    before = contents(copied.out)
    ((section, ((setting, _),)),) = ((name, tuple(values.items())) for name, values in change.items())
    with pytest.raises(SettingsChanged, match=rf"{setting}: was"):
        pipeline.run(copied, tiny_recipe.updated(change))
    assert contents(copied.out) == before, section


def test_what_decides_nothing_may_change(copied: Inputs, tiny_recipe: Recipe) -> None:
    other = tiny_recipe.updated({"proposals": {"log_every": 7}})
    pipeline.run(copied, other)
    assert config.from_yaml(copied.out / CONFIG_FILE, Inputs(out=copied.out), Recipe())[1] == other


def test_other_objects_are_refused_and_not_remembered(
    copied: Inputs, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    assert copied.objects is not None
    document = json.loads(copied.objects.read_text())
    document["annotations"].pop()
    other = tmp_path / "objects_train.json"
    other.write_text(json.dumps(document))
    before = contents(copied.out)
    with pytest.raises(SettingsChanged, match=r"objects_train\.json: its contents aren't those"):
        pipeline.run(replace(copied, objects=other), tiny_recipe)
    assert contents(copied.out) == before


def test_a_stage_is_remembered_as_soon_as_it_begins(data: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path / "out", data)
    with pytest.MonkeyPatch.context() as patch:
        dies_at(patch, store.StageStore, "commit", 1)
        with pytest.raises(Killed):
            pipeline.objects(inputs, tiny_recipe)
    assert config.from_yaml(inputs.out / CONFIG_FILE, Inputs(out=inputs.out), Recipe()) == (
        inputs,
        tiny_recipe,
    )
    assert stage_log.seconds(inputs.out) == {}


@pytest.mark.slow
def test_coarse_segments_are_of_the_stage_that_is_remembered(
    copied: Inputs, tiny_recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their numbers are refused as others are, though the segments themselves haven't begun."""
    with_coarse = tiny_recipe.updated({"segments": {"coarse_k": 2}})
    pipeline.segments(copied, with_coarse)
    assert "segments: done before" not in capsys.readouterr().err
    shutil.rmtree(copied.out / "segments")
    with pytest.raises(SettingsChanged, match="k: was 2, is now 1"):
        pipeline.segments(copied, tiny_recipe.updated({"segments": {"coarse_k": 1}}))
    _, remembered = config.from_yaml(copied.out / CONFIG_FILE, Inputs(out=copied.out), Recipe())
    assert remembered.segments.coarse_k == 2
    pipeline.segments(copied, with_coarse)
    pipeline.segments(copied, with_coarse)
    assert "segments: done before" in capsys.readouterr().err


def test_stages_alone_want_the_one_before(data: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path / "out", data)
    for stage in (pipeline.segments, pipeline.proposals, pipeline.rank, pipeline.distill):
        with pytest.raises(StoreError, match="expected a stage's folder"):
            stage(inputs, tiny_recipe)
    with pytest.raises(StoreError, match="run stage 1 first"):
        pipeline.report(inputs, tiny_recipe)
    with pytest.raises(ConfigError, match="--objects is missing"):
        pipeline.objects(replace(inputs, objects=None), tiny_recipe)


def test_nothing_to_learn_is_said(data: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path / "out", data)
    with pytest.raises(InputError, match="expected images with masks to learn, found none"):
        pipeline.run(inputs, tiny_recipe.updated({"proposals": {"min_object_area": 1.0}}))


def test_a_model_is_evaluated_on_other_images(
    copied: Inputs, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ["--images", str(data / "val"), "--objects", str(data / "objects_val.json")]
    model, parts = str(copied.out / "part_model"), str(data / "parts_val.json")
    out = tmp_path / "evaluation"
    assert main(["evaluate", "--model", model, *other, "--parts", parts, "--out", str(out)]) == 0
    assert capsys.readouterr().out == (out / "evaluation.md").read_text()
    rows = json.loads((out / "evaluation.json").read_text())["rows"]
    assert [row["name"] for row in rows][-2:] == ["parts: mapped", "parts: clustered"]
    assert {one["images"] for row in rows for one in row["protocols"] if one["protocol"] == "strict"} == {4}
    assert "parts: mapped,strict,4,c_miou," in (out / "evaluation.csv").read_text()
    one = ["--protocol", "strict"]
    assert main(["evaluate", "--model", model, *other, "--parts", parts, "--out", str(out), *one]) == 0
    rows = json.loads((out / "evaluation.json").read_text())["rows"]
    assert {one["protocol"] for row in rows for one in row["protocols"]} == {"strict"}
    capsys.readouterr()
    for wrong in ([], ["--model", model, "--predictions", model], [*other, "--predictions", model]):
        assert main(["evaluate", "--parts", parts, *wrong]) == 2
        assert "either --predictions, or --model" in capsys.readouterr().err


def test_a_model_is_evaluated_under_other_class_names(
    copied: Inputs, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the data set's classes have other names, of which one is mapped."""
    known = read_info(copied.out / "part_model").class_names
    objects, parts = (tmp_path / f"{kind}.json" for kind in ("objects", "parts"))
    for path, key in ((objects, "name"), (parts, "supercategory")):
        document = json.loads((data / f"{path.stem}_val.json").read_text())
        for one in document["categories"]:
            renamed = one[key] in known[::2]
            one[key] = f"a {one[key]}" if renamed else one[key]
        path.write_text(json.dumps(document))
    classes = sorted({one["supercategory"] for one in document["categories"]})
    mapped, *unknown = (name for name in classes if name not in known)
    class_map, table = tmp_path / "map.yaml", tmp_path / "table.json"
    class_map.write_text(f"{mapped}: {mapped.removeprefix('a ')}\n")
    table.write_text(json.dumps({"version": 1, "classes": {known[0]: {"merged": {"1": 0}}}}))
    out = tmp_path / "evaluation"
    args = ["evaluate", "--images", str(data / "val"), "--objects", str(objects), "--parts", str(parts),
            "--out", str(out), "--class-map", str(class_map)]  # fmt: skip
    model = ["--model", str(copied.out / "part_model")]
    assert main([*args, *model, "--parts-table", str(table)]) == 0
    found = json.loads((out / "evaluation.json").read_text())
    assert {"class map", "part table"} < found["provenance"]["made_from"].keys()
    true = {one["category"] for one in found["rows"][0]["protocols"][0]["categories"]}
    assert found["provenance"]["unknown_classes"] == [name for name in unknown if name in true] != []
    assert "The model doesn't know: a " in capsys.readouterr().out
    by_name = {row["name"]: row["protocols"][0]["categories"] for row in found["rows"]}
    assert {one["category"] for one in by_name["parts: mapped"]} == true - {*unknown}

    class_map.write_text(f"{mapped}: {mapped.removeprefix('a ')}x\n")
    assert main([*args, *model, "--out", str(tmp_path / "none")]) == 2
    assert f"Did you mean '{mapped.removeprefix('a ')}'?" in capsys.readouterr().err
    assert main([*args, "--model", str(copied.out / "proposal_model"), "--out", str(tmp_path / "none")]) == 2
    assert "a model without part classes" in capsys.readouterr().err
    table.write_text(json.dumps({"version": 1, "classes": {known[0]: {"merged": {"99": 0}}}}))
    class_map.write_text(f"{mapped}: {mapped.removeprefix('a ')}\n")
    assert main([*args, *model, "--parts-table", str(table), "--out", str(tmp_path / "none")]) == 2
    assert "mentions part 99" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.fixture
def evaluated(copied: Inputs) -> Callable[..., dict[str, Any]]:
    """Evaluates a run, and gives what it wrote, by protocol."""

    def evaluate(**options: Any) -> dict[str, Any]:
        of_predictions.evaluate(copied.out, copied.need("parts"), **options)
        written = json.loads((copied.out / "evaluation.json").read_text())
        return {one["protocol"]: one for one in written["protocols"]}

    return evaluate


def test_a_run_is_evaluated(
    evaluated: Callable[..., dict[str, Any]],
    copied: Inputs,
    tiny_recipe: Recipe,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = evaluated()
    assert list(found) == ["strict", "paper"]
    truth = read_parts(copied.need("parts"))
    assert found["strict"]["true_parts"] == sum(len(truth.of(image.id)) for image in truth.images)
    assert (
        capsys.readouterr().out == (copied.out / "evaluation.md").read_text()
    )  # whole where it's no terminal
    assert "predictions in 12 images" in (copied.out / "evaluation.md").read_text()
    assert (copied.out / "evaluation.csv").read_text().startswith("protocol,images,")
    monkeypatch.setattr(score_tables, "PlainConsole", partial(PlainConsole, force_terminal=True, width=80))
    assert list(evaluated(protocol="paper")) == ["paper"]
    shown = capsys.readouterr().out
    assert "A-mIoU (Hungarian)" in shown
    assert "…" not in shown
    pipeline.report(copied, tiny_recipe)
    assert "Against ground-truth parts" in (copied.out / "report" / "index.html").read_text()


@pytest.mark.long
def test_kill_9_at_random_moments(finished: Inputs, tiny_recipe: Recipe, tmp_path: Path) -> None:
    """The command itself, killed again and again; each time it gets a little further."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(config.to_yaml(tiny_recipe), encoding="utf-8")
    flags = {
        "out": tmp_path / "out",
        "config": recipe,
        "images": finished.images,
        "objects": finished.objects,
    }
    given = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    command = [
        sys.executable,
        "-m",
        "partdistillation",
        "run",
        *given,
        "--parts",
        str(finished.parts),
    ]
    moments, kills = random.Random(0), 0
    while True:
        started = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            code = started.wait(timeout=moments.uniform(1, 4) + kills)
            break
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
            kills += 1
    assert (code, kills > 2) == (0, True)
    assert contents(tmp_path / "out") == contents(finished.out)
