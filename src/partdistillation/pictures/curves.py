"""Curves, and charts of them laid out as SVG for a page: it gives them its colours, by day and by night."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, _TOP, _BOTTOM = 48, 12, 36, 44
_MOST_POINTS = 240


@dataclass(frozen=True)
class Curve:
    """A line of a chart; points in the order of x. A page leaves out those that aren't finite."""

    label: str
    points: tuple[tuple[float, float], ...]
    spread: tuple[float, ...] = ()
    """In print, half the length of the error bar at each point; none where it is empty."""


class Chart(NamedTuple):
    """Curves over one x axis."""

    title: str
    curves: tuple[Curve, ...]


class Tick(NamedTuple):
    """A mark on an axis: where it is in the drawing, and its text."""

    at: float
    text: str


class Line(NamedTuple):
    """A curve in the drawing's units: `path` smooth, `raw` as measured (empty where that is the same)."""

    label: str
    path: str
    raw: str
    last: str


class Drawing(NamedTuple):
    """A chart, ready for the template."""

    title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


def draw(chart: Chart) -> Drawing | None:
    """Lay a chart out; None if it has no finite point."""
    curves = [(curve.label, _finite(curve)) for curve in chart.curves]
    curves = [(label, points) for label, points in curves if len(points)]
    if not curves:
        return None
    everything = np.concatenate([points for _, points in curves])
    x_ticks = _round_numbers(everything[:, 0].min(), everything[:, 0].max())
    y_ticks = _round_numbers(min(0.0, everything[:, 1].min()), everything[:, 1].max())
    low = np.array([everything[:, 0].min(), y_ticks[0]])
    high = np.array([everything[:, 0].max(), y_ticks[-1]])
    size = np.array([WIDTH - LEFT - RIGHT, -(HEIGHT - _TOP - _BOTTOM)])
    scale = size / np.where(high > low, high - low, 1.0)

    def place(points: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        placed: Float64[np.ndarray, "n 2"] = (points - low) * scale + np.array([LEFT, HEIGHT - _BOTTOM])
        return placed

    return Drawing(
        chart.title,
        tuple(Tick(place(np.array([[t, 0.0]]))[0, 0], f"{t:,g}") for t in x_ticks if low[0] <= t <= high[0]),
        tuple(Tick(place(np.array([[0.0, t]]))[0, 1], f"{t:g}") for t in y_ticks),
        tuple(_line(label, points, place(_thinned(points))) for label, points in curves),
    )


def _line(label: str, points: Float64[np.ndarray, "n 2"], placed: Float64[np.ndarray, "m 2"]) -> Line:
    smooth = _smoothed(placed)
    noisy = len(points) >= 30
    return Line(
        label, _path(smooth if noisy else placed), _path(placed) if noisy else "", f"{points[-1, 1]:.3g}"
    )


def _finite(curve: Curve) -> Float64[np.ndarray, "n 2"]:
    points = np.array(curve.points, dtype=np.float64).reshape(-1, 2)
    return points[np.isfinite(points).all(axis=1)]


def _thinned(points: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "m 2"]:
    """Means of neighbours, where there are more points than can be seen."""
    pieces = np.array_split(points, min(len(points), _MOST_POINTS))
    return np.array([piece.mean(axis=0) for piece in pieces])


def _smoothed(points: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
    """Each point's mean with its neighbours, so that neither end is shifted (as by a running average)."""
    radius = max(1, len(points) // 24)
    smooth = points.copy()
    for i in range(len(points)):
        reach = min(radius, i, len(points) - 1 - i)
        smooth[i, 1] = points[i - reach : i + reach + 1, 1].mean()
    return smooth


def _path(points: Float64[np.ndarray, "n 2"]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _round_numbers(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers whose range holds low..high."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(span / s - count))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]
