"""Which images stand for a part class, and what is drawn of them."""

import json
import re
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partdistillation.commands import main as cli
from partdistillation.data.images import load_image
from partdistillation.errors import InputError, StoreError
from partdistillation.functional.masks import box, encode
from partdistillation.review.collages import (
    PartSample,
    Tile,
    draw_collage,
    draw_sheet,
    draw_tile,
    draw_tiles,
    sample_parts,
    summary,
    write_collages,
)
from partdistillation.review.collages.drawing import LARGE, RED, draw_large
from partdistillation.runs.records import Object, ObjectParts, ObjectRow, Part, PartRow

Write = Callable[[Path, Sequence[Any]], Path]
Found = tuple[str, np.ndarray, Sequence[tuple[int, np.ndarray]]]
"""An object: its class, its mask, and its parts with their numbers."""

HEIGHT, WIDTH = 30, 40


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


OBJECT, WHEEL, MOST = rectangle(10, 5, 30, 25), rectangle(10, 15, 20, 25), rectangle(10, 5, 30, 16)
"""The wheel is a quarter of the object, and the last of them 55 %."""


def rows(image_id: str, *found: Found) -> tuple[ObjectRow, PartRow]:
    name = f"{image_id}.png"
    objects = tuple(
        Object(i, category, 0.9, int(mask.sum()), box(mask), encode(mask))
        for i, (category, mask, _) in enumerate(found)
    )
    parts = tuple(
        ObjectParts(i, category, tuple(Part(k, 0.5, 0.9, int(part.sum()), encode(part)) for k, part in parts))
        for i, (category, _, parts) in enumerate(found)
    )
    return (
        ObjectRow(image_id, name, WIDTH, HEIGHT, "ok", "", objects),
        PartRow(image_id, name, WIDTH, HEIGHT, "ok", "", parts),
    )


Run = Callable[[Sequence[tuple[ObjectRow, PartRow]]], Path]


@pytest.fixture
def run(tmp_path: Path, write_stage: Write) -> Run:
    """Writes a run's folder with these rows, and a photograph a row, all of one grey."""
    number = count()

    def write(pairs: Sequence[tuple[ObjectRow, PartRow]]) -> Path:
        out = tmp_path / f"run{next(number)}"
        write_stage(out / "objects", [row for row, _ in pairs])
        write_stage(out / "parts", [row for _, row in pairs])
        (out / "photos").mkdir()
        for row, _ in pairs:
            Image.new("RGB", (WIDTH, HEIGHT), (100, 100, 100)).save(out / "photos" / row.file_name)
        return out

    return write


def samples(out: Path, **settings: Any) -> list[PartSample]:
    return list(sample_parts(out / "objects", out / "parts", **settings))


def ids(sample: PartSample) -> list[str]:
    return [tile.image_id for tile in sample.tiles]


def cars(number: int) -> list[tuple[ObjectRow, PartRow]]:
    return [rows(f"{i:03d}", ("car", OBJECT, [(0, WHEEL)])) for i in range(number)]


# ---------------------------------------------------------------------- which


def test_nine_images_are_drawn_by_seed_whatever_the_order_of_rows(run: Run) -> None:
    (sample,) = samples(run(cars(50)))
    assert (sample.category, sample.part, sample.available) == ("car", 0, 50)
    assert len(set(ids(sample))) == 9
    assert samples(run(cars(50)[::-1])) == [sample]
    assert ids(samples(run(cars(50)), seed=1)[0]) != ids(sample)


def test_other_classes_and_parts_do_not_matter(run: Run) -> None:
    alone = samples(run(cars(50)))[0]
    more = [rows(f"{i:03d}", ("car", OBJECT, [(1, WHEEL), (0, WHEEL)])) for i in range(50)]
    first, second, dog = samples(run([*more, rows("dog", ("dog", OBJECT, [(0, WHEEL)]))]))
    assert ids(first) == ids(alone)
    assert ids(second) != ids(alone)  # drawn on its own
    assert (dog.category, ids(dog), dog.available) == ("dog", ["dog"], 1)


