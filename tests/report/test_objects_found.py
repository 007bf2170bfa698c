"""The sheet and the counts of what stage 1 found."""

import logging
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from partdistillation.data.images import ImageInput
from partdistillation.objects import accept, reject, to_object
from partdistillation.pictures.colors import PALETTE
from partdistillation.report import objects_found
from partdistillation.report.objects_found import (
    GAP,
    SIDE,
    ObjectCounts,
    object_cell,
    objects_sheet,
    painting_order,
)
from partdistillation.runs.records import Object, ObjectRow

HEIGHT, WIDTH = 20, 40
WriteStage = Callable[[Path, Sequence[ObjectRow]], Path]


def thing(left: int, right: int, category: str = "cat", score: float = 0.5, bottom: int = HEIGHT) -> Object:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:bottom, left:right] = True
    return to_object(mask, category, score)


def row_of(name: str, *objects: Object) -> ObjectRow:
    image = ImageInput(name, name, Path(name))
    return accept(image, height=HEIGHT, width=WIDTH, objects=objects, max_objects=None, min_area=0.0)


def grey(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


def color_at(picture: Image.Image, x: int, y: int) -> np.ndarray:
    return np.array(picture.convert("RGB").getpixel((x, y)), dtype=int)


def test_a_cell_has_every_object_in_its_color_and_a_line_below() -> None:
    cell = object_cell(grey(), row_of("a.png", thing(0, 10, score=0.9), thing(30, 40)))
    plain = object_cell(grey(), row_of("a.png"))
    assert cell.width == plain.width == SIDE
    assert cell.height > SIDE * HEIGHT / WIDTH
    for x, number in ((20, 0), (SIDE - 20, 1)):
        shift = color_at(cell, x, 20) - color_at(plain, x, 20)
        assert np.corrcoef(shift, PALETTE[number].astype(int) - 100)[0, 1] > 0.99
    assert (color_at(cell, SIDE // 2, 20) == 100).all(), "nothing is there"
    picture, below = np.asarray(cell)[: SIDE // 2], np.asarray(cell)[SIDE // 2 :]
    for color in PALETTE[:2]:
        assert (picture == color).all(axis=2).sum() > 100, "the disc with its number"
        assert (below == color).all(axis=2).sum() > 30, "the dot in the legend"


def test_a_tall_image_is_centered() -> None:
    image = ImageInput("a.png", "a.png", Path("a.png"))
    row = accept(image, height=40, width=20, objects=[], max_objects=1, min_area=0.0)
    picture = object_cell(grey(40, 20), row)
    assert (color_at(picture, SIDE // 2, SIDE - 5) == 100).all()
    assert (color_at(picture, 50, SIDE - 5) == (0xF0, 0xF1, 0xF3)).all()


def test_small_objects_are_seen_and_of_doubles_the_best() -> None:
    bus, person = thing(0, 30, "bus", 0.9), thing(5, 10, "person", 0.4)
    truck = thing(0, 25, "truck", 0.6)  # nearly the bus
    row = row_of("a.png", bus, person, truck)
    assert [one.category for one in row.objects] == ["bus", "truck", "person"]
    assert painting_order(row) == [1, 0, 2]
    assert painting_order(row_of("a.png")) == []


def test_a_sheet_is_a_grid(tmp_path: Path) -> None:
    names = [f"{'long ' * 20}{number}.png" for number in range(5)]
    for name in names:
        Image.fromarray(grey()).save(tmp_path / name)
    rows = [row_of(name, *(thing(4 * n, 4 * n + 4, f"class {n}") for n in range(10))) for name in names]
    cell = object_cell(grey(), rows[0])
    sheet = objects_sheet(rows, tmp_path)
    assert sheet.size == (3 * (SIDE + GAP) + GAP, 2 * (cell.height + GAP) + GAP)
    placed = sheet.crop((GAP, GAP, GAP + SIDE, GAP + cell.height))
    assert placed.tobytes() == cell.tobytes()
    last = sheet.crop((2 * (SIDE + GAP), cell.height + 2 * GAP, *sheet.size))
    assert last.getextrema() == ((255, 255),) * 3, "five of six cells"


def test_of_many_objects_the_first_are_listed() -> None:
    few, many = (row_of("a.png", *(thing(0, 1 + n) for n in range(count))) for count in (21, 30))
    assert object_cell(grey(), few).size == object_cell(grey(), many).size


@pytest.fixture
def rows() -> list[ObjectRow]:
    """Seven images: two with one object, one with two, four with none, for two reasons."""
    missing = [
        ("x1.png", "no objects of class 'cat'; 3 empty"),
        ("x2.png", "no objects of class 'dog'"),
        ("x3.png", "no objects of class 'cow'"),
        ("x4.png", "x4.png: expected 30 x 20, found 3 x 2"),
    ]
    return [
        row_of("a.png", thing(0, 10, "cat", 0.4)),
        row_of("b.png", thing(0, 10, "dog", 0.6)),
        row_of("c.png", thing(0, 10, "cat", 0.8), thing(20, 30, "cat", 1.0)),
        *(reject(ImageInput(name, name, Path(name)), reason) for name, reason in missing),
    ]


def printed(rows: list[ObjectRow]) -> list[list[str]]:
    """The words of the table's lines."""
    page = StringIO()
    Console(width=80, file=page).print(ObjectCounts.count(rows).table())
    return [line.split() for line in page.getvalue().splitlines()]


def test_counts(rows: list[ObjectRow]) -> None:
    found = ObjectCounts.count(rows)
    assert found.images == {0: 4, 1: 2, 2: 1}
    assert found.classes == {"cat": 3, "dog": 1}
    assert found.reasons.counts == {"no objects of class …": 3, "…: expected … x …, found … x …": 1}
    assert [found.quantile(share) for share in (0, 0.25, 0.5, 0.75, 1)] == [0.4, 0.4, 0.6, 0.8, 1.0]


def test_the_table_is_read_at_a_glance(rows: list[ObjectRow]) -> None:
    lines = printed(rows)
    for expected in (
        "images 7",
        "with one object 2 29%",
        "with several 1 14%",
        "with none 4 57%",
        "such as: no objects of class 'cat' 3 43%",
        "objects 4",
        "cat 3 75%",
        "half up to 0.60",
    ):
        assert expected.split() in lines


def test_many_classes_are_summed_up() -> None:
    rows = [row_of("a.png", *(thing(n, n + 1, f"class {n:02}", 1.0) for n in range(10)))] * 2
    rows.append(row_of("b.png", *(thing(n, n + 1, f"class {n:02}", 1.0) for n in range(9, 14))))
    counts = printed(rows)[4:]
    assert counts[0] == ["objects", "25"]
    assert counts[1][:3] == ["class", "09", "3"]
    assert counts[11] == ["4", "other", "classes", "4", "16%"]
    assert len(counts) == 12, "no scores, where all are 1"


def test_most_images_without_objects_is_a_warning(
    rows: list[ObjectRow],
    tmp_path: Path,
    write_stage: WriteStage,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    objects_found.show(write_stage(tmp_path / "most", rows))
    assert caplog.messages[0].startswith("4 of 7 images have no object: see above why.")
    assert "with none" in capsys.readouterr().out
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        objects_found.show(write_stage(tmp_path / "few", rows[:6]))
    assert caplog.messages == [], "half of them isn't most"


def test_the_same_images_are_drawn_whatever_else_there_is(tmp_path: Path, write_stage: WriteStage) -> None:
    rows = [row_of(f"{number}.png", thing(0, 1 + number)) for number in range(8)]
    for row in rows:
        Image.fromarray(grey()).save(tmp_path / row.file_name)
    bad = reject(ImageInput("bad", "bad.png", Path("bad.png")), "torn")
    first = write_stage(tmp_path / "first", [*rows, bad])
    objects_found.draw(first, tmp_path, 4, tmp_path / "sheet.png")
    backwards = write_stage(tmp_path / "backwards", [bad, *reversed(rows)])
    objects_found.draw(backwards, tmp_path, 4, tmp_path / "again.png")
    assert (tmp_path / "sheet.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    objects_found.draw(first, tmp_path, 9, tmp_path / "all.png")
    with Image.open(tmp_path / "all.png") as every, Image.open(tmp_path / "sheet.png") as four:
        assert (every.width, four.width) == (3 * (SIDE + GAP) + GAP, 2 * (SIDE + GAP) + GAP)
