"""Few-shot training as tables and learning curves, the paper's numbers below: Markdown, CSV, JSON, PNG."""

import csv
import io
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from partdistillation.evaluation.compared_runs import mean_and_deviation
from partdistillation.evaluation.controls import Measured
from partdistillation.evaluation.run import PROTOCOLS
from partdistillation.evaluation.scores import Evaluation, Json
from partdistillation.evaluation.tables import Provenance, percent, values
from partdistillation.functional.metrics import Protocol
from partdistillation.pictures.curves import Curve
from partdistillation.pictures.plots import save_panels
from partdistillation.runs.atomic import replace_file

PAPER: Mapping[int, tuple[float, float]] = {
    1: (14.7, 53.3),
    5: (19.1, 63.2),
    10: (19.2, 64.5),
    20: (20.3, 66.2),
    50: (20.7, 68.8),
    100: (21.3, 70.0),
}
"""Percent of the labels: AR@200 and mIoU, in percent, on Cityscapes Part from the paper's part model."""
PROPOSALS, PARTS = ("AR@10", "AR@200"), ("c_miou", "a_miou", "nmi_foreground", "ari_foreground")
"""What is printed, of overlapping proposals and of named parts; CSV and JSON have all scores of both."""
_HEAD = "| start | labels | images | object classes | AR@10 | AR@200 | C-mIoU | A-mIoU | NMI | ARI |"
_NOTE = (
    "AR is of overlapping proposals, the other scores of named parts, NMI and ARI on true parts' pixels. A "
    "model only knows the object classes that occur in its labelled images: in `object classes`, so many of "
    "those of the held-out images. Parts of the others can't be named, which counts against it."
)
_PAPER_NOTE = (
    "Paper, Cityscapes Part, for reference (other data, and a far larger network: compare the course)"
)


@dataclass(frozen=True)
class Point:
    """A model that learned from some of the labels, measured on the held-out images."""

    model: str
    """What it started from."""
    percent: int
    images: int
    """Labelled images that it learned from."""
    categories: tuple[str, ...]
    """Object classes that occur in them, which are all that it knows."""
    proposals: Measured
    """Overlapping ones (AR@k)."""
    parts: Measured
    """Named ones (mIoU)."""
    sha256: str
    """Of the finished model."""

    @property
    def held_out(self) -> set[str]:
        """The object classes that it is scored on."""
        return {one.category for one in self.parts.strict.categories}

    @property
    def known(self) -> int:
        """So many of these it knows."""
        return len(self.held_out & {*self.categories})


@dataclass(frozen=True)
class Learned:
    """One run's."""

    seed: int
    points: Sequence[Point]
    models: Mapping[str, str]
    """What the models started from: by name, as it was given."""
    provenance: Provenance


def save(runs: Sequence[Learned], stem: Path) -> None:
    """Write `STEM.md`, `.csv`, `.json` and `.png` of runs with the same models and shares; print the table.

    Of one run with the bootstrap's intervals, of several as means and standard deviations.
    """
    for suffix, text in (("md", markdown(runs)), ("csv", as_csv(runs)), ("json", as_json(runs))):
        replace_file(stem.with_name(f"{stem.name}.{suffix}"), text.encode())
    plot(runs, stem.with_name(f"{stem.name}.png"))
    print(markdown(runs), end="")


def markdown(runs: Sequence[Learned]) -> str:
    """A table a protocol, in percent, and the paper's."""
    models = ", ".join(f"{name}: {given}" for name, given in runs[0].models.items())
    tables = (_table(runs, protocol) for protocol in PROTOCOLS)
    provenance = "\n\n".join(f"Seed {run.seed}. {run.provenance}" for run in runs)
    return "\n\n".join([*tables, _NOTE, f"Starts: {models}", _paper(), provenance]) + "\n"


