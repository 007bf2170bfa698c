"""Legends: titles, names and dots in their places, wrapped to the width."""

import numpy as np
from PIL import Image

from partdistillation.pictures.colors import PALETTE
from partdistillation.pictures.legends import LegendRow, placed_entries, with_legend

NAMES = LegendRow("car", tuple((name, PALETTE[0]) for name in ("ab", "cd", "ef")))


def test_names_stand_behind_their_title_and_go_on_below() -> None:
    entries, lines = placed_entries(
        [NAMES, LegendRow("cat", ())], width=100, indents=[20, 30], extent=lambda name: 20.0 * len(name)
    )
    assert [entry[:3] for entry in entries] == [
        (0, 0, "car"),
        (20, 0, "ab"),
        (60, 0, "cd"),
        (20, 1, "ef"),
        (0, 2, "cat"),
    ]
    assert [entry.color is None for entry in entries] == [True, False, False, False, True]
    assert lines == 3


def test_a_name_that_is_wider_than_the_legend_is_written_all_the_same() -> None:
    entries, lines = placed_entries([NAMES], width=10, indents=[5], extent=lambda _: 50.0)
    assert [entry.line for entry in entries] == [0, 0, 1, 2]
    assert lines == 3


def test_a_legend_stands_below_its_picture() -> None:
    picture = Image.new("RGB", (200, 40), "red")
    legend = np.asarray(with_legend(picture, [NAMES]))
    assert (legend[:40] == (255, 0, 0)).all()
    assert (legend[40:] == PALETTE[0]).all(axis=2).sum() > 3 * 30, "three dots"
    assert with_legend(picture, []).size == picture.size
