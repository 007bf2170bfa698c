"""Ways to parts on validation images: what is compared is what it says, and all of it with the same masks."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from partdistillation.config import Inputs, Recipe
from partdistillation.evaluation import controls
from partdistillation.evaluation.controls import Validation
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.runs.part_table import ClassParts, PartTable
from partdistillation.runs.records import ObjectRow, PartRow, SegmentRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import objects, ranking, segments


@pytest.fixture(scope="module")
def validation(drawings: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Validation:
    inputs = Inputs(
        out=tmp_path_factory.mktemp("validation"),
        images=drawings / "val",
        objects=drawings / "objects_val.json",
        parts=drawings / "parts_val.json",
    )
    found = Validation(inputs, tiny_recipe)
    found.prepare()
    return found


def test_controls_differ_from_the_method_in_one_thing_each(tiny_recipe: Recipe) -> None:
    config = tiny_recipe.segments
    assert controls.segment_controls(config) == {
        "segments: encoder, 3 + 4": ("result", config),
        "segments: encoder, 3": ("result", replace(config, levels=(3,))),
        "segments: encoder, 4": ("result", replace(config, levels=(4,))),
        "segments: random encoder, 3 + 4": ("control", replace(config, features="random")),
        "segments: RGB + xy": ("control", replace(config, features="rgb_xy", metric="l2")),
    }


def test_coarse_segments_are_measured_too(tiny_recipe: Recipe) -> None:
    config = replace(tiny_recipe.segments, coarse_k=2)
    name, way = list(controls.segment_controls(config).items())[1]
    assert (name, way) == ("segments: encoder, 3 + 4, k = 2", ("result", replace(config, k=2, coarse_k=0)))


def test_objects_of_a_file_are_read_from_it_wherever_others_come_from(
    validation: Validation, tmp_path: Path
) -> None:
    elsewhere = validation.recipe.updated({"objects": {"source": "detic"}})
    its = Validation(replace(validation.inputs, out=tmp_path), elsewhere)
    its.prepare()
    rows, expected = (list(read_rows(one.objects_dir, ObjectRow)) for one in (its, validation))
    assert rows == expected


@pytest.mark.slow
def test_a_controls_segments_are_those_of_the_stage(validation: Validation, tmp_path: Path) -> None:
    measured = controls.measure_segments(validation)
    ways = controls.segment_controls(validation.recipe.segments)
    assert [(one.name, one.kind) for one in measured] == [(name, kind) for name, (kind, _) in ways.items()]
    for number, (_, config) in enumerate(ways.values()):
        inputs = replace(validation.inputs, out=tmp_path / str(number))
        recipe = replace(validation.recipe, segments=config)
        objects.run(inputs, recipe)
        rows = list(read_rows(segments.run(inputs, recipe), SegmentRow))
        assert list(controls.segment_rows(validation, number)) == rows, config


def test_whole_objects_are_measured_on_every_image(validation: Validation) -> None:
    measured = controls.measure_whole_objects(validation)
    count = sum(len(row.objects) for row in read_rows(validation.objects_dir, ObjectRow))
    assert (measured.strict.images, measured.strict.predictions) == (4, count)
    assert 0 < measured.strict.c_miou < 1


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Recipe) -> Path:
    """A part model of object classes that the validation images don't have."""
    folder = tmp_path_factory.mktemp("models") / "strangers"
    network = PartMask2Former.from_pretrained(tiny_recipe.encoder)
    network.with_head(["ship", "harp"], num_parts=3, seed=1).save_pretrained(folder)
    return folder


def test_a_model_of_other_classes_is_scored_by_clusters_of_these_images(
    validation: Validation, strangers: Path
) -> None:
    loose = replace(validation.recipe.ranking, label_min_score=0.0, min_score=0.0, num_parts=2)
    validation = Validation(validation.inputs, replace(validation.recipe, ranking=loose))
    measured = controls.measure_model(validation, strangers)
    assert [one.name for one in measured] == [
        "proposals: overlapping", "proposals: unique per pixel", "parts: clustered",
    ]  # fmt: skip
    _, unique, clustered = measured  # and no "parts: mapped": it has no rows for these classes
    assert clustered.strict.predictions == unique.strict.predictions > 0
    assert 0 < clustered.strict.c_miou < 1
    ids = {part for one in clustered.strict.categories for its in one.parts for part in its.part_ids}
    assert ids == {0, 1}


def loosened(validation: Validation) -> Validation:
    """The same, with every proposal let through."""
    loose = replace(validation.recipe.ranking, label_min_score=0.0, min_score=0.0, num_parts=2)
    return replace(validation, recipe=replace(validation.recipe, ranking=loose))