def test_images_are_as_likely_as_any_other(run: Run) -> None:
    out = run(cars(20))
    drawn = np.zeros(20)
    for seed in range(50):
        for image_id in ids(samples(out, seed=seed)[0]):
            drawn[int(image_id)] += 1
    # Each is drawn 22.5 times on average, with a standard deviation of 3.5.
    assert drawn.sum() == 450
    assert abs(drawn - 22.5).max() < 16


def test_parts_that_cover_their_object_are_left_out(run: Run) -> None:
    pairs = [
        rows("a", ("car", OBJECT, [(0, WHEEL), (0, MOST), (1, OBJECT)])),
        rows("b", ("car", OBJECT, [(0, MOST)])),
    ]
    wheel, whole = samples(run(pairs))
    assert (ids(wheel), wheel.available) == (["a"], 1)
    assert wheel.tiles[0].masks == (encode(WHEEL),)
    assert whole == PartSample("car", 1, (), 0)
    wheel, whole = samples(run(pairs), max_object_iou=0.55)  # of those that overlap more
    assert (wheel.available, whole.available) == (2, 0)


def test_of_an_image_one_object_is_shown_with_all_its_parts_of_the_class(run: Run) -> None:
    other = rectangle(22, 15, 28, 25)
    pairs = [
        rows(f"{i}", ("car", OBJECT, [(0, WHEEL), (0, other)]), ("car", MOST, [(0, other)])) for i in range(8)
    ]
    (sample,) = samples(run(pairs))
    assert sample.available == len(sample.tiles) == 8
    assert {tile.object_id for tile in sample.tiles} == {0, 1}
    for tile in sample.tiles:
        assert tile.masks == ((encode(WHEEL), encode(other)) if tile.object_id == 0 else (encode(other),))
        assert tile.box == (box(OBJECT), box(MOST))[tile.object_id]


def test_rows_of_other_images_are_refused(run: Run) -> None:
    here, elsewhere = run(cars(3)), run(cars(4))
    with pytest.raises(StoreError, match="found '003' where 'none' belongs"):
        list(sample_parts(here / "objects", elsewhere / "parts"))


# ---------------------------------------------------------------------- tiles


def tile_of(mask: np.ndarray, around: np.ndarray = OBJECT, file_name: str = "a.png") -> Tile:
    return Tile("a", file_name, 0, WIDTH, HEIGHT, box(around), (encode(mask),))


