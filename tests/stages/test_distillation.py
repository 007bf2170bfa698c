"""Stage 5: what is learned, object class by object class."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partdistillation.config import DistillationConfig
from partdistillation.data.examples import LabelledMask
from partdistillation.errors import InputError
from partdistillation.functional.masks import encode
from partdistillation.records import Object, ObjectParts, ObjectRow, Part, PartRow, Status
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
