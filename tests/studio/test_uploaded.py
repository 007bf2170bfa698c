"""What people decided on part classes, over what a model has seen on a photograph."""

import numpy as np

from partdistillation.functional.masks import decoded, encoded
from partdistillation.runs.part_table import ClassParts, PartTable
from partdistillation.studio.outlines import outline
from partdistillation.studio.questions import SeenObject, SeenPart
from partdistillation.studio.uploaded import decided, decided_names

SIDE = 4
TABLE = PartTable({"car": ClassParts(names={0: "wheel"}, merged={1: 0}, rejected=frozenset({2}))})


def row(part: int, score: float) -> SeenPart:
    """A part that is one row of pixels."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[part] = True
    return SeenPart(part, f"part {part}", score, encoded(mask), SIDE, outline(mask))


def test_parts_are_named_joined_and_left_out_as_people_want_them() -> None:
    whole = np.ones((SIDE, SIDE), dtype=bool)
    parts = tuple(row(part, score) for part, score in enumerate((0.5, 0.7, 0.9, 0.6)))
    seen = SeenObject("car", 0.9, encoded(whole), 16, outline(whole), parts)
    wheel, last = decided(seen, TABLE).parts
    assert (wheel.part, wheel.name, wheel.score, wheel.area) == (0, "wheel", 0.7, 8)
    assert decoded(wheel.mask).tolist() == [[True] * 4, [True] * 4, [False] * 4, [False] * 4]
    assert wheel.path == outline(decoded(wheel.mask))
    assert last == parts[3]
    assert decided(seen, None) is seen


def test_names_are_those_of_the_part_classes_that_are_left() -> None:
    names = [f"part {part}" for part in range(4)]
    assert decided_names({"car": names, "cup": names}, TABLE) == {
        "car": ["wheel", None, None, "part 3"],
        "cup": names,
    }
    assert decided_names({"car": names}, None) == {"car": names}
