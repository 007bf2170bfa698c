"""Charts for a page: whole, inside their frame, with round numbers at their axes."""

import re

import numpy as np
import pytest

from partdistillation.pictures.curves import HEIGHT, WIDTH, Chart, Curve, draw


def test_curves_are_drawn_inside_and_skip_what_is_not_finite() -> None:
    points = [
        (float(x), float(y)) for x, y in zip(range(1000), np.random.default_rng(0).random(1000), strict=True)
    ]
    points[3:6] = [(3.0, float("nan")), (4.0, float("inf")), (5.0, -1.0)]
    drawing = draw(Chart("loss", (Curve("a", tuple(points)), Curve("b", ((7.0, 0.25),)), Curve("c", ()))))
    assert drawing
    assert [line.label for line in drawing.lines] == ["a", "b"]
    assert drawing.lines[1].last == "0.25"
    assert drawing.lines[1].raw == ""
    for line in drawing.lines:
        numbers = np.array(
            [float(number) for number in re.findall(r"[-\d.]+", line.path + line.raw)]
        ).reshape(-1, 2)
        assert len(numbers) <= 2 * 240
        assert (numbers >= 0).all()
        assert (numbers <= [WIDTH, HEIGHT]).all()
    assert [tick.text for tick in drawing.x_ticks] == ["0", "200", "400", "600", "800"]
    assert [tick.text for tick in drawing.y_ticks] == ["-1", "-0.5", "0", "0.5", "1"]
    assert draw(Chart("nothing", (Curve("c", ((0.0, float("nan")),)),))) is None


@pytest.mark.parametrize("points", [((0.0, 0.0),), ((5.0, 2e-5), (5.0, 2e-5)), ((0.0, 1e9), (1e6, 1e-9))])
def test_odd_curves_are_drawn(points: tuple[tuple[float, float], ...]) -> None:
    drawing = draw(Chart("odd", (Curve("a", points),)))
    assert drawing
    assert "nan" not in drawing.lines[0].path
    assert len(drawing.y_ticks) < 12
