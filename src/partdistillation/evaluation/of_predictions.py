"""Evaluate what is in files: predictions of any origin against ground-truth parts."""

from pathlib import Path
from typing import Literal

from rich.console import Console

from partdistillation.data.coco import read_parts
from partdistillation.evaluation import run as evaluation
from partdistillation.evaluation.scores import Evaluation
from partdistillation.evaluation.tables import EvaluationTables
from partdistillation.runs.atomic import replace_file
from partdistillation.runs.part_table import read_part_table


def evaluate(
    predictions: Path,
    parts: Path,
    *,
    protocol: Literal["both", "paper", "strict"] = "both",
    part_table: Path | None = None,
) -> list[Evaluation]:
    """Compare predictions with ground-truth parts; print the tables and write them beside the predictions.

    Args:
        predictions: a run's folder, one that `predict` wrote, or a COCO .json.
        parts: ground truth in the COCO layout.
        protocol: see `evaluation.protocol`.
        part_table: leaves predicted parts out, joins and names them, before they are compared.

    Raises:
        InputError: something else is given, or it doesn't fit together.
    """
    protocols = evaluation.PROTOCOLS if protocol == "both" else (protocol,)
    truth = read_parts(parts)
    truth.log_notes()
    table = None if part_table is None else read_part_table(part_table)
    evaluation.check_images(predictions, truth)
    scores = evaluation.score(evaluation.read_predictions(predictions, table), truth, protocols)
    tables = EvaluationTables(scores, evaluation.provenance(predictions, parts, part_table), table)
    folder = predictions if predictions.is_dir() else predictions.parent
    stem = "evaluation" if table is None else "evaluation_part_table"
    for name, text in (("json", tables.json()), ("md", tables.markdown()), ("csv", tables.csv())):
        replace_file(folder / f"{stem}.{name}", text.encode())
    console = Console()
    if console.is_terminal:
        console.print(tables.printed())
    else:
        print(tables.markdown(), end="")
    return scores
