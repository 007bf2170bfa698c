"""The losses of a run's trainings, drawn."""

from pathlib import Path

from partdistillation.pictures.curves import Chart, Curve, Drawing, draw
from partdistillation.status.metrics import LOSSES, metrics_of
from partdistillation.status.run_files import RunFiles

TRAININGS = {"proposals": "Learning to propose parts", "distillation": "Learning the parts"}


def charts(out: Path) -> list[Drawing]:
    """A chart for each training that has begun."""
    metrics = metrics_of(RunFiles(out))
    drawn = (
        draw(Chart(title, tuple(Curve(loss, tuple(metrics.points.get((name, loss), ()))) for loss in LOSSES)))
        for name, title in TRAININGS.items()
    )
    return [drawing for drawing in drawn if drawing is not None]
