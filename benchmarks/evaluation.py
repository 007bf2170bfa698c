"""Average recall and mask IoU against pycocotools, on one thread, at equal numbers.

    python benchmarks/evaluation.py [--images 500] [--run out/demo]

Generated sets: `--images` images of 256 to 640 pixels, with 10 true parts and 200 predictions each, and 150
images of 128 pixels with 8 and 25. With `--run`, the demo's validation images with the proposal model's
proposals too. Both sides start from run-length encodings in memory. pycocotools' COCOeval is set to do what
is compared: `useCats = 0`, the area range "all".
Numbers must agree to 1e-9, or this fails.
"""

import argparse
import contextlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # nothing here uses more than one thread; this makes sure

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from timing import compare, machine, peak_memory

from partdistillation.data.coco import read_parts
from partdistillation.evaluation import run as evaluation
from partdistillation.functional.masks import EncodedMask, EncodedMasks, decode, pairwise_iou, stacked
from partdistillation.functional.metrics import ImageMasks, average_recall
from partdistillation.runs.records import ProposalRow
from partdistillation.runs.stage_reader import read_rows

KS = (1, 10, 50, 100, 200)


class Drawn(NamedTuple):
    """What a generated set's images have."""

    sizes: tuple[int, ...]
    truth: int
    predictions: int


LARGE, SMALL = Drawn((256, 384, 512, 640), 10, 200), Drawn((128,), 8, 25)
SMALL_IMAGES = 150
REPEATS = 5
DECODED = 8
"""Images whose masks are compared decoded too."""

Images = list[ImageMasks]
Rle = dict[str, object]


def main() -> None:
    """Print the table."""
    arguments = _parse()
    print(machine(), "\n")
    print(
        "| what | set | pycocotools, CPU s | ours, CPU s | ratio | MiB: theirs | ours | largest difference |"
    )
    print("|---|---|---|---|---|---|---|---|")
    sets: dict[str, Callable[[], Images]] = {
        f"{arguments.images} images": partial(generated, arguments.images, LARGE),
        f"{SMALL_IMAGES} small images": partial(generated, SMALL_IMAGES, SMALL),
    }
    if arguments.run:
        sets["PartShapes' proposals"] = partial(proposed, arguments.run)
    for name, make in sets.items():
        _row("AR@1..200", name, _recalls_of_pycocotools, _recalls, make)
        _row("IoU of encoded masks", name, _ious_of_pycocotools, _ious, make)
    few = partial(generated, DECODED, LARGE)
    _row("IoU of decoded masks", f"{DECODED} images", _decoded_ious_of_pycocotools, _decoded_ious, few)


Side = Callable[[Images], Callable[[], np.ndarray]]
"""Prepares what isn't measured, and returns what is."""


def _row(what: str, name: str, theirs: Side, ours: Side, make: Callable[[], Images]) -> None:
    images = make()
    sides = {"theirs": theirs(images), "ours": ours(images)}
    difference = float(np.abs(sides["theirs"]() - sides["ours"]()).max())
    if difference > 1e-9:
        raise SystemExit(f"{what}, {name}: expected equal numbers, found a difference of {difference}")
    timings = compare(sides, repeats=REPEATS)
    cpu = {side: timing.cpu for side, timing in timings.items()}
    memory = [peak_memory(_prepared, side, make) for side in (theirs, ours)]
    print(
        f"| {what} | {name} | {cpu['theirs']:.3f} | {cpu['ours']:.3f} | {cpu['theirs'] / cpu['ours']:.1f} "
        f"| {memory[0]:.0f} | {memory[1]:.0f} | {difference:.0e} |",
        flush=True,
    )


def _prepared(side: Side, make: Callable[[], Images]) -> Callable[[], object]:
    side(generated(1, LARGE))()  # compiles
    return side(make())


# ---------------------------------------------------------------------- the sets


