"""Which pictures a report shows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partdistillation.functional.masks import encode
from partdistillation.report.examples import TILES, galleries, pictures
from partdistillation.report.label_maps import part_map
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow
from partdistillation.runs.store import read_rows

COUNT = 14


def box(left: int, right: int) -> np.ndarray:
    mask = np.zeros((8, 12), np.bool_)
    mask[2:6, left:right] = True
    return mask


def part(number: int, left: int, right: int, score: float = 1.0) -> Part:
    mask = box(left, right)
    return Part(number, 1.0, score, int(mask.sum()), encode(mask))


def an_object(object_id: int, category: str) -> Object:
    return Object(object_id, category, 1.0, 40, (1.0, 2.0, 11.0, 6.0), encode(box(1, 11)))


@pytest.fixture
def run(tmp_path: Path, write_stage: Callable[[Path, Any], Path]) -> Path:
    """Images of two cats each, both with part 0; part 2 is in the first one alone. One is rejected."""
    objects, parts = [], []
    for number in range(COUNT):
        Image.new("RGB", (12, 8), (10 * number, 90, 90)).save(tmp_path / f"{number}.png")
        found = (an_object(0, "cat"), an_object(1, "cat"))
        rare = (part(2, 6, 9),) if number == 0 else ()
        labelled = (ObjectParts(0, "cat", (part(0, 1, 5), *rare)), ObjectParts(1, "cat", (part(0, 2, 4),)))
        objects.append(ObjectRow(str(number), f"{number}.png", 12, 8, "ok", "", found))
        parts.append(PartRow(str(number), f"{number}.png", 12, 8, "ok", "", labelled))
    objects.append(ObjectRow("gone", "gone.png", 0, 0, "rejected", "no such file", ()))
    parts.append(PartRow("gone", "gone.png", 0, 0, "rejected", "no such file", ()))
    write_stage(tmp_path / "objects", objects)
    write_stage(tmp_path / "parts", parts)
    return tmp_path


def test_a_part_class_has_nine_examples_of_nine_images(run: Path) -> None:
    (cats,) = galleries(run / "objects", run / "parts", run, {("cat", 2): "mostly tail"})
    common, rare = cats.parts
    assert (cats.category, common.name, rare.name) == ("cat", "part 0", "part 2")
    assert (common.note, rare.note) == (f"{2 * COUNT} found", "1 found; mostly tail")
    assert (len(common.tiles), len(rare.tiles)) == (TILES, 1)
    assert len({tile.tobytes() for tile in common.tiles}) == TILES
    again = galleries(run / "objects", run / "parts", run)[0].parts[0].tiles
    assert all(np.array_equal(one, other) for one, other in zip(common.tiles, again, strict=True))


def test_pictures_are_spread_over_the_images_that_can_be_used(run: Path) -> None:
    layers = {"parts": (read_rows(run / "parts", PartRow), part_map)}
    rows = pictures(run / "objects", run, layers, count=3)
    assert [row.title for row in rows] == ["cat"] * 3
    assert [[panel.caption for panel in row.panels] for row in rows] == [["image", "objects", "parts"]] * 3
    reds = [int(row.panels[0].pixels[0, 0, 0]) for row in rows]
    assert reds == [0, 60, 130]
    assert len(pictures(run / "objects", run, {}, count=99)) == COUNT
