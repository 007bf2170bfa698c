"""The whole method on real photographs: stage 0 to the part model, against controls, on held-out images.

    python benchmarks/street_parts.py DATA --out OUT [--val NAME] [--encoder MODEL] [--seed 0]

DATA holds `train/`, `objects_train.json`, `NAME/`, `objects_NAME.json` and `parts_NAME.json`, in COCO layouts
(docs/datasets.md). The ground-truth parts are read by the evaluation alone. Everything is resumable:
the same command goes on where it was stopped. The settings are in `street_parts.yaml` beside this file.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from partdistillation import config, pipeline
from partdistillation.config import Inputs, Recipe
from partdistillation.evaluation.controls import (
    Measured,
    Validation,
    measure_parts,
    measure_proposals,
    measure_segments,
    measure_whole_objects,
)
from partdistillation.evaluation.tables import Grid, percent
from partdistillation.recipes import seeded
from partdistillation.stages import distillation, proposals

RECIPE = Path(__file__).with_suffix(".yaml")
KS = (1, 10, 20, 200)


def main() -> None:
    """Run everything that isn't there yet, and print the table."""
    arguments = _parse()
    data, out = arguments.data, arguments.out
    train = Inputs(
        out=out, images=data / "train", objects=data / "objects_train.json", workers=arguments.workers
    )
    _, recipe = config.from_yaml(RECIPE, train, Recipe())
    recipe = seeded(recipe, arguments.seed)
    encoder = arguments.encoder or str(pipeline.pretrain(train, recipe))
    recipe = replace(recipe, encoder=encoder)
    held_out = Inputs(
        out=out / arguments.val,
        images=data / arguments.val,
        objects=data / f"objects_{arguments.val}.json",
        parts=data / f"parts_{arguments.val}.json",
        workers=arguments.workers,
    )
    measured = _segments(held_out, recipe)
    if not arguments.segments_only:
        pipeline.run(train, recipe)
        validation = Validation(held_out, recipe)
        measured += measure_proposals(validation, out / proposals.FOLDER)
        measured.append(measure_parts(validation, out / distillation.FOLDER, "parts", "part model", "result"))
        measured.append(measure_whole_objects(validation))
    table = _table(measured)
    (out / f"table_{arguments.val}.md").write_text(table, encoding="utf-8")
    print(table)


def _segments(held_out: Inputs, recipe: Recipe) -> list[Measured]:
    """The segments and their controls, without and with the CRF."""
    measured = []
    for name, enabled in (("without CRF", False), ("with CRF", True)):
        settings = replace(recipe.segments, crf=replace(recipe.segments.crf, enabled=enabled))
        folder = held_out.out if enabled else held_out.out / "without_crf"
        validation = Validation(replace(held_out, out=folder), replace(recipe, segments=settings))
        validation.prepare()
        measured += [way._replace(name=f"{way.name}, {name}") for way in measure_segments(validation)]
    return measured


def _table(measured: list[Measured]) -> str:
    """Markdown, in percent, of the strict protocol; C-mIoU of both."""
    rows = []
    for way in measured:
        values = [way.strict.average_recall[k] for k in KS] + [way.strict.c_miou, way.paper.c_miou]
        rows.append((way.name, *map(percent, values)))
    header = ("features or model", *(f"AR@{k}" for k in KS), "C-mIoU strict", "C-mIoU paper")
    return Grid(header, {"": rows}).markdown() + "\n"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--val", default="val", help="name of the held-out split")
    parser.add_argument("--encoder", default="", help="use this instance segmentation model, skip stage 0")
    parser.add_argument("--segments-only", action="store_true", help="stop after the segments' controls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
