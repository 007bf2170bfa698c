"""Reasons that differ in names and numbers are counted together, and shown as they stand in a row."""

import pytest

from partdistillation.report.reasons import Causes, advice, left_out


def test_the_first_stands_for_all_with_its_numbers() -> None:
    causes = Causes()
    for name, size in (("a.jpg", "9000 x 9000"), ("b.jpg", "8000 x 8001")):
        causes.add(f"{name}: expected at most 64000000 pixels, found {size}", name)
    causes.add("cat/c.png: expected an image file, found no such file", "cat/c.jpg")
    causes.add("cat/d.png: expected an image file, found no such file", "cat/d.webp")
    causes.add("no objects", "e.jpg")
    assert causes.top(2) == [
        ("such as: cat/c.png: expected an image file, found no such file", 2),
        ("such as: a.jpg: expected at most 64000000 pixels, found 9000 x 9000", 2),
        ("1 other reasons", 1),
    ]


def test_what_was_left_out_of_a_row() -> None:
    broken = (
        "annotation 3: Expected at least one polygon, found none; leave out annotations without a region."
    )
    notes = [
        (broken, 1),
        ("2 crowd regions", 2),
        ("7 after the best 10", 7),
        ("people: 2 after the best 1", 2),
    ]
    listed = "; ".join(note for note, _ in notes)
    assert list(left_out(f"no objects of class 'cat'; the best of any; left out: {listed}")) == notes
    assert list(left_out("the best of any")) == list(left_out("")) == []


@pytest.mark.parametrize(
    ("reason", "source", "words"),
    [
        ("expected an image file, found no such file; check the path", "annotations", "relative to --images"),
        ("expected an image of 3 x 4 as a.json says, found 5 x 6", "annotations", "at the same size"),
        ("no objects; annotation 1: expected a segmentation, found only a box", "annotations", "Masks are"),
        ("no objects", "masks", "labels those of these photographs"),
        ("no objects of class 'cat'", "detic", "min-score"),
        ("expected a whole, readable image, found damaged data", "detic", "opened elsewhere"),
    ],
)
def test_the_advice_fits(reason: str, source: str, words: str) -> None:
    causes = Causes()
    causes.add(reason, "a.jpg")
    assert words in advice(causes, source)
