"""Ways to parts on validation images: what is compared is what it says, and all of it with the same masks."""

from dataclasses import replace
from pathlib import Path

import pytest

from partdistillation import controls
from partdistillation.config import Inputs, Recipe
from partdistillation.controls import Validation
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.records import ObjectRow, PartRow, SegmentRow
from partdistillation.stages import objects, ranking, segments
from partdistillation.store import read_rows


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
        "proposals: overlapping", "proposals: unique per pixel", "parts: mapped", "parts: clustered",
    ]  # fmt: skip
    _, unique, mapped, clustered = measured
    assert mapped.strict.predictions == 0  # it has no rows for these classes
    assert clustered.strict.predictions == unique.strict.predictions > 0
    assert 0 < clustered.strict.c_miou < 1
    ids = {part for one in clustered.strict.categories for its in one.parts for part in its.part_ids}
    assert ids == {0, 1}


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
    assert measured.strict.c_miou != measured.strict.c_miou  # NaN: nothing was named
