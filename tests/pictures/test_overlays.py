"""Colours over photographs, where they belong."""

import numpy as np
import pytest

from partdistillation.pictures import overlays
from partdistillation.pictures.colors import PALETTE
from partdistillation.pictures.overlays import overlay, spotlight


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
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    mask = np.zeros((5, 7), dtype=bool)
    mask[1:3, 2:5] = True
    around = np.zeros((5, 7), dtype=bool)
    around[:4, 1:] = True
    lit = spotlight(image, mask, around, PALETTE[1])
    inside = mask & ~np.isin(lit, PALETTE[1]).all(axis=2)
    assert np.abs(lit[inside].astype(int) - 0.85 * image[inside] - 0.15 * PALETTE[1]).max() <= 1
    assert (lit[1, 2] == PALETTE[1]).all()
    rest = lit[~around].astype(int)
    assert (rest == rest[:, :1]).all()
    assert rest.max() < 0.33 * 255


def test_strips_give_the_colours_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (23, 17, 3), dtype=np.uint8)
    labels = np.kron(rng.integers(0, 4, (6, 5)), np.ones((4, 4), dtype=int))[:23, :17]
    whole = overlay(image, labels, contours=3)
    monkeypatch.setattr(overlays, "_STRIP_PIXELS", 60)
    assert np.array_equal(overlay(image, labels, contours=3), whole)
