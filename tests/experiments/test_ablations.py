"""Ablations: each variant changes one thing, and is measured beside the paper's number."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from partdistillation import config, pipeline
from partdistillation.config import Inputs, Recipe
from partdistillation.errors import CheckpointError, ConfigError
from partdistillation.evaluation import ImageParts, PredictedPart, TruePart, evaluate
from partdistillation.evaluation.controls import Measured
from partdistillation.evaluation.provenance import Provenance
from partdistillation.evaluation.run import PROTOCOLS
from partdistillation.experiments import ablations, runs
from partdistillation.experiments.ablation_grids import ABLATIONS, Ablation, Name, Variant
from partdistillation.experiments.ablation_tables import Row, ablation_tables, collected
from partdistillation.recipes import DEMO, PAPER
from partdistillation.runs.manifest import differences
from partdistillation.runs.records import ObjectRow
from partdistillation.runs.stage_reader import read_rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(drawings: Path, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return Inputs(
        out=tmp_path_factory.mktemp("base"),
        images=drawings / "train",
        objects=drawings / "objects_train.json",
        val_images=drawings / "val",
        val_objects=drawings / "objects_val.json",
        val_parts=drawings / "parts_val.json",
    )


def changed(variant: Variant, recipe: Recipe) -> set[str]:
    """The settings that a variant changes, with their new values."""
    return set(differences(recipe.to_dict(), variant.change(recipe).to_dict()))


def test_variants_change_what_they_say() -> None:
    levels = {one.label: one for one in ABLATIONS["levels"].variants(8)}
    assert changed(levels["res3 + res4"], PAPER) == set()
    assert changed(levels["res5"], PAPER) == {"segments.levels: was [3, 4], is now [5]"}
    crf = {one.label: one for one in ABLATIONS["crf"].variants(8)}
    assert changed(crf["without"], PAPER) == {"segments.crf.enabled: was true, is now false"}
    filters = {one.label: one for one in ABLATIONS["post-processing"].variants(8)}
    assert changed(filters["per pixel + area + score"], PAPER) == set()
    assert changed(filters["area + score"], PAPER) == {"ranking.per_pixel: was true, is now false"}
    assert len(changed(filters["none"], PAPER)) == 5
    sampling = [changed(one, DEMO) for one in ABLATIONS["sampling"].variants(8)]
    assert sampling == [set(), {"proposals.importance_sampling: was false, is now true"}]
    parts = [changed(one, PAPER) for one in ABLATIONS["parts"].variants(8)]
    assert parts[2] == set()
    assert parts[3] == {"ranking.num_parts: was 8, is now 16"}
    assert [one.classes for one in ABLATIONS["classes"].variants(8)] == [1, 2, 4, 8]
    encoders = {one.label: one for one in ABLATIONS["encoders"].variants(8)}
    assert changed(encoders["Swin-L, COCO instances"], PAPER) == set()
    assert encoders["Swin-L, ADE20K panoptic"].change(PAPER).encoder.endswith("swin-large-ade-panoptic")
    for label, command in (
        ("Swin-B, LVIS + COCO, Detic", "detic"),
        ("Swin-L, ADE20K instances", "mask2former"),
    ):
        with pytest.raises(CheckpointError, match=f"`partdistill convert {command}` .* --encoder"):
            encoders[label].change(PAPER)


def test_the_papers_tables_are_its_own() -> None:
    """Typed from the supplement, as it is printed there."""
    recall = [one.paper["AR@10"] for one in ABLATIONS["levels"].variants(1)]
    assert recall == [10.8, 23.4, 20.6, 27.6, 26.1, 25.3]
    miou = [one.paper["c_miou"] for one in ABLATIONS["post-processing"].variants(1)]
    assert miou == [18.5, 40.2, 21.3, 40.8, 41.5, 48.0]
    published = [one.paper for one in ABLATIONS["encoders"].variants(1) if one.paper]
    assert [(one["AR@1"], one["AR@10"]) for one in published] == [
        (2.7, 10.8), (6.6, 27.0), (6.6, 27.6), (6.6, 27.1), (5.1, 21.7), (5.5, 22.5), (5.3, 21.9),
        (5.8, 24.5), (6.0, 24.8), (5.9, 24.8),
    ]  # fmt: skip


def ends(ablation: Ablation) -> Ablation:
    """Its first variant and its last."""

    def variants(count: int) -> list[Variant]:
        first, *_, last = ablation.variants(count)
        return [first, last]

    return ablation._replace(variants=variants)


@pytest.mark.parametrize("name", ["levels", "post-processing", "sampling", "parts", "classes"])
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.long)])
def test_every_kind_runs_and_resumes(
    name: Name, whole: bool, base: Inputs, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    ablation = ABLATIONS[name] if whole else ends(ABLATIONS[name])
    monkeypatch.setattr(ablations, "ABLATIONS", {name: ablation})
    inputs = replace(base, out=base.out / ("whole" if whole else "ends"))
    found = ablations.run(name, inputs, tiny_recipe)
    classes = {one.category for row in read_rows(inputs.out / "objects", ObjectRow) for one in row.objects}
    assert [variant.label for variant, _ in found] == [one.label for one in ablation.variants(len(classes))]
    for _, measured in found:
        assert isinstance(measured, Measured)
        scores = {column: measured.strict.values()[column] for column in ablation.columns}
        assert all(-1 <= value <= 1 for value in scores.values()), scores
        assert measured.paper.protocol == "paper"
    folder = inputs.out / "ablations" / name
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = ablations.run(name, inputs, tiny_recipe)
    assert [str(measured) for _, measured in again] == [str(measured) for _, measured in found]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == files


def test_fewer_classes_are_within_more(base: Inputs, tiny_recipe: Recipe, tmp_path: Path) -> None:
    whole = list(read_rows(pipeline.objects(base, tiny_recipe), ObjectRow))
    names = sorted({one.category for row in whole for one in row.objects})
    seen: list[set[str]] = []
    for variant in list(ABLATIONS["classes"].variants(len(names)))[:3]:
        chosen = ablations._chosen(variant, names, seed=0)
        some = list(read_rows(ablations._of_classes(base.out, tmp_path / variant.label, chosen), ObjectRow))
        seen.append({one.category for row in some for one in row.objects})
        for before, row in zip(whole, some, strict=True):
            kept = [one for one in before.objects if one.category in chosen]
            assert [one.rle for one in row.objects] == [one.rle for one in kept]
            assert [one.object_id for one in row.objects] == list(range(len(kept)))
            assert (row.image_id, row.status) == (before.image_id, "ok" if kept else "rejected")
    assert seen[0] < seen[1] < seen[2]
    assert [len(one) for one in seen] == [1, 2, 4]


def test_objects_of_another_run_are_learned_from_by_class(
    base: Inputs, tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = ABLATIONS["classes"]
    first = classes._replace(variants=lambda count: list(classes.variants(count))[1:2])
    monkeypatch.setattr(ablations, "ABLATIONS", {"classes": first})
    pipeline.objects(base, tiny_recipe)
    pipeline.objects(replace(base.held_out, out=tmp_path / "held_out"), tiny_recipe)
    copied = tiny_recipe.updated({"objects": {"source": "run"}})
    inputs = replace(base, out=tmp_path / "out", objects=base.out, val_objects=tmp_path / "held_out")
    found = ablations.run("classes", inputs, copied)
    assert [(variant.classes, type(measured)) for variant, measured in found] == [(2, Measured)]
    with pytest.raises(ConfigError, match=r"found the folder .*--objects.source run"):
        ablations.run("classes", replace(inputs, out=tmp_path / "other", objects=base.objects), tiny_recipe)
    assert not (tmp_path / "other" / "objects").exists()


def test_a_model_that_is_not_here_is_a_row_of_its_own(
    base: Inputs, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = ablations._measure

    def unpublished(variant: Variant, *arguments: object) -> object:
        if variant.change(tiny_recipe).encoder.startswith("facebook/"):  # others raise by themselves
            raise CheckpointError("facebook/x: expected a model; no network")
        return measure(variant, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ablations, "_measure", unpublished)
    found = ablations.run("encoders", base, tiny_recipe)
    assert [isinstance(scores, str) for _, scores in found] == [False] * 3 + [True] * 10
    seeds = {0: Provenance("0" * 64, {}), 1: Provenance("0" * 64, {})}
    rows = collected(dict.fromkeys(seeds, found))
    table = ablation_tables(ABLATIONS["encoders"], rows, seeds).markdown()
    assert "| Swin-L, COCO instances | - | 6.6 | - | 27.6 |" in table
    assert "| Swin-B, LVIS + COCO, Detic | - | 2.7 | - | 10.8 |" in table
    assert (
        "Not run: Swin-B, LVIS + COCO, Detic (not published under a name: `partdistill convert detic`"
        in table
    )
    assert "Not run: Swin-B, COCO instances; Swin-L, COCO instances;" in table
    assert "ADE20K panoptic (facebook/x: expected a model)." in table
    assert "2 runs" in table


def test_tables_hold_means_deviations_and_the_papers_numbers() -> None:
    row = Row("res3", {"AR@10": 10.8}, {3: measured(0.5), 5: measured(1.0)})
    origins = {3: Provenance("3" * 64, {}), 5: Provenance("5" * 64, {})}
    found = ablation_tables(
        ABLATIONS["levels"], [row, Row("res4", {"AR@10": 23.4}, {}, "x: missing")], origins
    )
    table = found.markdown()
    assert table.count("| | AR@1 | AR@10 | AR@10, paper |") == 2
    assert table.count("| res3 | 55.0 ± 63.6 | 55.0 ± 63.6 | 10.8 |") == 2  # one of ten thresholds, or all
    assert table.count("| res4 | - | - | 23.4 |") == 2
    assert (
        "Ours: in percent, 2 runs, mean ± standard deviation, 1 images. Not run: res4 (x: missing)." in table
    )
    assert "- Seed 3. SHA-256: truth 333333333333\n- Seed 5. SHA-256: truth 555555555555\n" in table
    lines = [one for one in csv.DictReader(io.StringIO(found.csv())) if one["score"] == "AR@10"]
    assert [(one["seed"], one["protocol"], one["images"], one["value"], one["paper"]) for one in lines] == [
        ("3", "strict", "1", "0.1", "0.108"), ("3", "paper", "1", "0.1", "0.108"),
        ("5", "strict", "1", "1.0", "0.108"), ("5", "paper", "1", "1.0", "0.108"), ("", "", "", "", "0.234"),
    ]  # fmt: skip
    assert [one["sha256 of truth"] for one in lines] == ["3" * 12] * 2 + ["5" * 12] * 2 + [""]
    content = json.loads(found.json())
    assert content["rows"][0]["paper"] == {"AR@10": 10.8}
    assert [one["seed"] for one in content["rows"][0]["runs"]] == [3, 5]
    written = io.StringIO()
    Console(width=80, file=written).print(found.printed())
    assert max(map(len, written.getvalue().splitlines())) <= 80
    assert "55.0" in written.getvalue()
    assert "±63.6" in written.getvalue()


def measured(overlap: float) -> Measured:
    """A part of which a proposal has this share."""
    whole = np.zeros((10, 10), np.bool_)
    whole[:, :4] = True
    some = whole.copy()
    some[round(10 * overlap) :] = False
    image = ImageParts((TruePart("car", "all", whole),), (PredictedPart("car", some, 1.0, None),), "1")
    strict, paper = (evaluate([image], protocol=protocol, named=False) for protocol in PROTOCOLS)
    return Measured("a proposal", "result", strict, paper)


def test_runs_are_the_demos_own_folders(tmp_path: Path) -> None:
    from partdistillation.experiments import demo

    plan = demo.Plan(train=3, val=2, size=64)
    found = list(runs.part_shapes(Inputs(out=tmp_path), (0, 2), DEMO, plan))
    assert [one.inputs.out.name for one in found] == ["seed-0", "seed-2"]
    assert found[1].recipe.proposals.seed == 2
    assert found[1].inputs.need("val_parts") == tmp_path / "seed-2" / "data" / "parts_val.json"
    own = list(runs.own_data(Inputs(out=tmp_path, images=tmp_path), (5,), config.Recipe()))
    assert (own[0].inputs.out, own[0].inputs.images) == (tmp_path / "seed-5", tmp_path)


def test_tables_lie_beside_the_runs(
    base: Inputs, tiny_recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = [runs.Run(seed, base, tiny_recipe) for seed in (0, 1)]
    ablations.ablate("crf", prepared, tmp_path / "new")
    table = (tmp_path / "new" / "ablations" / "crf.md").read_text()
    assert table in capsys.readouterr().out
    assert table.startswith("### Dense CRF")
    assert "2 runs" in table
    assert [line[:18] for line in table.splitlines() if line.startswith("- ")] == [
        "- Seed 0. SHA-256:",
        "- Seed 1. SHA-256:",
    ]
    assert "standard deviation, 4 images." in table
    lines = list(csv.DictReader((tmp_path / "new" / "ablations" / "crf.csv").read_text().splitlines()))
    content = json.loads((tmp_path / "new" / "ablations" / "crf.json").read_text())
    made = content["runs"][1]["provenance"]
    expected = (made["truth"][:12], made["made_from"]["encoder.0"][:12], made["config"][:12])
    for line in lines:
        found = tuple(line[f"sha256 of {name}"] for name in ("truth", "encoder.0", "config"))
        assert found == expected
    assert [(one["seed"], list(one["provenance"]["made_from"])) for one in content["runs"]] == [
        (0, ["encoder.0"]), (1, ["encoder.0"]),
    ]  # fmt: skip
    assert [one["protocol"] for one in content["rows"][0]["runs"][0]["protocols"]] == ["strict", "paper"]
    assert {one["images"] for one in lines} == {"4"}
    assert all(line["low"] and line["high"] for line in lines if line["score"] == "AR@10")
    assert {path.suffix for path in (tmp_path / "new" / "ablations").iterdir()} == {".md", ".csv", ".json"}
