"""Curves of experiments as pictures for papers: PNG or PDF, by the file's name."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, which people with any colour vision can tell apart."""
_MARKERS = "osD^vP"


class Series(NamedTuple):
    """One curve."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


def plain_label(text: str) -> str:
    """A label without what matplotlib takes for a formula, or leaves out of the legend."""
    return text.replace("$", r"\$").lstrip("_") or "-"


def save_plot(path: Path, series: Sequence[Series], *, x: str, y: str, log_x: bool = False) -> Path:
    """Draw curves with markers, a grid and a legend; `x` and `y` are the axes' titles."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, one in enumerate(series):
        axes.plot(
            one.x,
            one.y,
            label=one.label,
            color=COLOURS[place % len(COLOURS)],
            marker=_MARKERS[place % len(_MARKERS)],
            markersize=5,
            linewidth=1.8,
        )
    if log_x:
        axes.set_xscale("log")
        ticks = sorted({value for one in series for value in one.x})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Software": ""} if path.suffix.lower() == ".png" else {"CreationDate": None}
    figure.savefig(path, dpi=300, metadata=metadata)
    return path
