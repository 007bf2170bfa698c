"""Few-shot training as tables and learning curves, the paper's numbers below: Markdown, CSV, JSON, PNG."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from partdistillation.evaluation.controls import Measured
from partdistillation.evaluation.provenance import Provenance
from partdistillation.evaluation.run import PROTOCOLS
from partdistillation.evaluation.tables import Grid, Record, ScoreTables, by, cell, fraction, percent
from partdistillation.functional.metrics import Protocol
from partdistillation.pictures.curves import Curve
from partdistillation.pictures.plots import panels_plot
from partdistillation.runs.atomic import make_folder, replace_file
from partdistillation.runs.manifest import Json

PAPER: Mapping[int, tuple[float, float]] = {
    1: (14.7, 53.3),
    5: (19.1, 63.2),
    10: (19.2, 64.5),
    20: (20.3, 66.2),
    50: (20.7, 68.8),
    100: (21.3, 70.0),
}
"""Percent of the labels: AR@200 and mIoU, in percent, on Cityscapes Part from the paper's part model."""
SCORES = {
    "AR@10": ("proposals", "AR@10"),
    "AR@200": ("proposals", "AR@200"),
    "C-mIoU": ("parts", "c_miou"),
    "A-mIoU": ("parts", "a_miou"),
    "NMI": ("parts", "nmi_foreground"),
    "ARI": ("parts", "ari_foreground"),
}
"""What is printed, of overlapping proposals and of named parts; CSV and JSON have all scores of both."""
COLUMNS = (
    "seed", "start", "start_sha256", "percent", "images", "known_classes", "classes", "model_sha256",
    "way", "protocol", "held_out_images", "score", "value", "low", "high",
)  # fmt: skip
"""Of the CSV; a way is proposals or parts."""
_NOTE = (
    "AR is of overlapping proposals, the other scores of named parts, NMI and ARI on true parts' pixels. A "
    "model only knows the object classes that occur in its labelled images: in `object classes`, so many of "
    "those of the held-out images. Parts of the others can't be named, which counts against it."
)
_PAPER_NOTE = (
    "Paper, Cityscapes Part, for reference (other data, and a far larger network: compare the course)"
)


class Point(NamedTuple):
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
        return {scores.category for scores in self.parts.strict.categories}

    @property
    def known(self) -> int:
        """So many of these it knows."""
        return len(self.held_out & {*self.categories})

    def records(self) -> Iterator[Record]:
        """Every score of both ways."""
        model: Record = {
            "start": self.model,
            "percent": self.percent,
            "images": self.images,
            "known_classes": self.known,
            "classes": len(self.held_out),
            "model_sha256": self.sha256,
        }
        for way, measured in (("proposals", self.proposals), ("parts", self.parts)):
            for evaluation in measured.evaluations:
                for record in evaluation.records():
                    yield {**record, **model, "way": way, "held_out_images": evaluation.images}

    def to_dict(self) -> dict[str, Json]:
        """Plain values for JSON."""
        return {
            "start": self.model,
            "percent": self.percent,
            "images": self.images,
            "categories": self.categories,
            "known_classes": self.known,
            "classes": len(self.held_out),
            "sha256": self.sha256,
            "proposals": [evaluation.to_dict() for evaluation in self.proposals.evaluations],
            "parts": [evaluation.to_dict() for evaluation in self.parts.evaluations],
        }


class Learned(NamedTuple):
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
    tables(runs).save(stem)
    plot(runs, stem.with_name(f"{stem.name}.png"))


def tables(runs: Sequence[Learned]) -> ScoreTables:
    """A table a protocol, in percent, and the paper's; in JSON the paper's numbers are in percent."""
    records: list[Record] = [
        {"seed": run.seed, "start_sha256": run.provenance.made_from.get(point.model, ""), **record}
        for run in runs
        for point in run.points
        for record in point.records()
    ]
    starts = ", ".join(f"{name}: {model}" for name, model in runs[0].models.items())
    blocks: list[str | Grid] = [
        _grid(runs, records),
        _NOTE,
        f"Starts: {starts}",
        _paper(),
        *(f"Seed {run.seed}. {run.provenance}" for run in runs),
    ]
    content: Json = {
        "paper": {
            "data": "Cityscapes Part",
            "rows": [{"percent": share, "AR@200": ar, "miou": miou} for share, (ar, miou) in PAPER.items()],
        },
        "runs": [
            {
                "seed": run.seed,
                "starts": dict(run.models),
                "provenance": run.provenance.to_dict(),
                "rows": [point.to_dict() for point in run.points],
            }
            for run in runs
        ],
    }
    return ScoreTables(blocks, content, records, COLUMNS, indent=1)


def plot(runs: Sequence[Learned], path: Path) -> Path:
    """Learning curves of all models: AR@200 and C-mIoU, protocol strict."""

    def curves(way: str, score: str) -> list[Curve]:
        models: dict[str, tuple[list[float], list[float], list[float]]] = {}
        for same in _points(runs):
            of_runs = [100 * getattr(point, way).strict.values()[score] for point in same]
            x, y, deviations = models.setdefault(same[0].model, ([], [], []))
            x.append(same[0].percent)
            y.append(statistics.mean(of_runs))
            if len(of_runs) > 1:
                deviations.append(statistics.stdev(of_runs))
        return [
            Curve(name, tuple(zip(x, y, strict=True)), tuple(deviations))
            for name, (x, y, deviations) in models.items()
        ]

    panels = {"AR@200, %": curves("proposals", "AR@200"), "C-mIoU, %": curves("parts", "c_miou")}
    drawn = panels_plot(panels, x="labelled images, %", log_x=True, suffix=path.suffix)
    make_folder(path.parent)
    replace_file(path, drawn)
    return path


def _points(runs: Sequence[Learned]) -> Iterator[tuple[Point, ...]]:
    return zip(*(run.points for run in runs), strict=True)


def _grid(runs: Sequence[Learned], records: Sequence[Record]) -> Grid:
    values = by(records, "protocol", "start", "percent")
    numbers = "95 % of a bootstrap over images in brackets"
    if len(runs) > 1:
        numbers = f"mean ± standard deviation of {len(runs)} seeds"

    def title(protocol: Protocol) -> str:
        images = _range([run.points[0].parts.under(protocol).images for run in runs])
        return f"Protocol {protocol}, {images} held-out images; in percent, {numbers}"

    def row(protocol: Protocol, same: Sequence[Point]) -> list[str]:
        first = same[0]
        classes = (_range([point.known for point in same]), _range([len(point.held_out) for point in same]))
        scores = values[protocol, first.model, first.percent]
        return [
            first.model,
            f"{first.percent} %",
            _range([point.images for point in same]),
            " of ".join(classes),
            *(cell(scores, interval=True, way=way, score=score) for way, score in SCORES.values()),
        ]

    return Grid(
        ("start", "labels", "images", "object classes", *SCORES),
        {title(protocol): [row(protocol, same) for same in _points(runs)] for protocol in PROTOCOLS},
    )


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _paper() -> Grid:
    rows = [
        (f"{share} %", percent(fraction(ar)), percent(fraction(miou))) for share, (ar, miou) in PAPER.items()
    ]
    return Grid(("labels", "AR@200", "mIoU"), {_PAPER_NOTE: rows}, text_columns=())
