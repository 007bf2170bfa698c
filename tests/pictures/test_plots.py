"""Curves in print: every label as it is, the same bytes every time."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partdistillation.pictures.curves import Curve
from partdistillation.pictures.plots import save_panels, save_plot

CURVES = [Curve("$ours$", ((1.0, 3.0), (10.0, 4.0)), (0.5, 0.5)), Curve("_theirs", ((1.0, 2.0), (10.0, 5.0)))]


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_the_same_curves_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    paths = [save_plot(tmp_path / "new" / f"{n}.{suffix}", CURVES, x="images", y="AR") for n in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_panels_stand_side_by_side_above_their_legend(tmp_path: Path) -> None:
    path = save_panels(tmp_path / "a.png", {"AR": CURVES, "IoU": CURVES[::-1]}, x="images", log_x=True)
    with Image.open(path) as picture:
        assert picture.size == (2 * 1170, 1026)  # 3.9 inches a panel; 3.2 and a line of the legend
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    for color in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        seen = (np.abs(pixels - color).max(axis=2) < 3).any(axis=0)
        assert seen[:1170].any()
        assert seen[1170:].any()
