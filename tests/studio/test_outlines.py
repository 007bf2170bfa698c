"""Masks as paths, read back by matplotlib."""

import re

import numpy as np
from jaxtyping import Bool
from matplotlib.path import Path as Outline

from partdistillation.studio.outlines import path_of


def test_a_pixel_is_a_diamond_around_its_centre() -> None:
    mask = np.zeros((3, 3), np.bool_)
    mask[1, 1] = True
    corners = {tuple(corner) for corner in _rings(path_of(mask))[0].tolist()}
    assert corners == {(1.5, 1.0), (2.0, 1.5), (1.5, 2.0), (1.0, 1.5)}


def test_nothing_has_no_path() -> None:
    assert path_of(np.zeros((4, 4), np.bool_)) == ""


def test_pieces_and_holes_are_read_back() -> None:
    rng = np.random.default_rng(0)
    mask = np.kron(rng.random((9, 13)) < 0.5, np.ones((3, 2))).astype(np.bool_)
    assert np.array_equal(_filled(path_of(mask), *mask.shape), mask)


def test_large_masks_are_looked_at_in_steps() -> None:
    mask = np.zeros((400, 600), np.bool_)
    mask[100:300, 200:500] = True
    coarse = _filled(path_of(mask, 4), 400, 600)
    assert (coarse ^ mask).mean() < 0.02


def _rings(path: str) -> list[np.ndarray]:
    rings = []
    for start, steps in re.findall(r"M([^l]+)l([^z]*)z", path):
        moves = [[float(value) for value in pair.split(",")] for pair in [start, *steps.split()]]
        rings.append(np.cumsum(moves, axis=0))
    return rings


def _filled(path: str, height: int, width: int) -> Bool[np.ndarray, "{height} {width}"]:
    """By evenodd, at the pixels' centres."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    inside = np.zeros(height * width, np.bool_)
    for ring in _rings(path):
        inside ^= Outline(np.concatenate([ring, ring[:1]])).contains_points(centres)
    return inside.reshape(height, width)