def photograph(folder: Path, name: str = "a.png", size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    Image.new("RGB", size, (100, 120, 140)).save(folder / name)


DIMMED = np.array([93, 97, 100])
"""Of the photograph's (100, 120, 140): brightness 116, a quarter of the way back, .62 of that + 24."""


def test_the_part_is_red_and_nothing_else(tmp_path: Path) -> None:
    photograph(tmp_path)
    # 20 pixels an object and 15 % around it on both sides: 26 pixels of the photograph are seen, from (7, 2).
    picture = draw_tile(tmp_path, tile_of(WHEEL, rectangle(10, 5, 30, 25)), size=78).astype(int)
    grey, red = np.array([100, 120, 140]), np.array(RED)
    assert (
        np.abs(picture[3 * 18 : 3 * 18 + 3, 3 * 8 - 1] - (0.7 * grey + 0.3 * red)).max() <= 1
    )  # translucent
    assert np.abs(picture[[10, 3 * 5], [70, 3 * 8]] - DIMMED).max() <= 1
    reddish = picture[:, :, 0] - picture[:, :, 1] > 40
    where = np.zeros((78, 78), bool)
    where[3 * 13 : 3 * 23, 3 * 3 : 3 * 13] = True  # the wheel in the tile
    assert not reddish[~where].any()
    assert (reddish & where).sum() > 0.93 * where.sum()  # all but the rounded corners
    assert (np.abs(picture - red).max(axis=2) < 8).sum() > 50  # its border, in solid red
    assert (picture.min(axis=2) > 200).sum() > 50  # and white around it


def test_a_small_object_is_seen_with_more_around_it(tmp_path: Path) -> None:
    photograph(tmp_path)
    speck = rectangle(20, 10, 22, 12)
    picture = draw_tile(tmp_path, tile_of(speck, speck), size=60)  # 20 pixels, three times as large
    red = picture[:, :, 0].astype(int) - picture[:, :, 1] > 60
    rows, columns = np.nonzero(red)
    assert rows.min() >= 26
    assert rows.max() <= 33
    assert columns.min() >= 26
    assert columns.max() <= 33


def test_an_object_at_the_edge_of_a_wide_image_fits(tmp_path: Path) -> None:
    photograph(tmp_path)
    whole = np.ones((HEIGHT, WIDTH), bool)
    picture = draw_tile(tmp_path, tile_of(rectangle(0, 0, 5, 5), whole), size=80)
    assert picture.shape == (80, 80, 3)
    assert (picture[[0, -1]] == (0xEE, 0xF0, 0xF2)).all()  # above and below the image
    assert np.abs(picture[40, 40].astype(int) - DIMMED).max() <= 1


@pytest.mark.parametrize("color", [RED, (200, 30, 30), (90, 10, 10), (255, 255, 255), (0, 0, 0)])
def test_a_part_is_seen_on_any_colour(tmp_path: Path, color: tuple[int, int, int]) -> None:
    """By a line that is lighter than both of its sides, so without colours too; and by more colour inside."""
    Image.new("RGB", (WIDTH, HEIGHT), color).save(tmp_path / "a.png")
    picture = draw_tile(tmp_path, tile_of(WHEEL, rectangle(10, 5, 30, 25)), size=78)
    inside, around = (54, 24), (9, 9)  # three pixels a pixel of the photograph, from (7, 2)
    grey = np.asarray(Image.fromarray(picture).convert("L")).astype(int)
    assert max(grey[54, 5:12]) - max(grey[inside], grey[around]) > 40
    assert 20 <= grey[around] <= 190  # neither black nor white
    red, green, _ = np.moveaxis(picture.astype(int), -1, 0)
    assert (red - green)[inside] - (red - green)[around] > 60


def test_what_is_looked_into_is_the_same_but_larger(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 1500), (100, 120, 140)).save(tmp_path / "a.png")
    around, part = np.zeros((1500, 2000), bool), np.zeros((1500, 2000), bool)
    around[400:1000, 500:1100], part[600:800, 900:1000] = True, True
    tile = Tile("a", "a.png", 0, 2000, 1500, box(around), (encode(part),))
    large, small = draw_large(tmp_path, tile, 360), draw_tile(tmp_path, tile, 360)
    assert large.shape == (LARGE, LARGE, 3)
    again = Image.fromarray(large).resize((360, 360), Image.Resampling.BOX)
    assert np.abs(np.asarray(again).astype(int) - small).mean() < 2
    photograph(tmp_path)
    speck = rectangle(20, 10, 22, 12)
    # The whole height, 32 pixels, is shown; three times as large it would be smaller than the tile.
    assert draw_large(tmp_path, tile_of(speck, speck), 360).shape == (360, 360, 3)
    (tmp_path / "a.png").unlink()
    assert draw_large(tmp_path, tile, 360).shape == (360, 360, 3)  # and says so


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "image is gone"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "image is damaged"),
        (lambda path: Image.new("RGB", (9, 9)).save(path), "image has changed its size"),
    ],
)
def test_an_image_that_cannot_be_shown_is_a_grey_tile_that_says_so(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    photograph(tmp_path, "a.png")
    photograph(tmp_path, "b.png")
    spoil(tmp_path / "a.png")
    gone, fine = draw_tiles(tmp_path, [tile_of(WHEEL), tile_of(WHEEL, file_name="b.png")], size=120)
    assert gone.problem == reason
    assert (gone.picture[0] == (0xC9, 0xCD, 0xD3)).all()
    assert (gone.picture.max(axis=2) < 100).sum() > 50  # letters
    assert fine.problem == ""


def test_an_image_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photograph(tmp_path)
    read: list[Path] = []

    def load(path: Path) -> np.ndarray:
        read.append(path)
        return load_image(path)

    monkeypatch.setattr("partdistillation.review.collages.drawing.load_image", load)
    assert len(draw_tiles(tmp_path, [tile_of(WHEEL), tile_of(MOST), tile_of(WHEEL)], 50)) == 3
    assert read == [tmp_path / "a.png"]


# ---------------------------------------------------------------------- collages


def test_a_collage_has_three_rows_of_three() -> None:
    tiles = [np.full((40, 40, 3), 10 * i, np.uint8) for i in range(9)]
    sample = PartSample("car", 3, (tile_of(WHEEL),) * 9, 12)
    picture = np.asarray(draw_collage(sample, tiles))
    assert picture.shape[1] == 3 * 40 + 4 * 6
    head = picture.shape[0] - 3 * 46
    for i in range(9):
        top, left = head + i // 3 * 46, 6 + i % 3 * 46
        assert (picture[top : top + 40, left : left + 40] == 10 * i).all()


def test_a_collage_of_few_images_says_so() -> None:
    def headline(available: int) -> np.ndarray:
        tiles = [np.zeros((200, 200, 3), np.uint8)] * min(available, 9)
        sample = PartSample("car", 3, (tile_of(WHEEL),) * len(tiles), available)
        picture = np.asarray(draw_collage(sample, tiles)).astype(int)
        if available < 9:
            assert (picture[-20, -20] == (0xEE, 0xF0, 0xF2)).all()  # an empty place
        return picture[:30]

    def warns(picture: np.ndarray) -> bool:
        return bool((np.abs(picture - (0xA3, 0x4A, 0x00)).max(axis=2) < 30).sum() > 20)

    assert not warns(headline(9))
    assert warns(headline(8))
    assert warns(headline(0))
    assert not np.array_equal(headline(8), headline(7))


HOSTILE = (
    "a/b\\..",
    "../../etc",
    "",
    ".",
    "con",
    "line\nbreak\ttab\x00\x1b[31m",
    "å∂ 汽车 🚗 \u202eback",
    "x" * 5000,
    "X" * 5000,
    "$\\frac{$",
)


def test_hostile_names_stay_in_their_folder_and_on_their_picture(run: Run) -> None:
    pairs = [rows(f"{i}", (name, OBJECT, [(0, WHEEL)])) for i, name in enumerate(HOSTILE)]
    out = run(pairs)
    before = {path for path in out.parent.rglob("*") if "collages" not in path.parts}
    made = write_collages(out, out / "photos", size=60)
    assert sorted(one.category for one in made) == sorted(HOSTILE)
    assert before == {path for path in out.parent.rglob("*") if "collages" not in path.parts}
    assert len({one.file.lower() for one in made}) == len(HOSTILE)
    for one in made:
        assert (out / "collages" / one.file).resolve().is_relative_to(out / "collages")
        with Image.open(out / "collages" / one.file) as picture:
            assert picture.width == 3 * 60 + 4 * 6
    assert "\x1b" not in summary(made, out)


def test_a_sheet_has_a_row_of_three_a_part_class() -> None:
    sample = PartSample("car", 0, (tile_of(WHEEL),) * 4, 4)
    tiles = [np.full((50, 50, 3), 10 * i, np.uint8) for i in range(4)]
    picture = np.asarray(draw_sheet("car", [(sample, tiles), (sample._replace(part=1), tiles[:1])]))
    assert picture.shape[1] == 3 * 50 + 4 * 6
    for value, times in ((10, 1), (20, 1), (30, 0)):
        # the first three of the first part class, and none of them of the second
        assert (picture == value).all(axis=2).sum() == times * 2500
    assert (picture == 0).all(axis=2).sum() == 2 * 2500


# ---------------------------------------------------------------------- files


def pages(path: Path) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", path.read_bytes()))


def test_a_folder_an_object_class(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [rows(f"{i}", ("car", OBJECT, [(0, WHEEL), (2, WHEEL)])) for i in range(9)]
    out = run([*pairs, rows("dog", ("dog", OBJECT, [(1, WHEEL), (4, OBJECT)]))])
    (out / "photos" / "3.png").unlink()
    assert cli.main(["collages", str(out), "--images", str(out / "photos"), "--size", "60"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines() == [
        f"4 collages of 2 object classes in {out / 'collages'}",
        "2 part classes have fewer than 9 images: dog part 1 (1), dog part 4 (0)",
        "1 images couldn't be read: 3.png",
    ]
    folder = out / "collages"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        *("car/collages.pdf", "car/part_0.png", "car/part_2.png", "car/sheet.png", "car/summary.json"),
        *("dog/collages.pdf", "dog/part_1.png", "dog/part_4.png", "dog/sheet.png", "dog/summary.json"),
        "summary.json",
    ]
    assert pages(folder / "car" / "collages.pdf") == 3  # the sheet, and a page a part class
    parts = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["parts"]
    assert parts[1] == {
        "category": "car",
        "part": 2,
        "available": 9,
        "shown": 9,
        "unreadable": ["3.png"],
        "file": "car/part_2.png",
    }
    assert [one["shown"] for one in parts] == [9, 9, 1, 0]


def test_what_is_drawn_stays_until_something_changes(run: Run) -> None:
    out = run(
        [*cars(3), rows("dog", ("dog", OBJECT, [(0, WHEEL)])), rows("ox", ("ox", OBJECT, [(0, WHEEL)]))]
    )
    photos, folder = out / "photos", out / "collages"
    (photos / "dog.png").rename(photos / "away")
    first = write_collages(out, photos, size=60)
    drawn = (folder / "ox" / "part_0.png").read_bytes()
    (folder / "car" / "part_0.png").write_bytes(b"old")
    (photos / "away").rename(photos / "dog.png")
    again = write_collages(out, photos, size=60)
    assert (folder / "car" / "part_0.png").read_bytes() == b"old"  # was done
    assert (first[1].unreadable, again[1].unreadable) == (("dog.png",), ())  # that one was drawn again
    write_collages(out, photos, size=60, seed=1)
    assert (folder / "car" / "part_0.png").read_bytes() != b"old"
    (folder / "ox" / "summary.json").write_text("{", encoding="utf-8")
    write_collages(out, photos, size=60, seed=1)
    assert (folder / "ox" / "part_0.png").read_bytes() == drawn


def test_nothing_is_left_of_parts_that_there_are_no_more(run: Run) -> None:
    out = run([rows("a", ("car", OBJECT, [(0, WHEEL), (1, WHEEL)]), ("dog", OBJECT, [(0, WHEEL)]))])
    write_collages(out, out / "photos", size=60)
    fewer = run([rows("a", ("car", OBJECT, [(1, WHEEL)]))])
    (out / "collages").rename(fewer / "collages")
    (fewer / "collages" / "mine.txt").touch()
    write_collages(fewer, fewer / "photos", size=60)
    names = {path.relative_to(fewer / "collages").as_posix() for path in (fewer / "collages").rglob("*.*")}
    assert names == {
        *("car/collages.pdf", "car/part_1.png", "car/sheet.png", "car/summary.json"),
        *("mine.txt", "summary.json"),
    }


def test_processes_draw_the_same(run: Run) -> None:
    out = run([rows("a", ("car", OBJECT, [(0, WHEEL)]), ("dog", OBJECT, [(0, WHEEL)]))])
    made = write_collages(out, out / "photos", size=60)
    files = {path: path.read_bytes() for path in (out / "collages").rglob("*.*")}
    for path in (out / "collages").rglob("summary.json"):
        path.unlink()
    assert write_collages(out, out / "photos", size=60, workers=2) == made
    assert {path: path.read_bytes() for path in (out / "collages").rglob("*.*")} == files


def test_a_folder_without_parts_or_photographs_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a stage's folder"):
        write_collages(tmp_path)
    out = run(cars(1))
    with pytest.raises(InputError, match="give their folder as --images"):
        write_collages(out)
    with pytest.raises(InputError, match="expected a folder of photographs"):
        write_collages(out, tmp_path / "gone")


def test_a_folder_that_cannot_be_written_is_named(run: Run) -> None:
    out = run(cars(1))
    (out / "collages").touch()
    with pytest.raises(StoreError, match=r"can't write to .*collages: File exists"):
        write_collages(out, out / "photos")
