"""The method in order: from images and object masks to a part model (paper, section 4)."""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markdown import Markdown

from partdistillation import config
from partdistillation.atomic import replace_file
from partdistillation.config import Inputs, Recipe
from partdistillation.data.coco import read_parts
from partdistillation.errors import StoreError
from partdistillation.evaluation import run as evaluation
from partdistillation.evaluation.scores import Evaluation
from partdistillation.report import run as run_report
from partdistillation.stages import distillation, ranking
from partdistillation.stages import objects as objects_stage
from partdistillation.stages import pretrain as pretrain_stage
from partdistillation.stages import proposals as proposals_stage
from partdistillation.stages import segments as segments_stage
from partdistillation.store import contents_hash

CHECKPOINTS = "checkpoints"
SECONDS = "seconds.json"
"""In a run's folder: how long each stage took."""


def run(inputs: Inputs, recipe: Recipe) -> Path:
    """Stages 1 to 5 and the report. Run again with the same arguments to go on where it was stopped.

    Raises:
        SettingsChanged: a stage has begun with other settings; the folder keeps remembering those.
    """
    objects(inputs, recipe)  # masks with classes
    segments(inputs, recipe)  # every object's pixels, grouped by their features
    proposals(inputs, recipe)  # a model that finds such segments, and better ones, in any image
    rank(inputs, recipe)  # its proposals, clustered within each object class: labelled parts
    distill(inputs, recipe)  # a model that finds and names the parts
    return report(inputs, recipe)


def pretrain(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 0: an instance segmentation model, where no published one is used."""
    return _stage("pretrain", pretrain_stage.run, inputs, recipe, [pretrain_stage.FOLDER])


def objects(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 1: the objects whose parts are learned (section 4.1)."""
    return _stage("objects", objects_stage.run, inputs, recipe, [objects_stage.FOLDER])


def segments(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 2: class-agnostic segments of every object (section 4.2)."""
    return _stage("segments", segments_stage.run, inputs, recipe, [segments_stage.FOLDER])


def proposals(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 3: the proposal model, taught by the segments (section 4.2)."""
    return _stage("proposals", proposals_stage.run, inputs, recipe, [proposals_stage.FOLDER])


def rank(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 4: proposals become parts (section 4.3)."""
    made = [ranking.FEATURES, ranking.PART_CLASSES, ranking.PARTS]
    return _stage("ranking", ranking.run, inputs, recipe, made)


def distill(inputs: Inputs, recipe: Recipe) -> Path:
    """Stage 5: the part model, taught by the parts (section 4.4)."""
    return _stage("distillation", distillation.run, inputs, recipe, [distillation.FOLDER])


def report(inputs: Inputs, recipe: Recipe) -> Path:
    """Write `out/report/index.html` about whatever of the run is there, and return it."""
    return run_report.write(inputs, recipe, seconds=seconds(inputs.out))


def evaluate(
    predictions: Path, parts: Path, *, protocol: Literal["both", "paper", "strict"] = "both"
) -> list[Evaluation]:
    """Compare predictions with ground-truth parts; print the tables and write them beside the predictions.

    Args:
        predictions: a run's folder, one that `predict` wrote, or a COCO .json.
        parts: ground truth in the COCO layout.
        protocol: see `evaluation.protocol`.

    Raises:
        InputError: something else is given, or it doesn't fit together.
    """
    protocols = evaluation.PROTOCOLS if protocol == "both" else (protocol,)
    scores = evaluation.score(evaluation.read_predictions(predictions), read_parts(parts), protocols)
    tables = "\n\n".join(one.as_table() for one in scores) + "\n"
    folder = predictions if predictions.is_dir() else predictions.parent
    values = json.dumps([one.to_dict() for one in scores], indent=2, ensure_ascii=False, allow_nan=False)
    replace_file(folder / "evaluation.json", f"{values}\n".encode())
    replace_file(folder / "evaluation.md", tables.encode())
    Console().print(Markdown(tables))
    return scores


def seconds(out: Path) -> dict[str, float]:
    """How long each finished stage of a run took, in the call that finished it."""
    path = out / SECONDS
    found: dict[str, float] = json.loads(path.read_bytes()) if path.exists() else {}
    return found


def _stage(
    name: str, run: Callable[[Inputs, Recipe], Path], inputs: Inputs, recipe: Recipe, folders: Sequence[str]
) -> Path:
    """Run a stage, and keep `config.yaml` true: the settings that what is in `out` was made with.

    A stage that has begun refuses other settings by itself, and then nothing may be overwritten. One that
    hasn't is remembered before it starts, so that it can be resumed without repeating the settings.
    """
    places = [inputs.out / folder for folder in folders]
    begun = any(place.exists() for place in (*places, inputs.out / CHECKPOINTS / name))
    before = [_contents(place) for place in places]
    first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes, one writes
    if first and not begun:
        config.save(inputs, recipe)
    start = time.monotonic()
    made = run(inputs, recipe)
    if not first:
        return made
    config.save(inputs, recipe)
    if None in before or before != [_contents(place) for place in places]:
        spent = seconds(inputs.out) | {name: round(time.monotonic() - start, 1)}
        replace_file(inputs.out / SECONDS, (json.dumps(spent, indent=1) + "\n").encode())
    return made


def _contents(place: Path) -> str | None:
    """Hash of what a stage has made, None if it isn't finished."""
    try:
        return contents_hash(place)
    except StoreError:
        return None
