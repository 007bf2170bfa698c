"""The recipe `small` on photographs of things, without masks: is the labelled part among what was found?

    python benchmarks/instruct_part.py DATA --out OUT

DATA holds a folder of photographs for each class and `parts.json`, in which mostly one part of a photograph
is labelled, and there are no object masks. So nothing can be said of what is found besides: the score is the
IoU of each labelled part with the best mask found, on average over a part's photographs and then over parts,
and the share that some mask covers with an IoU over .5. The labels are read by this script alone. Resumable.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from partdistillation import inference, pipeline
from partdistillation.config import Inputs, Recipe
from partdistillation.data.coco import CocoDataset, read_parts
from partdistillation.data.coco_parts import parts_of
from partdistillation.data.images import ImageInput
from partdistillation.evaluation.tables import Grid, percent
from partdistillation.functional.masks import EncodedMasks, pairwise_iou
from partdistillation.recipes import SMALL, seeded
from partdistillation.runs.records import ObjectRow, PartRow, ProposalRow, Row, SegmentRow
from partdistillation.runs.stage_reader import read_rows
from partdistillation.stages import candidates, ranking
from partdistillation.stages.objects import FOLDER as OBJECTS


def main() -> None:
    """Run everything that isn't there yet, and print the table."""
    arguments = _parse()
    out = arguments.out
    inputs = Inputs(out=out, images=arguments.data, workers=arguments.workers)
    recipe = pipeline.with_source(inputs, seeded(SMALL, arguments.seed))
    pipeline.run(inputs, recipe)
    truth = read_parts(arguments.data / "parts.json")
    rows = {
        "whole object": _rows(out / OBJECTS, ObjectRow, lambda found: [found.rle]),
        "segments: RGB + xy": _rows(_control(inputs, recipe), SegmentRow, _segments),
        "segments": _rows(out / "segments", SegmentRow, _segments),
        "proposals, overlapping": _rows(_overlapping(inputs, recipe), ProposalRow, _proposals),
        "parts (the part model's labels)": _rows(out / ranking.PARTS, PartRow, _parts),
        "part model": _rows(_predicted(inputs), PartRow, _parts),
    }
    cells = [(name, *_scores(found, truth)) for name, found in rows.items()]
    header = ("what is found", "masks an image", "mean best IoU", "recall at .5")
    table = Grid(header, {"": cells}).markdown() + "\n"
    (out / "instruct_part.md").write_text(table, encoding="utf-8")
    print(table)


def _control(inputs: Inputs, recipe: Recipe) -> Path:
    """Segments by colour and position, of the same objects, with the same k and CRF."""
    config = replace(recipe.segments, features="rgb_xy")
    copied = replace(recipe, segments=config, objects=replace(recipe.objects, source="run"))
    control = replace(inputs, out=inputs.out / "rgb_xy", objects=inputs.out)
    pipeline.objects(control, copied)
    return pipeline.segments(control, copied)


def _overlapping(inputs: Inputs, recipe: Recipe) -> Path:
    """The proposal model's masks before pixels are given to one of them."""
    ranked = replace(
        recipe.ranking,
        per_pixel=False,
        label_min_ratio=0.0,
        label_min_score=0.0,
        features="query",
        candidates="proposals",
    )
    return candidates.collect(
        replace(inputs, out=inputs.out / "overlapping"),
        replace(recipe, ranking=ranked),
        model_dir=inputs.out / "proposal_model",
        objects_dir=inputs.out / OBJECTS,
    )


def _predicted(inputs: Inputs) -> Path:
    """What `predict` finds, objects included."""
    out = inputs.out / "predicted"
    inference.predict(inputs.out / "part_model", inputs.need("images"), out=out, workers=inputs.workers)
    return out / "predictions"


def _segments(found: Any) -> list[bytes]:
    return [segment.rle for segment in found.segments]


def _proposals(found: Any) -> list[bytes]:
    return [proposal.rle for proposal in found.proposals]


def _parts(found: Any) -> list[bytes]:
    return [part.rle for part in found.parts]


def _rows(
    folder: Path, kind: type[Any], masks: Callable[[Any], list[bytes]]
) -> Iterator[tuple[Row, list[bytes]]]:
    for row in read_rows(folder, kind):
        yield row, [rle for found in row.objects for rle in masks(found)]


def _scores(rows: Iterable[tuple[Row, list[bytes]]], truth: CocoDataset) -> tuple[str, str, str]:
    best: Mapping[str, list[float]] = defaultdict(list)
    counts = []
    for row, rles in rows:
        image = truth.find(ImageInput(row.image_id, row.file_name, Path(row.file_name)))
        if image is None:
            continue
        counts.append(len(rles))
        for part in parts_of(truth, image):
            overlap = 0.0
            if rles:
                mask = EncodedMasks([part.encoded.counts], image.height, image.width)
                overlap = float(pairwise_iou(mask, EncodedMasks(rles, row.height, row.width)).max())
            best[f"{part.category} {part.name}"].append(overlap)
    means = np.mean([np.mean(overlaps) for overlaps in best.values()])
    recalls = np.mean([np.mean(np.array(overlaps) > 0.5) for overlaps in best.values()])
    return f"{np.mean(counts):.1f}", percent(float(means)), percent(float(recalls))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
