"""Evaluate what is in files: predictions of any origin against ground-truth parts."""

from pathlib import Path
from typing import Literal

from partdistillation.data.coco import read_parts
from partdistillation.evaluation import run as evaluation
from partdistillation.evaluation.evaluation_tables import evaluation_tables
from partdistillation.evaluation.scores import Evaluation
from partdistillation.runs.part_table import read_part_table
from partdistillation.settings import at_home


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
    truth = read_parts(parts, parts_class)
    truth.log_notes()
    table = None if part_table is None else read_part_table(part_table)
    evaluation.check_images(predictions, truth)
    scores = evaluation.score(evaluation.read_predictions(predictions, table), truth, protocols)
    provenance = evaluation.provenance(predictions, parts, part_table)
    folder = predictions if predictions.is_dir() else predictions.parent
    stem = "evaluation" if table is None else "evaluation_part_table"
    evaluation_tables(scores, provenance, table).save(folder / stem)
    return scores
