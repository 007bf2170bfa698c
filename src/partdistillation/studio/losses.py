"""The losses of a run's trainings, from its `metrics.jsonl`; only what is new of it is read."""

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

from partdistillation.pictures.curves import Chart, Curve, Drawing, draw

LOSSES = ("classification", "mask", "dice")
TRAININGS = {"proposals": "Learning to propose parts", "distillation": "Learning the parts"}
_FILE = "metrics.jsonl"


@dataclass
class _Metrics:
    """What was read of a file; one that got shorter is read anew."""

    read: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    points: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)


def steps_done(out: Path, training: str) -> int:
    """How many steps of a training are known to be done."""
    return _metrics(out).steps.get(training, 0)


def charts(out: Path) -> list[Drawing]:
    """A chart for each training that has begun."""
    metrics = _metrics(out)
    drawn = (
        draw(Chart(title, tuple(Curve(loss, tuple(metrics.points.get((name, loss), ()))) for loss in LOSSES)))
        for name, title in TRAININGS.items()
    )
    return [drawing for drawing in drawn if drawing is not None]


@lru_cache(maxsize=64)
def _known(path: Path) -> _Metrics:  # noqa: ARG001 (the key)
    return _Metrics()


def _metrics(out: Path) -> _Metrics:
    path = out / _FILE
    metrics = _known(path)
    with metrics.lock:
        try:
            with path.open("rb") as file:
                if file.seek(0, 2) < metrics.read:  # steps that will be repeated were removed
                    metrics.read, metrics.steps, metrics.points = 0, {}, {}
                file.seek(metrics.read)
                new = file.read()
        except OSError:
            return _Metrics()
        whole = new[: new.rfind(b"\n") + 1]
        metrics.read += len(whole)
        for line in whole.splitlines():
            _add(metrics, line)
    return metrics


def _add(metrics: _Metrics, line: bytes) -> None:
    """A line; one that says no step of a training says nothing."""
    try:
        numbers = json.loads(line)
        training, step = str(numbers["stage"]), int(numbers["step"])
    except (ValueError, TypeError, KeyError):
        return
    metrics.steps[training] = step + 1
    for loss in LOSSES:
        if isinstance(value := numbers.get(loss), int | float):
            metrics.points.setdefault((training, loss), []).append((float(step), float(value)))