def as_csv(runs: Sequence[Learned]) -> str:
    """A line a run, model, share, way (proposals or parts), protocol and score; fractions."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ("seed", "start", "start_sha256", "percent", "images", "known_classes", "classes", "model_sha256",
         "way", "protocol", "held_out_images", "score", "value", "low", "high")
    )  # fmt: skip
    for run in runs:
        for point in run.points:
            start = run.provenance.made_from.get(point.model, "")
            made = (run.seed, point.model, start, point.percent, point.images, point.known)
            for way, one in _evaluations(point):
                for score, value in values(one).items():
                    numbers = (value, *one.intervals.get(score, ("", "")))
                    shown = ("" if number != number else number for number in numbers)
                    where = (way, one.protocol, one.images, score)
                    writer.writerow((*made, len(point.held_out), point.sha256, *where, *shown))
    return file.getvalue()


def as_json(runs: Sequence[Learned]) -> str:
    """Everything, as fractions; the paper's numbers in percent as printed there."""
    content: dict[str, Json] = {
        "paper": {
            "data": "Cityscapes Part",
            "rows": [{"percent": share, "AR@200": ar, "miou": miou} for share, (ar, miou) in PAPER.items()],
        },
        "runs": [
            {
                "seed": run.seed,
                "starts": dict(run.models),
                "provenance": run.provenance.to_dict(),
                "rows": [_row(point) for point in run.points],
            }
            for run in runs
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def plot(runs: Sequence[Learned], path: Path) -> Path:
    """Learning curves of all models: AR@200 and C-mIoU, protocol strict."""

    def curves(way: str, score: str) -> list[Curve]:
        found: dict[str, tuple[list[float], list[float], list[float]]] = {}
        for same in _points(runs):
            of_runs = [100 * values(getattr(point, way).strict)[score] for point in same]
            x, y, spread = found.setdefault(same[0].model, ([], [], []))
            x.append(same[0].percent)
            y.append(statistics.mean(of_runs))
            if len(of_runs) > 1:
                spread.append(statistics.stdev(of_runs))
        return [
            Curve(name, tuple(zip(x, y, strict=True)), tuple(spread))
            for name, (x, y, spread) in found.items()
        ]

    panels = {"AR@200, %": curves("proposals", "AR@200"), "C-mIoU, %": curves("parts", "c_miou")}
    return save_panels(path, panels, x="labelled images, %", log_x=True)


def _points(runs: Sequence[Learned]) -> Iterator[tuple[Point, ...]]:
    """The same point of every run."""
    return zip(*(run.points for run in runs), strict=True)


def _evaluations(point: Point) -> Iterator[tuple[str, Evaluation]]:
    for way, measured in (("proposals", point.proposals), ("parts", point.parts)):
        yield from ((way, measured.under(protocol)) for protocol in PROTOCOLS)


def _row(point: Point) -> Json:
    return {
        "start": point.model,
        "percent": point.percent,
        "images": point.images,
        "categories": list(point.categories),
        "known_classes": point.known,
        "classes": len(point.held_out),
        "sha256": point.sha256,
        **{
            way: [one.to_dict() for _, one in found]
            for way, found in groupby(_evaluations(point), lambda pair: pair[0])
        },
    }


def _table(runs: Sequence[Learned], protocol: Protocol) -> str:
    images = _range([run.points[0].parts.under(protocol).images for run in runs])
    what = "95 % of a bootstrap over images in brackets"
    if len(runs) > 1:
        what = f"mean ± standard deviation of {len(runs)} seeds"
    lines = [
        f"Protocol {protocol}, {images} held-out images; in percent, {what}", "",
        _HEAD, "|---|---:|---:|---:" + "|---:" * (len(PROPOSALS) + len(PARTS)) + "|",
    ]  # fmt: skip
    for same in _points(runs):
        counts = [
            f"{same[0].percent} %",
            _range([point.images for point in same]),
            f"{_range([point.known for point in same])} of {_range([len(point.held_out) for point in same])}",
        ]
        cells = [
            *(_cell([point.proposals.under(protocol) for point in same], score) for score in PROPOSALS),
            *(_cell([point.parts.under(protocol) for point in same], score) for score in PARTS),
        ]
        lines.append(f"| {' | '.join([same[0].model, *counts, *cells])} |")
    return "\n".join(lines)


def _cell(found: Sequence[Evaluation], score: str) -> str:
    if len(found) > 1:
        return mean_and_deviation([values(one)[score] for one in found])
    low, high = map(percent, found[0].intervals[score])
    value = percent(values(found[0])[score])
    return value if "-" in (value, low) else f"{value} [{low}, {high}]"


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _paper() -> str:
    lines = [_PAPER_NOTE, "", "| labels | AR@200 | mIoU |", "|---:|---:|---:|"]
    lines += [f"| {share} % | {ar:.1f} | {miou:.1f} |" for share, (ar, miou) in PAPER.items()]
    return "\n".join(lines)
