"""A model's objects as rows: what it is asked for, and what becomes of its answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image

from partdistillation.classes.class_list import ClassEntry, ClassList
from partdistillation.config import ObjectsConfig
from partdistillation.data.images import ImageInput
from partdistillation.errors import ConfigError
from partdistillation.objects import ObjectSegmenter, ObjectSource, to_object
from partdistillation.objects.labelling import plain_list
from partdistillation.objects.segmented import TOGETHER, SegmentedObjects
from partdistillation.runs.records import Object, ObjectRow

Thing = tuple[str, int, int, float]
"""Name, first and last row (of ten), score."""


@dataclass(eq=False)
class FakeSegmenter:
    """Finds the things that an image's brightness stands for, among those it is asked for."""

    things: dict[int, list[Thing]]
    vocabulary: tuple[str, ...] | None = None
    asked: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)

    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], class_names: Sequence[str]
    ) -> list[list[Object]]:
        self.asked.append((len(images), tuple(class_names)))
        assert self.vocabulary is None or set(class_names) <= set(self.vocabulary)
        return [
            [_object(thing) for thing in self.things[int(image[0, 0, 0])] if thing[0] in class_names]
            for image in images
        ]


def _object(thing: Thing) -> Object:
    name, first, last, score = thing
    mask = np.zeros((10, 10), bool)
    mask[first:last] = True
    return to_object(mask, name, score)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def photo(root: Path, brightness: int, category: str | None = None) -> ImageInput:
    name = f"{category or '.'}/{brightness}.png"
    (root / name).parent.mkdir(exist_ok=True)
    Image.new("RGB", (10, 10), (brightness, 0, 0)).save(root / name)
    return ImageInput(name, name, root / name, category)


def source(model: FakeSegmenter, classes: ClassList | Sequence[str], **settings: Any) -> SegmentedObjects:
    listed = classes if isinstance(classes, ClassList) else plain_list(classes)
    segmenter: ObjectSegmenter = model
    return SegmentedObjects(segmenter, listed, ObjectsConfig(**settings))


def shown(row: ObjectRow) -> list[tuple[str, int, float]]:
    return [(one.category, one.area, one.score) for one in row.objects]


def test_a_known_class_is_looked_for_alone(root: Path) -> None:
    model = FakeSegmenter({1: [("cat", 0, 2, 0.5), ("dog", 4, 8, 0.9), ("cat", 5, 8, 0.8)], 2: []})
    find: ObjectSource = source(model, ["cat", "dog"])
    in_cats, empty, elsewhere = find([photo(root, 1, "cat"), photo(root, 2, "cat"), photo(root, 1, "misc")])
    assert shown(in_cats) == [("cat", 30, 0.8), ("cat", 20, 0.5)]
    assert [one.object_id for one in in_cats.objects] == [0, 1]
    assert (empty.status, empty.reason) == ("rejected", "no objects of class 'cat'")
    assert (empty.width, empty.height) == (10, 10)
    assert shown(elsewhere) == [("dog", 40, 0.9), ("cat", 20, 0.5)], "the second cat is the dog"
    assert model.asked == [(2, ("cat",)), (1, ("cat", "dog"))]


def test_a_list_says_prompt_and_folder(root: Path) -> None:
    classes = ClassList(
        (
            ClassEntry("crane (bird)", "crane", "n02012849"),
            ClassEntry("crane (machine)", "crane", "n03126707"),
        )
    )
    model = FakeSegmenter({1: [("crane", 0, 2, 0.5)]})
    machine, somewhere = source(model, classes)([photo(root, 1, "n03126707"), photo(root, 1)])
    assert shown(machine) == [("crane (machine)", 20, 0.5)]
    assert shown(somewhere) == [("crane (bird)", 20, 0.5)], "the first in the list"
    assert model.asked == [(1, ("crane",)), (1, ("crane",))]


def test_a_fixed_vocabulary(root: Path) -> None:
    model = FakeSegmenter({1: [("car", 0, 2, 0.5), ("car", 0, 2, 0.4)]}, vocabulary=("car", "bus"))
    find = source(model, ["tench", "car"])
    fish, somewhere = find([photo(root, 1, "tench"), photo(root, 1)])
    assert fish.reason == "no objects of class 'tench', which the model doesn't know"
    assert shown(somewhere) == [("car", 20, 0.5)], "the second query sees the same car"
    assert somewhere.reason == "left out: 1 found again"
    (both,) = source(model, ["car"], max_overlap=1.0)([photo(root, 1)])
    assert [thing.score for thing in both.objects] == [0.5, 0.4]
    with pytest.raises(ConfigError, match="expected classes that the model knows"):
        source(model, ["tench"])
    with pytest.raises(ConfigError, match=r"objects\.people: expected a model that knows one of human"):
        source(model, ["car"], people=True)


