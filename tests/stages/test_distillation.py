"""Stage 5: what is learned, object class by object class."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partdistillation.config import ArchitectureConfig, DistillationConfig, Inputs, Recipe
from partdistillation.data.examples import LabelledMask
from partdistillation.errors import InputError
from partdistillation.functional.masks import encode
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.postprocess import class_probabilities, run_network, segment_parts
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow, Status
from partdistillation.stages import distillation

Header = tuple[str, str, int, int, Status, str]


def mask(size: int) -> bytes:
    pixels = np.zeros((10, 10), np.bool_)
    pixels.flat[:size] = True
    return encode(pixels)


def part(number: int, area: int) -> Part:
    return Part(number, 1.0, 1.0, area, mask(area))


@pytest.fixture
def stages(tmp_path: Path, write_stage: Callable[[Path, Any], Path]) -> tuple[Path, Path]:
    """A dog with parts, a cat with one, a bird without, in the stages of objects and parts."""
    found = [
        Object(i, name, 1.0, 40, (0.0, 0.0, 1.0, 1.0), mask(40))
        for i, name in enumerate(("dog", "cat", "bird"))
    ]
    header: Header = ("1", "a.png", 10, 10, "ok", "")
    rejected: Header = ("2", "b.png", 0, 0, "rejected", "broken")
    parts = (
        ObjectParts(0, "dog", (part(2, 20), part(0, 3))),
        ObjectParts(1, "cat", (part(1, 8),)),
        ObjectParts(2, "bird", ()),
    )
    return (
        write_stage(tmp_path / "objects", [ObjectRow(*header, tuple(found)), ObjectRow(*rejected, ())]),
        write_stage(tmp_path / "parts", [PartRow(*header, parts), PartRow(*rejected, ())]),
    )


def test_parts_are_learned_by_their_objects_class(stages: tuple[Path, Path]) -> None:
    parts = distillation.part_ids(stages[1])
    assert parts == {"cat": {1}, "dog": {0, 2}}  # nothing is learned of birds
    assert list(parts) == ["cat", "dog"]
    names = tuple(parts)
    (image,) = distillation.part_images(*stages, names, DistillationConfig())
    assert image.masks == (
        LabelledMask(mask(20), label=2, object_class=1),
        LabelledMask(mask(3), label=0, object_class=1),
        LabelledMask(mask(8), label=1, object_class=0),
    )


def test_small_parts_and_parts_of_small_objects_can_be_left_out(stages: tuple[Path, Path]) -> None:
    names = tuple(distillation.part_ids(stages[1]))
    (image,) = distillation.part_images(*stages, names, replace(DistillationConfig(), min_mask_area=0.1))
    assert [one.label for one in image.masks] == [2, 1]
    assert distillation.part_images(*stages, names, replace(DistillationConfig(), min_object_area=0.5)) == []


def test_no_parts_at_all_is_said(tmp_path: Path, write_stage: Callable[[Path, Any], Path]) -> None:
    folder = write_stage(
        tmp_path / "parts", [PartRow("1", "a.png", 1, 1, "ok", "", (ObjectParts(0, "cat", ()),))]
    )
    with pytest.raises(InputError, match=r"lower ranking\.label_min_score"):
        distillation.part_ids(folder)


def test_classes_with_different_numbers_of_parts_learn_together(
    tmp_path: Path, write_stage: Callable[[Path, Any], Path], tiny_recipe: Recipe
) -> None:
    """A cat has 3 parts, a dog 9: the head has 9 rows for each, and of the cat 6 are never predicted."""
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    objects, parts = [], []
    for number in range(4):
        Image.fromarray(random.integers(0, 256, (64, 64, 3), np.uint8)).save(
            tmp_path / f"images/{number}.png"
        )
        header: Header = (str(number), f"{number}.png", 64, 64, "ok", "")
        found, labelled = [], []
        for place, (name, count) in enumerate((("cat", 3), ("dog", 9))):
            rows = np.arange(64 * 64).reshape(64, 64) // 64
            masks = [(rows // 3 == part) & (np.arange(64) // 32 == place) for part in range(count)]
            pieces = tuple(Part(i, 1.0, 1.0, int(one.sum()), encode(one)) for i, one in enumerate(masks))
            whole = np.any(masks, axis=0)
            found.append(Object(place, name, 1.0, int(whole.sum()), (0.0, 0.0, 1.0, 1.0), encode(whole)))
            labelled.append(ObjectParts(place, name, pieces))
        objects.append(ObjectRow(*header, tuple(found)))
        parts.append(PartRow(*header, tuple(labelled)))
    write_stage(tmp_path / "objects", objects)
    lesson = distillation.Lesson(
        name="distillation",
        parts=write_stage(tmp_path / "parts", parts),
        num_parts=9,
        initial=tiny_recipe.encoder,
        architecture=ArchitectureConfig(),
        model=tmp_path / "part_model",
        config=tiny_recipe.distillation,
        exact_rows=True,
        objects_model=tiny_recipe.encoder,
    )
    distillation.learn_parts(lesson, Inputs(out=tmp_path, images=tmp_path / "images"))
    network = PartMask2Former.from_pretrained(tmp_path / "part_model")
    view = run_network(network, random.integers(0, 256, (64, 64, 3), np.uint8), 64)
    cat, dog = (class_probabilities(network, view, index) for index in range(2))
    assert cat.shape == dog.shape == (len(view.queries), 9)
    assert not cat[:, 3:].any()
    assert (cat[:, :3] > 0).all()
    assert (dog > 0).all()
    everywhere = np.ones((64, 64), np.bool_)
    kept = segment_parts(network, view, everywhere, 0, min_ratio=0.0, min_score=0.0)
    assert set(kept.labels.tolist()) <= {0, 1, 2}
