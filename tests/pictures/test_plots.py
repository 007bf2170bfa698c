"""Curves in print: every label as it is, the same bytes every time."""

import io

import numpy as np
import pytest
from PIL import Image

from partdistillation.pictures.curves import Curve
from partdistillation.pictures.plots import panels_plot, plot

CURVES = [Curve("$ours$", ((1.0, 3.0), (10.0, 4.0)), (0.5, 0.5)), Curve("_theirs", ((1.0, 2.0), (10.0, 5.0)))]


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_the_same_curves_give_the_same_bytes(suffix: str) -> None:
    first, second = (plot(CURVES, x="images", y="AR", suffix=f".{suffix}") for _ in range(2))
    assert first == second


def test_panels_stand_side_by_side_above_their_legend() -> None:
    drawn = panels_plot({"AR": CURVES, "IoU": CURVES[::-1]}, x="images", log_x=True)
    with Image.open(io.BytesIO(drawn)) as picture:
        assert picture.size == (2 * 1170, 1026)  # 3.9 inches a panel; 3.2 and a line of the legend
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    for color in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        seen = (np.abs(pixels - color).max(axis=2) < 3).any(axis=0)
        assert seen[:1170].any()
        assert seen[1170:].any()
