"""A run's trainings: their steps and losses, from its `metrics.jsonl`, of which only new lines are parsed."""

import json
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock

from partdistillation.errors import StoreError
from partdistillation.status.run_files import RunFiles

LOSSES = ("classification", "mask", "dice")
METRICS = "metrics.jsonl"


@dataclass
class Metrics:
    """What was read of a file; one that got shorter is read anew."""

    read: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    """How many steps of a training are known to be done."""
    loss: dict[str, float] = field(default_factory=dict)
    """The last, all terms together."""
    points: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)


def metrics_of(files: RunFiles) -> Metrics:
    """What a run's trainings have written; nothing, where it can't be read."""
    metrics = _known(files.place)
    with metrics.lock:
        try:
            content = files.read(METRICS)
        except StoreError:
            content = None
        if content is None:
            return Metrics()
        if len(content) < metrics.read:  # steps that will be repeated were removed
            metrics.read, metrics.steps, metrics.loss, metrics.points = 0, {}, {}, {}
        whole = content[metrics.read : content.rfind(b"\n") + 1]
        metrics.read += len(whole)
        for line in whole.splitlines():
            _add(metrics, line)
    return metrics


@lru_cache(maxsize=64)
def _known(place: str) -> Metrics:  # noqa: ARG001 (the key)
    return Metrics()


def _add(metrics: Metrics, line: bytes) -> None:
    """A line; one that says no step of a training says nothing."""
    try:
        numbers = json.loads(line)
        training, step = str(numbers["stage"]), int(numbers["step"])
    except (ValueError, TypeError, KeyError):
        return
    metrics.steps[training] = step + 1
    if isinstance(loss := numbers.get("loss"), int | float):
        metrics.loss[training] = float(loss)
    for name in LOSSES:
        if isinstance(value := numbers.get(name), int | float):
            metrics.points.setdefault((training, name), []).append((float(step), float(value)))
