"""Colours over photographs, where they belong."""

import numpy as np
import pytest

from partdistillation.pictures import overlays
from partdistillation.pictures.colors import PALETTE
from partdistillation.pictures.overlays import dimmed, overlay, spotlight


def test_overlay_colors_labels_and_leaves_the_background() -> None:
    image = np.full((6, 8, 3), 100, dtype=np.uint8)
    labels = np.zeros((6, 8), dtype=int)
    labels[:, :4], labels[0, 6] = 1, 25
    shown = overlay(image, labels, alpha=1.0, contours=0)
    assert (shown[:, :4] == PALETTE[0]).all()
    assert (shown[0, 6] == PALETTE[0]).all()  # 24 colors on
    assert (shown[1:, 4:] == 100).all()
    lines = overlay(image, labels, alpha=1.0)
    assert (lines[1:, 4] > 200).all()
    assert (lines[:, :4] == PALETTE[0]).all()


def test_overlay_of_nothing_is_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(overlay(image, np.zeros((5, 7), dtype=int), contours=3), image)


def test_spotlight_keeps_the_mask_and_greys_the_rest() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    mask, around = np.zeros((40, 50), dtype=bool), np.zeros((40, 50), dtype=bool)
    mask[16:22, 18:26], around[:36, 6:] = True, True
    lit = spotlight(image, mask, PALETTE[1], around, contours=2)
    assert np.abs(lit[mask].astype(int) - 0.85 * image[mask] - 0.15 * PALETTE[1]).max() <= 1
    assert (lit[14:16, 20] == PALETTE[1]).all()  # two pixels of the line, then two of white
    assert lit[12:14, 20].min() > 230
    grey = image @ np.array([0.299, 0.587, 0.114])
    for rest, brightness in ((~around, 0.36), (around & ~mask, 0.6)):
        rest[10:28, 12:32] = False
        assert np.abs(lit[rest] - (brightness * grey[rest] + 26)[:, None]).max() <= 1
    alone = spotlight(image, mask, PALETTE[1], contours=0)
    assert np.abs(alone[~mask] - (0.5 * grey[~mask] + 26)[:, None]).max() <= 1
    assert np.array_equal(alone[mask], lit[mask])


def test_spotlight_of_nothing_is_dimmed_and_its_line_suits_the_size() -> None:
    image = np.full((300, 400, 3), 100, dtype=np.uint8)
    assert (spotlight(image, np.zeros((300, 400), dtype=bool), PALETTE[0]) == 76).all()
    mask = np.zeros((300, 400), dtype=bool)
    mask[100:200, 100:200] = True
    column = spotlight(image, mask, PALETTE[0])[:, 150]
    assert (column == PALETTE[0]).all(axis=1).nonzero()[0].tolist() == [97, 98, 99, 200, 201, 202]


def test_what_is_kept_is_not_dimmed() -> None:
    image = np.full((2, 3, 3), (100, 200, 50), dtype=np.uint8)
    kept = np.array([[True, False, False], [False, False, False]])
    lit = dimmed(image, kept)
    assert lit[0, 0].tolist() == [100, 200, 50]
    assert (lit[~kept] == 102).all()  # half of the luma 153, and 26
    around = np.array([[True, True, False], [False, False, False]])
    assert dimmed(image, kept, around)[0, :, 0].tolist() == [100, 118, 81]


def test_strips_give_the_colours_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (23, 17, 3), dtype=np.uint8)
    labels = np.kron(rng.integers(0, 4, (6, 5)), np.ones((4, 4), dtype=int))[:23, :17]
    whole, lit = overlay(image, labels, contours=3), spotlight(image, labels == 1, PALETTE[0], labels < 3)
    monkeypatch.setattr(overlays, "_STRIP_PIXELS", 60)
    assert np.array_equal(overlay(image, labels, contours=3), whole)
    assert np.array_equal(spotlight(image, labels == 1, PALETTE[0], labels < 3), lit)