@cache
def generated(count: int, drawn: Drawn) -> Images:
    """Blobs; half of the predictions are true parts moved and resized a little, the rest lie anywhere."""
    rng = np.random.default_rng(0)
    images = []
    for index in range(count):
        size = drawn.sizes[index % len(drawn.sizes)]
        truth = [_blob(rng) for _ in range(drawn.truth)]
        near = [_moved(truth[int(rng.integers(drawn.truth))], rng) for _ in range(drawn.predictions // 2)]
        predicted = near + [_blob(rng) for _ in range(drawn.predictions - len(near))]
        images.append(ImageMasks(_drawn(truth, size), _drawn(predicted, size), rng.random(len(predicted))))
    return images


def _blob(rng: np.random.Generator) -> np.ndarray:
    """An outline of 40 points, in fractions of the image."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radii = rng.uniform(0.03, 0.15) * (1 + 0.1 * rng.standard_normal(40))
    stretch = rng.uniform(0.6, 1.6)
    around = np.stack([radii * np.cos(angles) * stretch, radii * np.sin(angles) / stretch], axis=1)
    outline: np.ndarray = np.clip(rng.uniform(0.1, 0.9, 2) + around, 0, 1)
    return outline


def _moved(outline: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    center = outline.mean(axis=0)
    moved = center + (outline - center) * rng.uniform(0.8, 1.25) + 0.015 * rng.standard_normal(2)
    clipped: np.ndarray = np.clip(moved, 0, 1)
    return clipped


def _drawn(outlines: Sequence[np.ndarray], size: int) -> EncodedMasks:
    polygons = [(size * outline).ravel().tolist() for outline in outlines]
    return EncodedMasks(
        [entry["counts"] for entry in coco_mask.frPyObjects(polygons, size, size)], size, size
    )


def proposed(run: Path) -> Images:
    """A demo's validation images: true parts, and all proposals of the proposal model."""
    truth = read_parts(run / "data" / "parts_val.json")
    rows = {row.file_name: row for row in read_rows(run / "validation" / "proposals_raw", ProposalRow)}
    images = []
    for image in truth.images:
        parts = evaluation.proposals(rows[image.file_name]).parts
        true: list[Any] = [
            EncodedMask(annotation.segmentation["counts"].encode(), image.height, image.width)  # type: ignore[index]
            for annotation in truth.of(image.id)
        ]
        if true and parts:
            masks = stacked([part.mask for part in parts])
            images.append(ImageMasks(stacked(true), masks, np.array([part.score for part in parts])))
    return images


# ---------------------------------------------------------------------- both sides


def _recalls(images: Images) -> Callable[[], np.ndarray]:
    return lambda: np.array(list(average_recall(images, KS).average.values()))


def _recalls_of_pycocotools(images: Images) -> Callable[[], np.ndarray]:
    truth = _index([_rles(image.truth) for image in images])
    predicted = _index(
        [_rles(image.proposals) for image in images], [image.scores.tolist() for image in images]
    )

    def measure() -> np.ndarray:
        judge = COCOeval(truth, predicted, "segm")
        judge.params.useCats = 0
        judge.params.maxDets = list(KS)
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        with contextlib.redirect_stdout(io.StringIO()):
            judge.evaluate()
            judge.accumulate()
        recalls: np.ndarray = judge.eval["recall"][:, 0, 0].mean(axis=0)
        return recalls

    return measure


def _index(masks: Sequence[Sequence[Rle]], scores: Sequence[Sequence[float]] | None = None) -> COCO:
    dataset = COCO()
    annotations: list[Mapping[str, object]] = []
    for image, rles in enumerate(masks):
        for number, rle in enumerate(rles):
            score = {} if scores is None else {"score": scores[image][number]}
            area = int(coco_mask.area(rle))
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": 1, "segmentation": rle,
                 "area": area, "bbox": [0, 0, 1, 1], "iscrowd": 0, **score}
            )  # fmt: skip
    sizes = [{"id": image, "height": rles[0]["size"][0], "width": rles[0]["size"][1]}  # type: ignore[index]
             for image, rles in enumerate(masks)]  # fmt: skip
    dataset.dataset = {"images": sizes, "categories": [{"id": 1, "name": "part"}], "annotations": annotations}
    with contextlib.redirect_stdout(io.StringIO()):
        dataset.createIndex()
    return dataset


def _ious(images: Images) -> Callable[[], np.ndarray]:
    return lambda: _flat(pairwise_iou(image.proposals, image.truth) for image in images)


def _ious_of_pycocotools(images: Images) -> Callable[[], np.ndarray]:
    pairs = [(_rles(image.proposals), _rles(image.truth)) for image in images]
    return lambda: _flat(coco_mask.iou(predicted, true, [0] * len(true)) for predicted, true in pairs)


def _decoded_ious(images: Images) -> Callable[[], np.ndarray]:
    pairs = [(_decoded(image.proposals), _decoded(image.truth)) for image in images]
    return lambda: _flat(pairwise_iou(predicted, true) for predicted, true in pairs)


def _decoded_ious_of_pycocotools(images: Images) -> Callable[[], np.ndarray]:
    pairs = [(_decoded(image.proposals), _decoded(image.truth)) for image in images]

    def encoded(masks: np.ndarray) -> object:
        return coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8))

    return lambda: _flat(
        coco_mask.iou(encoded(predicted), encoded(true), [0] * len(true)) for predicted, true in pairs
    )


def _flat(matrices: Any) -> np.ndarray:
    return np.concatenate([matrix.ravel() for matrix in matrices])


def _rles(masks: np.ndarray | EncodedMasks) -> list[Rle]:
    assert isinstance(masks, EncodedMasks)
    return [{"size": [masks.height, masks.width], "counts": counts} for counts in masks.counts]


def _decoded(masks: np.ndarray | EncodedMasks) -> np.ndarray:
    assert isinstance(masks, EncodedMasks)
    return np.stack([decode(counts, masks.height, masks.width) for counts in masks.counts])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=500, help="images of the generated set")
    parser.add_argument("--run", type=Path, help="folder of a demo that has run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
