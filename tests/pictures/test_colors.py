"""Colours that everybody can tell apart."""

import numpy as np
import pytest

from partdistillation.pictures.colors import PALETTE, color_of

# Machado, Oliveira and Fernandes (2009), severity 1: what linear RGB becomes for color-blind people.
COLOR_VISION = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}


@pytest.mark.parametrize("vision", COLOR_VISION)
def test_the_first_eight_colors_can_be_told_apart(vision: str) -> None:
    linear = np.where(PALETTE[:8] <= 10, PALETTE[:8] / 3294.6, ((PALETTE[:8] / 255 + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.asarray(COLOR_VISION[vision]).T, 0, 1)
    xyz = seen @ np.array([[0.4339, 0.3762, 0.1899], [0.2127, 0.7152, 0.0722], [0.0178, 0.1095, 0.8727]]).T
    f = np.cbrt(xyz)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
    distances = np.linalg.norm(lab[:, None] - lab, axis=2)[np.triu_indices(8, 1)]
    assert distances.min() > 15  # CIE76; below about 2.3 a difference isn't noticed


def test_palette_is_24_different_colors_over_and_over() -> None:
    assert len({tuple(color) for color in PALETTE.tolist()}) == len(PALETTE) == 24
    assert color_of(25).tolist() == PALETTE[1].tolist()
