"""Where names are lost: masks named by what was learned, and by an oracle, on held-out photographs.

    python benchmarks/part_names.py DATA RUN [--val NAME] [--recipe small]

RUN is a finished run on DATA's `train/` with the recipe's settings; DATA holds `NAME/`, `objects_NAME.json`
and `parts_NAME.json` (docs/datasets.md). Every mask (a segment, a unique proposal, a part of the part model)
gets the part class that its features are nearest to, by the run's own part classes; or, by the oracle, the
name of the true part that it covers most, and none where most of it is no part. Resumable.
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from partdistillation.config import Inputs
from partdistillation.data.coco import CocoDataset, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.data.images import ImageInput
from partdistillation.evaluation import run as evaluation
from partdistillation.evaluation.controls import Validation
from partdistillation.evaluation.tables import Grid, percent
from partdistillation.functional.masks import decode
from partdistillation.inference import PartSegmenter, part_row
from partdistillation.recipes import recipe
from partdistillation.runs.engine import map_rows
from partdistillation.runs.records import ObjectParts, ObjectRow, PartRow, ProposalRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import candidates, distillation, part_classes, proposals, ranking, segments

Names = dict[tuple[str, str], int]
"""The oracle's part classes: of an object class and a true part's name."""


def main() -> None:
    """Label what isn't labelled yet, and print the table."""
    arguments = _parse()
    data, run, val = arguments.data, arguments.run, arguments.val
    settings = recipe(arguments.recipe)
    inputs = Inputs(
        out=run / f"names_{val}",
        images=data / val,
        objects=data / f"objects_{val}.json",
        parts=data / f"parts_{val}.json",
        workers=arguments.workers,
    )
    validation = Validation(inputs, settings)
    validation.prepare()
    segments.run(inputs, settings)
    as_segments = candidates.collect_segments(
        inputs, settings, objects_dir=validation.objects_dir, segments_dir=inputs.out / segments.FOLDER
    )
    as_proposals = candidates.collect(
        replace(inputs, out=inputs.out / "proposals"),
        settings,
        model_dir=run / proposals.FOLDER,
        objects_dir=validation.objects_dir,
    )
    centroids, truth = part_classes.read(run / part_classes.FOLDER), read_parts(inputs.need("parts"))
    named = partial(ranking.part_row, centroids=centroids, config=settings.ranking)
    masks: dict[str, list[PartRow]] = {
        "segments": list(map(named, read_rows(as_segments, ProposalRow))),
        "proposals, unique per pixel": list(map(named, read_rows(as_proposals, ProposalRow))),
        "part model": list(read_rows(_predicted(validation, run / distillation.FOLDER), PartRow)),
    }
    table = []
    for name, rows in masks.items():
        values = [_score(validation, name, way) for way in (rows, _by_oracle(rows, truth))]
        table.append((name, *map(percent, values)))
    print(Grid(("masks", "C-mIoU, learned names", "C-mIoU, oracle's names"), {"": table}).markdown())


def _score(validation: Validation, name: str, rows: Iterable[PartRow]) -> float:
    return validation.score(name, "result", map(evaluation.labelled_parts, rows)).strict.c_miou


def _predicted(validation: Validation, model: Path) -> Path:
    segmenter = PartSegmenter.from_pretrained(model)
    images_dir = validation.inputs.need("images")
    return map_rows(
        validation.inputs.out / "parts_of_model",
        source=validation.objects_dir,
        read=ObjectRow,
        row=PartRow,
        make=lambda: partial(part_row, segmenter, images_dir=images_dir),
        settings={},
        upstream=[model],
        label="part model",
    )


def _by_oracle(rows: Iterable[PartRow], truth: CocoDataset) -> Iterator[PartRow]:
    names: Names = {}
    for row in rows:
        image = truth.find(ImageInput(row.image_id, row.file_name, Path(row.file_name)))
        true = () if image is None else parts_of(truth, image)
        yield row.to(PartRow, [_renamed(labelled, row, true, names) for labelled in row.objects])


def _renamed(labelled: ObjectParts, row: PartRow, true: Iterable[Any], names: Names) -> ObjectParts:
    kept = []
    for part in labelled.parts:
        mask = decode(part.rle, row.height, row.width)
        covered = dict.fromkeys({piece.name for piece in true}, 0)
        for piece in true:
            covered[piece.name] += int(np.count_nonzero(mask & piece.mask))
        best = max(covered, key=covered.__getitem__, default=None)
        if best is not None and covered[best] > np.count_nonzero(mask) - sum(covered.values()):
            others = sum(category == labelled.category for category, _ in names)
            kept.append(replace(part, part=names.setdefault((labelled.category, best), others)))
    return ObjectParts(labelled.object_id, labelled.category, tuple(kept))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--val", default="val", help="name of the held-out split")
    parser.add_argument("--recipe", default="small")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
