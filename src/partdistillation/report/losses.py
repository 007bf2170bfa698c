"""The losses of a run's trainings, as charts."""

import json
from pathlib import Path

from partdistillation import baselines
from partdistillation.baselines import one_stage, supervised
from partdistillation.errors import InputError
from partdistillation.pictures.curves import Chart, Curve
from partdistillation.training.checkpoints import METRICS

LOSSES = ("classification", "mask", "dice")
STAGES = {
    "pretrain": "stage 0: instance segmentation",
    "proposals": "stage 3: proposals",
    "distillation": "stage 5: parts",
}
BASELINES = {one_stage.NAME: "baseline: one-stage", supervised.NAME: "baseline: supervised"}


def charts(out: Path) -> tuple[Chart, ...]:
    """The losses of every training of a run: its stages, and the baselines in folders of their own."""
    logs = {out / METRICS: STAGES} | {
        out / baselines.FOLDER / name / METRICS: {name: title} for name, title in BASELINES.items()
    }
    trainings = (
        Chart(title, read_curves(path, stage))
        for path, titles in logs.items()
        if path.exists()
        for stage, title in titles.items()
    )
    return tuple(chart for chart in trainings if chart.curves)


def read_curves(path: Path, stage: str) -> tuple[Curve, ...]:
    """The losses of a stage's training from a `metrics.jsonl`: one JSON object a line, numbers by name.

    Lines without a step or a loss add no point to that curve; a loss in no line gives no curve; a last line
    torn by a kill is skipped.

    Raises:
        InputError: a line before the last isn't a JSON object.

    """
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in LOSSES}
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            step = record.get("step")
        except (ValueError, AttributeError) as error:
            if number == len(lines):
                break
            raise InputError(f"Expected a JSON object in {path}, line {number}; found {line:.80}.") from error
        for name in LOSSES if record.get("stage") == stage else ():
            value = record.get(name)
            if _is_number(step) and _is_number(value):
                points[name].append((float(step), float(value)))
    return tuple(Curve(name, tuple(measured)) for name, measured in points.items() if measured)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
