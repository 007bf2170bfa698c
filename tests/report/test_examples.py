"""Which images a report shows through all stages."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partdistillation.functional.masks import encode
from partdistillation.report.data import Key, Picture
from partdistillation.report.examples import pictures
from partdistillation.report.label_maps import part_map
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow
from partdistillation.runs.stage_reader import read_rows

COUNT = 5


def mask_of(left: int, right: int) -> np.ndarray:
    mask = np.zeros((8, 12), np.bool_)
    mask[2:6, left:right] = True
    return mask


@pytest.fixture
def run(tmp_path: Path, write_stage: Callable[[Path, Any], Path]) -> Path:
    """Images of a cat each, ever redder, with part 3; one is rejected."""
    objects, parts = [], []
    for number in range(COUNT):
        Image.new("RGB", (12, 8), (40 * number, 90, 90)).save(tmp_path / f"{number}.png")
        cat = Object(0, "cat", 1.0, 40, (1.0, 2.0, 11.0, 6.0), encode(mask_of(1, 11)))
        labelled = ObjectParts(0, "cat", (Part(3, 1.0, 1.0, 16, encode(mask_of(1, 5))),))
        objects.append(ObjectRow(str(number), f"{number}.png", 12, 8, "ok", "", (cat,)))
        parts.append(PartRow(str(number), f"{number}.png", 12, 8, "ok", "", (labelled,)))
    objects.append(ObjectRow("gone", "gone.png", 0, 0, "rejected", "no such file", ()))
    parts.append(PartRow("gone", "gone.png", 0, 0, "rejected", "no such file", ()))
    write_stage(tmp_path / "objects", objects)
    write_stage(tmp_path / "parts", parts)
    return tmp_path


def red(picture: Picture) -> int:
    return int(np.asarray(Image.open(io.BytesIO(picture.webp)))[0, 0, 0])


def test_pictures_are_spread_over_the_images_that_can_be_used(run: Path) -> None:
    layers = {"parts": (read_rows(run / "parts", PartRow), part_map)}
    rows = pictures(run / "objects", run, layers, count=3)
    assert [row.title for row in rows] == ["cat"] * 3
    assert [[panel.caption for panel in row.panels] for row in rows] == [["image", "objects", "parts"]] * 3
    assert [red(row.panels[0].picture) for row in rows] == pytest.approx([0, 80, 160], abs=3)
    assert rows[0].legend == (Key("cat, part 3", (213, 94, 0)),)
    assert len(pictures(run / "objects", run, {}, count=99)) == COUNT
