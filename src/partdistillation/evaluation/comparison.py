"""Several ways to parts on the same images, a row each, of one run or as means of several.

Under a way stand the rows that a paper has for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from partdistillation.evaluation.provenance import Provenance
from partdistillation.evaluation.scores import Evaluation
from partdistillation.evaluation.tables import (
    Aside,
    Grid,
    Record,
    ScoreTables,
    by,
    cell,
    fraction,
    number,
    spread,
)
from partdistillation.runs.manifest import Json

COLUMNS: Mapping[str, str] = {
    "AR@1": "AR@1",
    "AR@10": "@10",
    "AR@200": "@200",
    "ap50": "AP50",
    "c_miou": "C-mIoU",
    "a_miou": "A-mIoU",
    "nmi_foreground": "NMI",
    "ari_foreground": "ARI",
}
"""What is printed, NMI and ARI of true parts' pixels; CSV and JSON have all scores."""
_LABEL_WIDTH = 27


class Published(NamedTuple):
    """What a paper has for a way to parts."""

    label: str
    """Whose numbers they are, and on which data."""
    source: str
    """The table that they are printed in."""
    scores: Mapping[str, float]
    """In percent, as printed there, by the names of `COLUMNS`; `nmi` and `ari` if the pixels aren't said."""

    def fractions(self) -> dict[str, float]:
        """The scores as ours are in CSV and JSON."""
        return {score: fraction(value) for score, value in self.scores.items()}


class Compared(NamedTuple):
    """A way to parts, under every protocol."""

    name: str
    evaluations: Sequence[Evaluation]
    published: Sequence[Published] = ()
    kind: Literal["result", "control", "baseline"] = "result"

    def records(self) -> Iterator[Record]:
        """Every score under every protocol."""
        for evaluation in self.evaluations:
            for record in evaluation.records():
                yield {"name": self.name, **record}

    def published_records(self) -> Iterator[Record]:
        """Every published score."""
        for paper in self.published:
            of: Record = {"name": self.name, "published": paper.label, "source": paper.source}
            for score, value in paper.fractions().items():
                yield {**of, "score": score, "value": value}


class Comparison(NamedTuple):
    """The rows, and what all of them were made from and compared with."""

    rows: Sequence[Compared]
    provenance: Provenance

    def tables(self) -> ScoreTables:
        """A table in percent for each protocol."""
        hashes = self.provenance.columns()
        records: list[Record] = []
        for row in self.rows:
            records += ({**record, **hashes} for record in row.records())
            records += row.published_records()
        columns = ("name", "protocol", "images", "score", "value", "low", "high", "published", "source")
        notes = [*_notes(self.rows, "In percent"), str(self.provenance)]
        blocks: list[str | Grid] = [_grid([self], records), *notes]
        return ScoreTables(blocks, self.to_dict(), records, (*columns, *hashes))

    def to_dict(self) -> dict[str, Json]:
        """Plain values for JSON."""
        rows: list[Json] = [
            {
                "name": row.name,
                "kind": row.kind,
                "protocols": [evaluation.to_dict() for evaluation in row.evaluations],
                "published": [
                    {"label": paper.label, "source": paper.source, "scores": paper.fractions()}
                    for paper in row.published
                ],
            }
            for row in self.rows
        ]
        return {"provenance": self.provenance.to_dict(), "rows": rows}


class ComparedRuns(NamedTuple):
    """Comparisons with the same rows, one a run."""

    runs: Mapping[int, Comparison]
    """By seed."""

    def tables(self) -> ScoreTables:
        """A table a protocol: mean and standard deviation over runs, in percent.

        In JSON, `means` has those of every way, protocol and score, and `runs` each run's comparison.
        """
        comparisons = list(self.runs.values())
        rows = comparisons[0].rows  # whose names, and what is published, are those of all
        own = self._records()
        records = [*own, *(record for row in rows for record in row.published_records())]
        hashes = dict.fromkeys(name for run in comparisons for name in run.provenance.columns())
        columns = ("name", "protocol", "images", "score", "seed", "value", "published", "source", *hashes)
        notes = _notes(rows, "In percent, mean ± standard deviation over runs")
        origins = (f"Seed {seed}. {run.provenance}" for seed, run in self.runs.items())
        content: Json = {
            "means": _means(own),
            "runs": [{"seed": seed, **run.to_dict()} for seed, run in self.runs.items()],
        }
        return ScoreTables([_grid(comparisons, records), *notes, *origins], content, records, columns)

    def _records(self) -> list[Record]:
        """The runs' scores, by protocol, way and score."""
        records = [
            {**record, "seed": seed, **run.provenance.columns()}
            for seed, run in self.runs.items()
            for row in run.rows
            for record in row.records()
        ]
        return [
            record
            for of_protocol in by(records, "protocol").values()
            for of_runs in by(of_protocol, "name", "score").values()
            for record in of_runs
        ]


def _means(records: Sequence[Record]) -> list[Json]:
    """Of every way and protocol, a score's mean and deviation; None where a run has none."""
    means: list[Json] = []
    for (protocol, name), values in by(records, "protocol", "name").items():
        scores: dict[str, Json] = {}
        for (score,), of_runs in by(values, "score").items():
            summary = spread([number(record, "value") for record in of_runs])
            scores[str(score)] = summary and {"mean": summary[0], "deviation": summary[1]}
        means.append({"name": name, "protocol": protocol, "scores": scores})
    return means


def _grid(comparisons: Sequence[Comparison], records: Sequence[Record]) -> Grid:
    """A section a protocol: each way's row, and below it those that a paper has for it."""
    rows, values = comparisons[0].rows, by(records, "protocol", "name", "published")
    sections: dict[str, list[list[str]]] = {}
    for place, first in enumerate(rows[0].evaluations):
        images = sorted({comparison.rows[0].evaluations[place].images for comparison in comparisons})
        runs = f"{len(comparisons)} runs of " if len(comparisons) > 1 else ""
        title = f"Protocol {first.protocol}, {runs}{' or '.join(map(str, images))} images"
        sections[title] = []
        for row in rows:
            sections[title].append(_row(row.name, values[first.protocol, row.name, None]))
            for paper in row.published:
                sections[title].append(_row(Aside(paper.label), values[None, row.name, paper.label]))
    return Grid(("", *COLUMNS.values()), sections, label_width=_LABEL_WIDTH)


def _row(label: str, records: Sequence[Record]) -> list[str]:
    """Published NMI and ARI of unsaid pixels are shown where ours are."""
    scores = {record["score"] for record in records}
    names = (name if name in scores else name.removesuffix("_foreground") for name in COLUMNS)
    return [label, *(cell(records, score=name) for name in names)]


def _notes(rows: Sequence[Compared], numbers: str) -> list[str]:
    """What the numbers are, and where the published rows stand, if there are any."""
    note = f"{numbers}; NMI and ARI of true parts' pixels (CSV and JSON have them with the background too)."
    if any("clustered" in row.name for row in rows):
        note += (
            " Clustered: part classes are found anew, on these images; otherwise they are the model's own."
        )
    published = [paper for row in rows for paper in row.published]
    if not published:
        return [note]
    sources = "; ".join(dict.fromkeys(paper.source for paper in published))
    theirs = f"Published rows: {sources}. Their networks and data are others: compare the order, not values."
    if any(not set(paper.scores) <= set(COLUMNS) for paper in published):
        theirs += " They don't say whether the background counts in their NMI and ARI."
    return [note, theirs]