def test_limits(root: Path) -> None:
    model = FakeSegmenter(
        {1: [("cat", 0, 9, 0.2), ("cat", 1, 9, 0.6), ("cat", 0, 1, 0.9), ("cat", 2, 9, 0.5)]}
    )
    find = source(model, ["cat"], min_score=0.3, min_area=0.2, max_objects=1, max_overlap=1.0)
    (row,) = find([photo(root, 1, "cat")])
    assert shown(row) == [("cat", 80, 0.6)]
    assert row.reason == "left out: 1 empty or smaller than 0.2 of the image; 1 after the best 1"


def test_the_best_of_any_class_stands_in(root: Path) -> None:
    model = FakeSegmenter(
        {1: [("cat", 0, 2, 0.5)], 2: [("dog", 4, 8, 0.7), ("cow", 0, 2, 0.8)], 3: [("dog", 0, 2, 0.1)]}
    )
    find = source(model, ["cat", "dog", "cow"], keep_any_class=True)
    cat, cow, nothing = find([photo(root, number, "cat") for number in (1, 2, 3)])
    assert (shown(cat), cat.reason) == ([("cat", 20, 0.5)], "")
    assert shown(cow) == [("cat", 20, 0.8)]
    assert cow.reason == "no objects of class 'cat'; the best of any, 'cow', stands for it"
    assert nothing.reason == "no objects of class 'cat'"
    assert model.asked == [(3, ("cat",)), (2, ("cat", "dog", "cow"))]


def test_people_are_added(root: Path) -> None:
    crowd: list[Thing] = [
        ("man", 0, 3, 0.9),
        ("person", 0, 3, 0.8),
        ("toddler", 4, 8, 0.31),
        ("man", 9, 10, 0.3),
    ]
    model = FakeSegmenter({1: [("hat", 0, 2, 0.5), ("hat", 2, 3, 0.4), *crowd], 2: crowd, 3: []})
    find = source(model, ["hat", "woman"], people=True, max_objects=2, min_area=0.1)
    hat, only_people, nobody = find([photo(root, number, "hat") for number in (1, 2, 3)])
    persons = [("person", 30, 0.9), ("person", 40, 0.31)]
    assert shown(hat) == [persons[0], ("hat", 20, 0.5), ("hat", 10, 0.4), persons[1]]
    assert shown(only_people) == persons
    assert (only_people.status, only_people.reason) == ("ok", "no objects of class 'hat'")
    assert nobody.reason == "no objects of class 'hat'"


def test_people_that_are_known_already_are_not_added(root: Path) -> None:
    model = FakeSegmenter({1: [("woman", 0, 4, 0.4), ("person", 0, 4, 0.9), ("man", 5, 9, 0.8)]})
    women = ClassList((ClassEntry("a woman", "woman", "woman"),))
    (row,) = source(model, women, people=True)([photo(root, 1, "woman")])
    assert shown(row) == [("person", 40, 0.8), ("a woman", 40, 0.4)]


def test_too_many_people_are_said(root: Path) -> None:
    model = FakeSegmenter({1: [("hat", 0, 1, 0.5), ("man", 2, 4, 0.8), ("man", 5, 7, 0.7)]})
    (row,) = source(model, ["hat"], people=True, max_objects=1)([photo(root, 1, "hat")])
    assert shown(row) == [("person", 20, 0.8), ("hat", 10, 0.5)]
    assert row.reason == "left out: people: 1 after the best 1"


def test_bad_images_are_rows_in_their_places(root: Path) -> None:
    model = FakeSegmenter({1: [("cat", 0, 2, 0.5)]})
    bad, good = photo(root, 2, "cat"), photo(root, 1, "cat")
    bad.path.write_bytes(b"no image")
    nameless = ImageInput("b", "b.png", root / "b.png", "cat", problem="expected a file name in UTF-8")
    rows = source(model, ["cat"])([bad, good, nameless, *[good] * TOGETHER])
    assert [row.status for row in rows] == ["rejected", "ok", "rejected", *["ok"] * TOGETHER]
    assert rows[0].reason.startswith("expected a JPEG")
    assert rows[2].reason == "expected a file name in UTF-8"
    assert [count for count, _ in model.asked] == [2, TOGETHER - 1]
    assert source(model, ["cat"])([]) == []
