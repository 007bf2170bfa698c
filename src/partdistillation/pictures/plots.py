"""Curves in print: PNG or PDF."""

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from partdistillation.pictures.curves import Curve
from partdistillation.pictures.fonts import families, lettering
from partdistillation.pictures.text import CaptionFont, fitted

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, which people with any colour vision can tell apart."""
_MARKERS = "osD^vP"
_BESIDE = 1.05
_FONT = CaptionFont(10)
"""Of legends, as matplotlib has it, in points."""
_LONGEST, _BEFORE = 240, 48
"""Points: of a label, and of the line and the gap before it."""
_LINES = ("-", "--", ":")
"""Of the first, the second and the third time that the colours are gone through."""


def plot(curves: Sequence[Curve], *, x: str, y: str, suffix: str = ".png") -> bytes:
    """Draw curves with markers, a grid and a legend; `x` and `y` are the axes' titles.

    Returns:
        The file, of the kind that `suffix` says.
    """
    with _fonts_of(curves):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, curves, x, y)
        axes.legend(frameon=False)
        return _file(figure, suffix)


def panels_plot(
    panels: Mapping[str, Sequence[Curve]], *, x: str, log_x: bool = False, suffix: str = ".png"
) -> bytes:
    """Draw panels side by side, by the titles of their y axes, and one legend below them.

    All have the same curves in the same order.
    """
    labels = [fitted(curve.label, _FONT, _LONGEST) for curve in next(iter(panels.values()))]
    width = 3.9 * len(panels)
    widest = max(map(_FONT.width, labels))
    columns = max(1, min(len(labels), int(72 * width / (_BEFORE + widest))))
    rows = -(-len(labels) // columns)
    with _fonts_of(next(iter(panels.values()))):
        figure = Figure(figsize=(width, 3.2 + 0.22 * rows), layout="constrained")
        for place, (y, curves) in enumerate(panels.items(), start=1):
            _draw(figure.add_subplot(1, len(panels), place), curves, x, y, log_x=log_x)
        handles = figure.axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=columns, frameon=False)
        return _file(figure, suffix)


def _draw(axes: Axes, curves: Sequence[Curve], x: str, y: str, *, log_x: bool = False) -> None:
    for place, curve in enumerate(curves):
        # Error bars at the same x would hide each other: they stand side by side.
        shift = _BESIDE ** (place - (len(curves) - 1) / 2) if log_x and curve.spread else 1.0
        axes.errorbar(
            [position * shift for position, _ in curve.points],
            [value for _, value in curve.points],
            yerr=curve.spread or None,
            label=_plain(curve.label),
            color=COLOURS[place % len(COLOURS)],
            marker=_MARKERS[place % len(_MARKERS)],
            linestyle=_LINES[place // len(COLOURS) % len(_LINES)],
            markersize=5,
            linewidth=1.8,
            elinewidth=1.2,
            capsize=3,
        )
    if log_x:
        axes.set_xscale("log")
        ticks = sorted({position for curve in curves for position, _ in curve.points})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(0, 1.04 * axes.get_ylim()[1])  # so that no marker is cut off
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _plain(label: str) -> str:
    """A label without what matplotlib takes for a formula, leaves out of the legend, or can't draw."""
    return lettering(fitted(label, _FONT, _LONGEST)).text.replace("$", r"\$").lstrip("_") or "-"


def _fonts_of(curves: Sequence[Curve]) -> AbstractContextManager[None]:
    labels = [fitted(curve.label, _FONT, _LONGEST) for curve in curves]
    return rc_context({"font.family": families(" ".join(labels))})


def _file(figure: Figure, suffix: str) -> bytes:
    FigureCanvasAgg(figure)
    kind = suffix.lower().removeprefix(".")
    metadata = {"Software": ""} if kind == "png" else {"CreationDate": None}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=300, metadata=metadata)
    return buffer.getvalue()
