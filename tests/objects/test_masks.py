"""Objects from folders of masks: one file or several an image, classes by folder or by value."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from partdistillation.data.images import ImageInput
from partdistillation.errors import InputError
from partdistillation.functional.masks import decode
from partdistillation.objects import ObjectSource
from partdistillation.objects.labelling import plain_list
from partdistillation.objects.masks import (
    MOST_LABELS,
    MaskedObjects,
    masked_objects,
    namesakes,
    require_masks,
)
from partdistillation.runs.records import ObjectRow

HEIGHT, WIDTH = 20, 30
FULL = np.ones((HEIGHT, WIDTH), np.uint8)
CLASSES = plain_list(["road", "traffic light"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the photograph `images/cat/a.png`, and the empty `masks/cat`."""
    (tmp_path / "images/cat").mkdir(parents=True)
    (tmp_path / "masks/cat").mkdir(parents=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images/cat/a.png")
    return tmp_path


def write(root: Path, name: str, labels: NDArray[Any]) -> None:
    (root / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(root / "masks" / name)


def row_of(root: Path, category: str | None = "cat", **settings: Any) -> ObjectRow:
    one = ImageInput("cat/a.png", "cat/a.png", root / "images/cat/a.png", category)
    row = masked_objects(root / "masks", one, max_objects=10, min_area=0.0, **settings)
    find: ObjectSource = MaskedObjects(root / "masks", 10, 0.0, **settings)
    assert find([one]) == [row]
    assert str(root) not in row.reason
    return row


def single(root: Path, labels: NDArray[Any], **settings: Any) -> ObjectRow:
    write(root, "cat/a.png", labels)
    return row_of(root, **settings)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_label_is_an_object(root: Path, dtype: type) -> None:
    labels: NDArray[Any] = np.zeros((HEIGHT, WIDTH), dtype)
    labels[:2, :3] = 200
    labels[10:, :] = 7
    row = single(root, labels)
    assert [(o.category, o.area, o.object_id, o.score) for o in row.objects] == [
        ("cat", 300, 0, 1.0),
        ("cat", 6, 1, 1.0),
    ]
    np.testing.assert_array_equal(decode(row.objects[1].rle, HEIGHT, WIDTH), labels == 200)


def test_binary_mask_is_one_object(root: Path) -> None:
    labels = np.zeros((HEIGHT, WIDTH), bool)
    labels[1, 1] = labels[10, 10] = True
    for mask in (labels, labels.astype(np.uint8) * 255):
        (found,) = single(root, mask).objects
        assert (found.area, found.box) == (2, (1.0, 1.0, 11.0, 11.0))


def test_masks_that_cannot_be_used(root: Path) -> None:
    assert row_of(root).reason.startswith("cat/a.png: expected the photograph's mask, found no such file")
    assert single(root, 0 * FULL).reason == "no objects"
    assert "no class" in single(root, FULL, category=None).reason
    row = single(root, FULL[:5])
    assert f"expected a mask of {WIDTH} x {HEIGHT}" in row.reason
    assert (row.height, row.width) == (HEIGHT, WIDTH)
    assert "mode RGB" in single(root, np.zeros((HEIGHT, WIDTH, 3), np.uint8)).reason
    many = np.arange(HEIGHT * WIDTH * 4).reshape(HEIGHT * 2, WIDTH * 2).astype(np.uint16)
    Image.new("RGB", (WIDTH * 2, HEIGHT * 2)).save(root / "images/cat/a.png")
    assert f"at most {MOST_LABELS} labels" in single(root, many).reason
    (root / "images/cat/a.png").write_bytes(b"")
    assert "an empty file" in single(root, FULL).reason


def test_values_that_are_classes(root: Path) -> None:
    labels = 0 * FULL
    labels[:3], labels[5:7], labels[19] = 2, 1, 255
    row = single(root, labels, category=None, classes=CLASSES)
    assert [(one.category, one.area) for one in row.objects] == [("traffic light", 90), ("road", 60)]
    assert row.reason == "left out: expected values up to 2, as there are classes, found 255"
    assert single(root, 3 * FULL, classes=CLASSES).reason == (
        "no objects; expected values up to 2, as there are classes, found 3"
    )


def test_a_folder_with_a_file_an_object(root: Path) -> None:
    large, small = 0 * FULL, 0 * FULL
    large[:, :10], small[5:8, 8:12] = 255, 1
    write(root, "cat/a/0.png", small)
    write(root, "cat/a/10.PNG", large)
    write(root, "cat/a/b.png", FULL[:9])
    write(root, "cat/a/c.png", large + small)
    write(root, "cat/a/d.png", 0 * FULL)
    (root / "masks/cat/a/e.png").write_bytes(b"nothing")
    (root / "masks/cat/a/notes.txt").touch()
    row = row_of(root)
    assert [(one.category, one.area) for one in row.objects] == [("cat", 200), ("cat", 12)], "they overlap"
    notes = row.reason.removeprefix("left out: ").split("; ")
    assert notes[:3] == [
        "b.png: expected a mask of 30 x 20 as the image, found 30 x 9",
        "c.png: expected one object, found 2 values besides 0",
        "d.png: expected one object, found 0 values besides 0",
    ]
    assert notes[3].startswith("e.png: expected a JPEG, PNG")
    write(root, "cat/a.png", FULL)
    assert [one.area for one in row_of(root).objects] == [600], "the file comes first"


def test_a_folder_with_classes_by_value(root: Path) -> None:
    labels = 0 * FULL
    labels[:2] = 2
    write(root, "cat/a/0.png", labels)
    write(root, "cat/a/1.png", 9 * FULL)
    row = row_of(root, classes=CLASSES)
    assert [one.category for one in row.objects] == ["traffic light"]
    assert row.reason == "left out: 1.png: expected values up to 2, as there are classes, found 9"


def test_a_folder_without_masks(root: Path) -> None:
    (root / "masks/cat/a").mkdir()
    assert row_of(root).reason == "cat/a: expected masks (.png), a file an object, found none"


def test_photographs_of_one_stem_have_masks_of_their_own(root: Path) -> None:
    names = ("cat/a.png", "cat/a.jpg", "cat/b.png")
    images = [ImageInput(name, name, root / "images/cat/a.png", "cat") for name in names]
    assert namesakes(images) == {"cat/a.png", "cat/a.jpg"}
    write(root, "cat/a.png", FULL)
    find = MaskedObjects(root / "masks", None, 0.0, alike=namesakes(images))
    for row, name in zip(find(images[:2]), ("a.png.png", "a.jpg.png"), strict=True):
        assert row.reason.startswith(f"expected a mask of its own, {name}, as another photograph differs in")
    write(root, "cat/a.jpg.png", FULL)
    write(root, "cat/a.png.png", np.tri(HEIGHT, WIDTH, dtype=np.uint8))
    assert [row.objects[0].area for row in find(images[:2])] == [HEIGHT * (HEIGHT + 1) // 2, HEIGHT * WIDTH]


@pytest.mark.parametrize(
    ("name", "text", "known"),
    [
        ("a.txt", "0 0.5 0.5 0.25 0.25\n", "YOLO's format"),
        ("a.json", '{"shapes": [], "imagePath": "a.jpg"}', "labelme's format"),
        ("a.md", "", "check the path"),
    ],
)
def test_a_folder_without_any_mask(tmp_path: Path, name: str, text: str, known: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=rf"expected masks \(\.png\), .* found none: .*{known}"):
        require_masks(tmp_path)
