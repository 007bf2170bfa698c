"""Ways to parts on validation images: what is compared is what it says, and all of it with the same masks."""

from dataclasses import replace
from pathlib import Path

import pytest

from partdistillation import controls
from partdistillation.config import Inputs, Recipe
from partdistillation.controls import Validation
from partdistillation.records import ObjectRow, SegmentRow
from partdistillation.stages import objects, segments
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
