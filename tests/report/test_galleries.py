"""What a report shows of part classes: which examples, how many, and in which colours."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partdistillation.functional.masks import encode
from partdistillation.pictures.colors import PALETTE
from partdistillation.report import galleries
from partdistillation.report.galleries import (
    CLEAREST,
    TILES,
    Finding,
    clarity,
    hero,
    in_color,
)
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow

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
    """Images of two cats each, both with part 0; of the third image's first cat there are three parts."""
    objects, parts = [], []
    for number in range(COUNT):
        Image.new("RGB", (12, 8), (10 * number, 90, 90)).save(tmp_path / f"{number}.png")
        cats = (an_object(0, "cat"), an_object(1, "cat"))
        rare = (part(2, 6, 9), part(7, 9, 11, 0.1)) if number == 2 else ()
        labelled = (
            ObjectParts(0, "cat", (part(0, 1, 5, number / 20), *rare)),
            ObjectParts(1, "cat", (part(0, 2, 4, 0.01),)),
        )
        objects.append(ObjectRow(str(number), f"{number}.png", 12, 8, "ok", "", cats))
        parts.append(PartRow(str(number), f"{number}.png", 12, 8, "ok", "", labelled))
    objects.append(ObjectRow("gone", "gone.png", 0, 0, "rejected", "no such file", ()))
    parts.append(PartRow("gone", "gone.png", 0, 0, "rejected", "no such file", ()))
    write_stage(tmp_path / "objects", objects)
    write_stage(tmp_path / "parts", parts)
    return tmp_path


@pytest.fixture
def finding(run: Path) -> Finding:
    return Finding.of(run / "objects", run / "parts")


def test_a_part_class_has_nine_examples_of_nine_images(run: Path, finding: Finding) -> None:
    (cats,) = galleries.galleries(finding, run, {("cat", 2): "mostly tail"})
    common, rare, last = cats.parts
    assert cats.category == "cat"
    assert [kind.key.name for kind in cats.parts] == ["part 0", "part 2", "part 7"]
    assert [kind.key.color for kind in cats.parts] == [tuple(PALETTE[i].tolist()) for i in (0, 2, 7)]
    assert (common.note, rare.note) == (f"{2 * COUNT} found", "1 found; mostly tail")
    assert (len(common.tiles), len(rare.tiles), len(last.tiles)) == (TILES, 1, 1)
    assert len({example.row.image_id for example in finding.examples["cat", 0]}) == TILES
    assert len(cats.objects) == CLEAREST
    again = Finding.of(run / "objects", run / "parts")
    assert galleries.galleries(again, run)[0].parts[0].tiles == common.tiles


def test_the_headline_counts(finding: Finding) -> None:
    assert finding.headline() == "3 kinds of parts in 1 class of objects, from 14 photographs"
    assert finding.headline("drawing").endswith("from 14 drawings")


def test_the_clearest_object_has_three_kinds_of_parts_before_it_has_good_scores(
    run: Path, finding: Finding
) -> None:
    assert [clear.image_id for clear in finding.clearest["cat"]] == ["2", "13", "12", "11"]
    row = hero(finding, run)
    assert row
    assert [panel.caption for panel in row.panels] == ["image", "its parts"]
    assert [key.name for key in row.legend] == ["cat, part 0", "cat, part 2", "cat, part 7"]
    photograph = np.asarray(Image.open(io.BytesIO(row.panels[0].picture.webp)))
    assert np.abs(photograph[5, 5] - (20, 90, 90)).max() < 5
    assert hero(Finding(finding.counts), run) is None


def test_clarity_falls_with_what_is_left_out_and_with_size() -> None:
    row = ObjectRow("1", "a.png", 12, 8, "ok", "", ())
    cat = an_object(0, "cat")  # 40 pixels of 96
    whole = [part(0, 1, 6, 0.5), part(1, 6, 11, 1.0)]
    assert clarity(cat, whole, row) == pytest.approx(0.75)
    assert clarity(cat, whole[:1], row) == pytest.approx(0.5 * 0.5)
    far = ObjectRow("1", "a.png", 120, 80, "ok", "", ())
    assert clarity(cat, whole, far) == pytest.approx(0.75 * 40 / (0.15 * 9600))


def test_a_page_has_a_bound_and_says_what_is_not_on_it(
    run: Path, finding: Finding, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Not shown" not in galleries.note(finding)
    monkeypatch.setattr(galleries, "MAX_PARTS", 2)
    monkeypatch.setattr(galleries, "MAX_TILES", 8)
    small = Finding.of(run / "objects", run / "parts")
    (cats,) = galleries.galleries(small, run)
    assert [(kind.key.name, len(kind.tiles)) for kind in cats.parts] == [("part 0", 4), ("part 2", 1)]
    assert galleries.note(small).endswith(" Not shown: 1 more kind, of 1 class.")
    assert ("cat", 7) not in small.examples


def test_parts_in_colour_lie_on_a_dimmed_image_of_another_size() -> None:
    labels = np.zeros((20, 30), dtype=int)
    labels[:, :15] = 3
    image = np.full((40, 60, 3), 100, np.uint8)
    colored = in_color(image, labels)
    assert colored.shape == (40, 60, 3)
    assert np.abs(colored[20, 10] - (0.6 * PALETTE[2] + 0.4 * 100)).max() <= 1
    assert (colored[20, 50] == 76).all()
