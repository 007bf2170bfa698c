import numpy as np
import pytest

from partdistillation.pictures.colors import PALETTE
from partdistillation.pictures.tiles import lit_part, part_tile


def test_tiles_are_as_wide_as_the_object_and_only_its_part_has_colours() -> None:
    image = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    around, mask = np.zeros((2, 400, 600), dtype=bool)
    around[40:360, 200:400] = True
    mask[100:200, 250:350] = True
    tile = part_tile(image, mask, PALETTE[2], around, side=448)
    assert tile.shape[0] == 448
    assert tile.shape[1] == pytest.approx(448 * 264 / 384, abs=1)
    assert (tile == PALETTE[2]).all(axis=2).any()  # the line
    corner = tile[:20, :20].astype(int)
    assert (corner == corner[:, :, :1]).all()  # grey


def test_a_part_without_an_object_is_shown_alone() -> None:
    image, mask = np.full((40, 60, 3), 100, np.uint8), np.zeros((40, 60), np.bool_)
    mask[10:20, 10:20] = True
    assert part_tile(image, mask, PALETTE[0], side=120).shape == (120, 120, 3)


def test_a_part_is_lit_on_all_of_a_larger_image() -> None:
    image, mask = np.full((40, 60, 3), 100, np.uint8), np.zeros((40, 60), np.bool_)
    mask[:, :30] = True
    lit = lit_part(image, mask, PALETTE[0], side=120)
    assert lit.shape == (80, 120, 3)
    assert (lit[40, 110] == 76).all()  # dimmed
