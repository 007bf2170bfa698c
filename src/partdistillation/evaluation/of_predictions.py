"""Evaluate what is in files: predictions of any origin against ground-truth parts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from partdistillation.data.coco import read_parts
from partdistillation.evaluation import run as evaluation
from partdistillation.evaluation.provenance import Provenance
from partdistillation.evaluation.scores import TITLES, Evaluation, PartScore
from partdistillation.evaluation.tables import Grid, Record, ScoreTables, by, cell
from partdistillation.runs.part_table import PartTable, read_part_table
from partdistillation.settings import at_home

COLUMNS = ("protocol", "images", "object_class", "part", "score", "value", "low", "high")
"""Of the CSV; object class and part are empty where a score is over all."""


def evaluate(
    predictions: Path,
    parts: Path,
    *,
    protocol: Literal["both", "paper", "strict"] = "both",
    part_table: Path | None = None,
    parts_class: str = "",
) -> list[Evaluation]:
    """Compare predictions with ground-truth parts; print the tables and write them beside the predictions.

    Args:
        predictions: a run's folder, one that `predict` wrote, or a COCO .json.
        parts: ground truth in the COCO layout.
        protocol: see `evaluation.protocol`.
        part_table: leaves predicted parts out, joins and names them, before they are compared.
        parts_class: the object class of all true parts, where their file doesn't say it.

    Raises:
        InputError: something else is given, or it doesn't fit together.
    """
    predictions, parts = at_home(predictions), at_home(parts)
    protocols = evaluation.PROTOCOLS if protocol == "both" else (protocol,)
    table = None if part_table is None else read_part_table(part_table)
    truth = read_parts(parts, parts_class)
    truth.log_notes()
    evaluation.check_images(predictions, truth)
    scores = evaluation.score(evaluation.read_predictions(predictions, table), truth, protocols)
    provenance = evaluation.provenance(predictions, parts, part_table)
    folder = predictions if predictions.is_dir() else predictions.parent
    stem = "evaluation" if table is None else "evaluation_part_table"
    evaluation_tables(scores, provenance, table).save(folder / stem)
    return scores


def evaluation_tables(
    evaluations: Sequence[Evaluation], provenance: Provenance, part_table: PartTable | None = None
) -> ScoreTables:
    """One evaluation a protocol, of the same predictions and images.

    Without a part table, part classes are shown by their ids.
    """
    records = [
        record for evaluation in evaluations for record in (*evaluation.records(), *_part_records(evaluation))
    ]
    return ScoreTables(
        [_head(evaluations), _scores(records), _parts(evaluations, records, part_table), str(provenance)],
        {
            "provenance": provenance.to_dict(),
            "protocols": [evaluation.to_dict() for evaluation in evaluations],
        },
        records,
        COLUMNS,
    )


def _part_records(evaluation: Evaluation) -> Iterator[Record]:
    for category in evaluation.categories:
        for part in category.parts:
            of: Record = {
                "protocol": evaluation.protocol,
                "images": evaluation.images,
                "object_class": category.category,
                "part": part.part,
            }
            yield {**of, "score": "best_overlap", "value": part.best_overlap}
            yield {**of, "score": "iou", "value": part.iou}


def _head(evaluations: Sequence[Evaluation]) -> str:
    counts = "; ".join(
        f"{evaluation.protocol}: {evaluation.predictions} predictions in {evaluation.images} images"
        for evaluation in evaluations
    )
    return (
        f"True parts: {evaluations[0].true_parts}; {counts}. In percent, with 95 % of a bootstrap "
        "over images in brackets."
    )


def _scores(records: Sequence[Record]) -> Grid:
    whole = [record for record in records if "part" not in record]
    protocols = [str(protocol) for (protocol,) in by(whole, "protocol")]
    rows = [
        (
            TITLES.get(str(score), str(score)),
            *(cell(values, interval=True, protocol=protocol) for protocol in protocols),
        )
        for (score,), values in by(whole, "score").items()
    ]
    return Grid(("score", *protocols), {"": rows})


def _parts(
    evaluations: Sequence[Evaluation], records: Sequence[Record], part_table: PartTable | None
) -> Grid:
    first, *others = (evaluation.protocol for evaluation in evaluations)
    values = by(records, "object_class", "part")

    def row(category: str, part: PartScore) -> tuple[str, ...]:
        own = values[category, part.part]
        ious = (cell(own, score="iou", protocol=protocol) for protocol in (first, *others))
        overlap = cell(own, score="best_overlap", protocol=first)
        return category, part.part, str(part.count), overlap, *ious, _named(category, part, part_table)

    return Grid(
        ("object class", "part", "count", "best overlap", "IoU", *(f"IoU, {other}" for other in others),
         "part ids" if part_table is None else "part classes"),
        {"": [row(scores.category, part) for scores in evaluations[0].categories for part in scores.parts]},
        text_columns=(0, 1),
    )  # fmt: skip


def _named(category: str, part: PartScore, part_table: PartTable | None) -> str:
    """The part classes that are mapped to a true part."""
    if part_table is None:
        return " ".join(map(str, part.part_ids)) or "-"
    return ", ".join(part_table.name(category, part_id) for part_id in part.part_ids) or "-"
