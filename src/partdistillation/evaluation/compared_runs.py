"""The same comparison on several runs: means and standard deviations, and every run's numbers."""

import csv
import io
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table as Printed

from partdistillation.evaluation.comparison import (
    COLUMNS,
    Compared,
    Comparison,
    Section,
    as_markdown,
    as_printed,
    fractions,
    hashes,
    notes,
    with_published,
)
from partdistillation.evaluation.scores import Evaluation, Json
from partdistillation.evaluation.tables import values


@dataclass(frozen=True)
class ComparedRuns:
    """Comparisons with the same rows, one a run."""

    runs: Mapping[int, Comparison]
    """By seed."""

    def markdown(self) -> str:
        """A table a protocol: mean and standard deviation over runs, in percent."""
        return as_markdown(self._sections(), self._below())

    def printed(self) -> Printed:
        """The same for a terminal of 80 columns, deviations below the means."""
        return as_printed(self._sections("\n±"), self._below())

    def csv(self) -> str:
        """A line a way, protocol, score and run, and a line a published score; fractions."""
        file = io.StringIO()
        hashed = {seed: hashes(one.provenance) for seed, one in self.runs.items()}
        named = list(dict.fromkeys(name for one in hashed.values() for name in one))
        header = ["name", "protocol", "images", "score", "seed", "value", "published", "source", *named]
        writer = csv.DictWriter(file, header, restval="", lineterminator="\n")
        writer.writeheader()
        for place, first in enumerate(self._first):
            for name, scores in self._scores(place):
                for score, numbers in scores.items():
                    for (seed, run), number in zip(self.runs.items(), numbers, strict=True):
                        images = run.rows[0].evaluations[place].images
                        line = {"name": name, "protocol": first.protocol, "images": images, "score": score}
                        value = "" if math.isnan(number) else number
                        writer.writerow({**line, "seed": seed, "value": value, **hashed[seed]})
        for row in self._rows:
            for paper in row.published:
                line = {"name": row.name, "published": paper.label, "source": paper.source}
                for score, fraction in fractions(paper).items():
                    writer.writerow({**line, "score": score, "value": fraction})
        return file.getvalue()

    def json(self) -> str:
        """`means`: of every way and protocol, a score's mean and deviation; `runs`: each run's comparison."""
        means: list[Json] = [
            {
                "name": name,
                "protocol": first.protocol,
                "scores": {score: _summary(numbers) for score, numbers in scores.items()},
            }
            for place, first in enumerate(self._first)
            for name, scores in self._scores(place)
        ]
        runs: list[Json] = [{"seed": seed, **one.to_dict()} for seed, one in self.runs.items()]
        content: dict[str, Json] = {"means": means, "runs": runs}
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def _rows(self) -> Sequence[Compared]:
        """Of any run: their names and what is published are those of all."""
        return next(iter(self.runs.values())).rows

    @property
    def _first(self) -> Sequence[Evaluation]:
        """Of any row, its protocols."""
        return self._rows[0].evaluations

    def _sections(self, between: str = " ± ") -> Iterator[Section]:
        for place, first in enumerate(self._first):
            images = sorted({one.rows[0].evaluations[place].images for one in self.runs.values()})
            count = f"{len(self.runs)} runs of {' or '.join(map(str, images))} images"
            cells = (
                [mean_and_deviation(scores[column]).replace(" ± ", between) for column in COLUMNS]
                for _, scores in self._scores(place)
            )
            lines = list(with_published(self._rows, cells))
            yield Section(f"Protocol {first.protocol}, {count}", lines)

    def _below(self) -> list[str]:
        origins = (f"Seed {seed}. {one.provenance}" for seed, one in self.runs.items())
        return [*notes(self._rows, "In percent, mean ± standard deviation over runs"), *origins]

    def _scores(self, place: int) -> Iterator[tuple[str, Mapping[str, Sequence[float]]]]:
        """Every row's scores, a number a run, under the protocol at `place`."""
        for same in zip(*(one.rows for one in self.runs.values()), strict=True):
            scores = [values(row.evaluations[place]) for row in same]
            yield same[0].name, {score: [one[score] for one in scores] for score in scores[0]}


def mean_and_deviation(numbers: Sequence[float]) -> str:
    """Fractions in percent: the mean, and the standard deviation of several; `-` where one isn't defined."""
    if not numbers or any(map(math.isnan, numbers)):
        return "-"
    spread = f" ± {100 * statistics.stdev(numbers):.1f}" if len(numbers) > 1 else ""
    return f"{100 * statistics.mean(numbers):.1f}{spread}"


def _summary(numbers: Sequence[float]) -> Json:
    """None where a run has none."""
    if any(map(math.isnan, numbers)):
        return None
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else None
    return {"mean": statistics.mean(numbers), "deviation": deviation}
