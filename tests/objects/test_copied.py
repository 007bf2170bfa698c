"""Objects of another run: copied by file name, with this run's limits."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partdistillation.data.images import ImageInput
from partdistillation.errors import StoreError
from partdistillation.objects import ObjectSource, accept, reject, to_object
from partdistillation.objects.copied import CopiedObjects
from partdistillation.runs.records import Object, ObjectRow

WriteStage = Callable[[Path, Sequence[ObjectRow]], Path]


def photo(root: Path, name: str, image_id: str = "") -> ImageInput:
    return ImageInput(image_id or name, name, root / name)


def an_object(rows: int, score: float) -> Object:
    mask = np.zeros((10, 10), bool)
    mask[:rows] = True
    return to_object(mask, "cat", score)


def other(image: ImageInput, *objects: Object, size: int = 10) -> ObjectRow:
    return accept(image, height=size, width=10, objects=objects, max_objects=10, min_area=0.02)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in "abcd":
        Image.new("RGB", (10, 10)).save(tmp_path / f"{name}.png")
    return tmp_path


def test_rows_are_copied_with_this_runs_limits(root: Path, write_stage: WriteStage) -> None:
    few, many = (
        an_object(4, 0.5),
        (an_object(1, 0.9), an_object(5, 0.8), an_object(6, 0.7), an_object(3, 1.0)),
    )
    folder = write_stage(
        root / "other",
        [
            other(photo(root, "a.png", "17"), few, an_object(0, 1.0)),
            other(photo(root, "b.png", "18"), *many),
            reject(photo(root, "c.png", "19"), "no objects"),
            other(photo(root, "d.png", "20"), few, size=12),
            reject(photo(root, "gone.png", "21"), "no such file"),
        ],
    )
    find: ObjectSource = CopiedObjects.of(folder, max_objects=2, min_area=0.2)
    names = ("d.png", "c.png", "b.png", "a.png", "new.png", "gone.png")
    wrong, rejected, best, small, new, gone = find([photo(root, name) for name in names])
    assert (small.image_id, small.status, small.objects) == ("a.png", "ok", (few,))
    assert small.reason == "left out: 1 empty or smaller than 0.02 of the image", "what that run said"
    assert [(one.object_id, one.score) for one in best.objects] == [(0, 1.0), (1, 0.8)]
    assert best.reason == "left out: 1 empty or smaller than 0.2 of the image; 1 after the best 2"
    assert (rejected.status, rejected.reason) == ("rejected", "no objects")
    assert wrong.reason == "expected an image of 10 x 12 as in the other run, found 10 x 10"
    assert new.reason == "the other run has no image of this file name"
    assert gone.reason == "expected an image file, found no such file; check the path"


def test_nothing_left(root: Path, write_stage: WriteStage) -> None:
    folder = write_stage(root / "other", [other(photo(root, "a.png"), an_object(4, 0.5))])
    (row,) = CopiedObjects.of(folder, max_objects=2, min_area=0.5)([photo(root, "a.png")])
    assert row.reason == "no objects; 1 empty or smaller than 0.5 of the image"


def test_a_folder_that_is_no_run(root: Path) -> None:
    with pytest.raises(StoreError, match="expected a stage's folder"):
        CopiedObjects.of(root, max_objects=2, min_area=0.0)