def part_model(folder: Path, recipe: Recipe, names: Sequence[str]) -> Path:
    network = PartMask2Former.from_pretrained(recipe.encoder)
    network.with_head(names, num_parts=3, seed=1).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_class_map_stands_for_a_model_with_those_names(
    validation: Validation, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    """All rows are those of the same weights whose classes are called as the data set's are."""
    own = validation.true_classes()
    foreign = [f"a {name}" for name in own]
    found = []
    for place, names, class_map in (
        ("own", own, {}),
        ("foreign", foreign, dict(zip(own, foreign, strict=True))),
    ):
        inputs = replace(validation.inputs, out=tmp_path / place)
        its = replace(loosened(validation), inputs=inputs, class_map=class_map)
        its.prepare()
        model = part_model(tmp_path / f"{place}_model", tiny_recipe, names)
        assert controls.unknown_classes(its, model) == ()
        found.append([(one.name, one.strict.to_dict()) for one in controls.measure_model(its, model)])
    assert found[0] == found[1]
    assert len(found[0]) == 4


def test_mapped_scores_are_of_the_classes_that_the_model_knows(
    validation: Validation, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    first, *others = validation.true_classes()
    inputs = replace(validation.inputs, out=tmp_path / "out")
    its = replace(loosened(validation), inputs=inputs)
    its.prepare()
    model = part_model(tmp_path / "model", tiny_recipe, [first, "ship"])
    assert controls.unknown_classes(its, model) == tuple(others)
    rows = {one.name: one.strict for one in controls.measure_model(its, model)}
    assert [one.category for one in rows["parts: mapped"].categories] == [first]
    assert [one.category for one in rows["parts: clustered"].categories] == [first, *others]
    assert rows["parts: mapped"].images == rows["parts: clustered"].images == 4


def test_a_part_table_changes_the_mapped_parts(
    validation: Validation, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    """Under the model's names: the data set's class is another."""
    own = validation.true_classes()
    model = part_model(tmp_path / "model", tiny_recipe, ["ship"])
    found = {}
    for name, table in (("whole", None), ("less", PartTable({"ship": ClassParts(merged={1: 0, 2: 0})}))):
        inputs = replace(validation.inputs, out=tmp_path / name)
        its = replace(validation, inputs=inputs, class_map=dict.fromkeys(own, "ship"), part_table=table)
        its.prepare()
        controls.measure_parts(its, model, "mapped", "mapped", "result")
        rows = read_rows(inputs.out / "mapped", PartRow)
        found[name] = [
            (one.category, {part.part for part in one.parts}) for row in rows for one in row.objects
        ]
    assert {category for category, _ in found["whole"]} <= {*own}
    assert [(category, {0} if parts else set()) for category, parts in found["whole"]] == found["less"]
    assert any(parts - {0} for _, parts in found["whole"])


def test_clusters_are_stage_4s(validation: Validation, tiny_recipe: Recipe, tmp_path: Path) -> None:
    """The same rows as when stage 4 itself runs on these images with this proposal model."""
    loose = replace(tiny_recipe.ranking, label_min_score=0.0, min_score=0.0)
    recipe = replace(tiny_recipe, ranking=loose)
    inputs = replace(validation.inputs, out=tmp_path)
    objects.run(inputs, recipe)
    network = PartMask2Former.from_pretrained(tiny_recipe.encoder)
    network.with_head(["part"], seed=1).save_pretrained(tmp_path / "proposal_model")
    expected = list(read_rows(ranking.run(inputs, recipe), PartRow))
    controls.measure_clustered(
        Validation(validation.inputs, recipe), tmp_path / "proposal_model", "again", "clustered", "result"
    )
    assert list(read_rows(validation.inputs.out / "again" / "parts", PartRow)) == expected
    assert any(found.parts for row in expected for found in row.objects)


def test_a_model_that_proposes_nothing_is_a_row_all_the_same(validation: Validation, strangers: Path) -> None:
    strict = replace(validation.recipe.ranking, label_min_score=1.0, min_score=1.0)
    validation = Validation(validation.inputs, replace(validation.recipe, ranking=strict))
    measured = controls.measure_clustered(validation, strangers, "nothing", "clustered", "result")
    assert measured.strict.predictions == 0
    assert measured.strict.average_recall[10] == 0.0
    assert (measured.strict.c_miou, measured.strict.part_ap) == (0.0, 0.0)  # nothing was named
    mapped = controls.measure_parts(validation, strangers, "no_parts", "mapped", "result")
    assert (mapped.strict.predictions, mapped.strict.c_miou, mapped.paper.a_miou) == (0, 0.0, 0.0)
    overlapping, unique = controls.measure_proposals(validation, strangers, "nothing_named")
    assert all(math.isnan(one.strict.c_miou) for one in (overlapping, unique))  # of proposals there is none
