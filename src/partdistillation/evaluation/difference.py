"""How much better one set of predictions is than another, on the same images.

Whatever the images have in common (hard ones, rare parts) moves both scores alike, so two intervals may
overlap where the difference is sure. Here both see the same images in each replicate of the bootstrap, and
the interval is the difference's own.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from partdistillation.data.coco import read_parts
from partdistillation.evaluation import run as evaluation
from partdistillation.evaluation.bootstrap import UNKNOWN, interval
from partdistillation.evaluation.provenance import Provenance
from partdistillation.evaluation.scores import TITLES, Evaluation
from partdistillation.evaluation.tables import Grid, Record, ScoreTables, by, cell
from partdistillation.runs.manifest import Json
from partdistillation.settings import at_home

COLUMNS = ("protocol", "images", "score", "of", "value", "low", "high")
"""Of the CSV; `of` says whether it is a score of the predictions, of the others, or the difference."""
OURS, OTHERS, DIFFERENCE = "predictions", "against", "difference"


def compare(
    predictions: Path,
    against: Path,
    parts: Path,
    *,
    protocol: Literal["both", "paper", "strict"] = "both",
    parts_class: str = "",
) -> list[Record]:
    """Score two sets of predictions on the same true parts; print both and how far the first is above.

    Also written beside the first, as `evaluation_against.md`, `.json` and `.csv`.

    Args:
        predictions: a run's folder, one that `predict` wrote, or a COCO .json.
        against: another one.
        parts: ground truth in the COCO layout.
        protocol: see `evaluation.protocol`.
        parts_class: the object class of all true parts, where their file doesn't say it.

    Raises:
        InputError: something else is given, or it doesn't fit together.
    """
    predictions, against, parts = map(at_home, (predictions, against, parts))
    protocols = evaluation.PROTOCOLS if protocol == "both" else (protocol,)
    truth = read_parts(parts, parts_class)
    truth.log_notes()
    for side in (predictions, against):
        evaluation.check_images(side, truth)
    ours, others = (
        evaluation.score(evaluation.read_predictions(side), truth, protocols)
        for side in (predictions, against)
    )
    records = [record for pair in zip(ours, others, strict=True) for record in differences(*pair)]
    provenance = {
        name: evaluation.provenance(side, parts) for name, side in ((OURS, predictions), (OTHERS, against))
    }
    folder = predictions if predictions.is_dir() else predictions.parent
    _tables(records, provenance).save(folder / "evaluation_against")
    return records


def differences(ours: Evaluation, others: Evaluation) -> Iterator[Record]:
    """Every score of two evaluations of the same images, under one protocol, and its difference."""
    for score, own in ours.replicates.items():
        difference = own - others.replicates[score]
        between = interval(difference) if ours.images > 1 else UNKNOWN
        for of, value, (low, high) in (
            (OURS, own[0], ours.intervals[score]),
            (OTHERS, others.replicates[score][0], others.intervals[score]),
            (DIFFERENCE, difference[0], between),
        ):
            yield {
                "protocol": ours.protocol,
                "images": ours.images,
                "score": score,
                "of": of,
                "value": float(value),
                "low": low,
                "high": high,
            }


def _tables(records: Sequence[Record], provenance: Mapping[str, Provenance]) -> ScoreTables:
    blocks: list[str | Grid] = [
        f"{records[0]['images']} images, in percent, with 95 % of a bootstrap over images in brackets. In a "
        "difference's both sides have the same images: where it doesn't hold 0, one of them is better."
    ]
    for (protocol,), values in by(records, "protocol").items():
        rows = [
            (
                TITLES.get(str(score), str(score)),
                *(cell(of_score, interval=True, of=of) for of in (OURS, OTHERS, DIFFERENCE)),
            )
            for (score,), of_score in by(values, "score").items()
        ]
        blocks.append(Grid((f"score, {protocol}", OURS, OTHERS, DIFFERENCE), {"": rows}))
    blocks += [f"{name}: {of}" for name, of in provenance.items()]
    content: Json = {
        "provenance": {name: of.to_dict() for name, of in provenance.items()},
        "scores": list(records),
    }
    return ScoreTables(blocks, content, records, COLUMNS)
