"""The dense CRF against pydensecrf, on one core: times of an image and of a further object, and labels.

    pip install pydensecrf2  # compiles; a Python package `pydensecrf`, for this comparison alone
    python benchmarks/dense_crf.py [--images DIR --objects COCO.json] [--count 8] [--repeats 5]

One object an image (COCO masks, or PartShapes drawings at 640 x 640), k-means of its colours and positions
into 4 segments on a grid of 8 pixels; with the background 5 labels. Longest side 640, the paper's settings,
10 steps. Times are CPU milliseconds of one thread, medians over the images of the medians over the repeats.
"ours" makes the image's lattice anew and has that of the image's size, as on a data set; "near the object" is
what the segments stage does (`certain_beyond`); a further object of the image finds both lattices made.
"""

import argparse
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import judge_crf
import numpy as np
from drawn import drawn_objects
from sklearn.cluster import KMeans
from timing import compare, machine

from partdistillation.config import CrfConfig
from partdistillation.data.transforms import resize_longest
from partdistillation.functional import dense_crf as ours
from partdistillation.functional.masks import resize_mask

IMAGE_SIZE = 640
K = 4
LABELS = K + 1
GRID = 8
CRF = CrfConfig()
CLEAR = 0.02  # labels may differ where the best two are as close as this


@dataclass(frozen=True)
class Example:
    image: np.ndarray
    labels: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        return self.labels > 0


def main() -> None:
    """Print the table of times and that of labels."""
    arguments = _parse()
    theirs = judge_crf.find()
    if theirs is None:
        raise SystemExit(f"pydensecrf isn't installed: {judge_crf.HINT}, and run this again.")
    examples = list(islice(_examples(arguments.images, arguments.objects), arguments.count))
    shapes = sorted({example.labels.shape for example in examples})
    area = np.mean([example.inside.mean() for example in examples])
    print(machine(), f"\n\n{len(examples)} objects, {100 * area:.0f} % of their images, {shapes}\n")
    _print_times([_times(theirs, example, arguments.repeats) for example in examples])
    _print_agreement(theirs, examples)


def _times(theirs: Any, example: Example, repeats: int) -> Mapping[str, float]:
    def cold(call: Any) -> Any:
        ours._image_kernel.cache_clear()
        return call()

    sides = {
        "pydensecrf": lambda: _theirs(theirs, example),
        "pydensecrf, lattices": lambda: judge_crf.model(theirs, example.image, example.labels, LABELS, CRF),
        "ours, both lattices made": lambda: (
            _position_kernel(*example.labels.shape),
            cold(lambda: _ours(example)),
        ),
        "ours": lambda: cold(lambda: _ours(example)),
        "ours, lattice of the image": lambda: cold(lambda: _image_kernel(example.image)),
        "ours, lattice of the size": lambda: _position_kernel(*example.labels.shape),
        "ours, further object": lambda: _ours(example),
        "ours near the object": lambda: cold(lambda: _ours_near(example)),
        "ours near the object, further object": lambda: _ours_near(example),
    }
    return {name: 1000 * timing.cpu for name, timing in compare(sides, repeats).items()}


def _print_times(taken: list[Mapping[str, float]]) -> None:
    print("| | CPU ms | worst image | pydensecrf / this: median | worst |\n|---|---|---|---|---|")
    for name in taken[0]:
        times = [of_example[name] for of_example in taken]
        ratios = [of_example["pydensecrf"] / of_example[name] for of_example in taken]
        typical, ratio = np.median(times), np.median(ratios)
        print(f"| {name} | {typical:.0f} | {max(times):.0f} | {ratio:.1f} | {min(ratios):.1f} |")


def _print_agreement(theirs: Any, examples: list[Example]) -> None:
    """How many labels differ: ours from pydensecrf's everywhere, and near the object from exact inside it."""
    rows = []
    for example in examples:
        exact, near = _ours(example), _ours_near(example)
        expected = _theirs_in_our_order(theirs, example)
        best_two = np.sort(expected, axis=0)[-2:]
        clear = best_two[1] - best_two[0] > CLEAR
        different = exact.argmax(axis=0) != expected.argmax(axis=0)
        moved = exact[1:].argmax(axis=0) != near[1:].argmax(axis=0)
        other_axes = exact.argmax(axis=0) != _theirs(theirs, example).argmax(axis=0)
        rows.append(
            (different.mean(), different[clear].mean(), moved[example.inside].mean(), other_axes.mean())
        )
    names = (
        "ours and pydensecrf, all pixels",
        f"the same where the best two are more than {CLEAR} apart",
        "ours near the object and everywhere, pixels of the object",
        "ours (y, x) and pydensecrf (x, y), all pixels",
    )
    print("\n| labels that differ, per 100,000 pixels | mean | worst image |\n|---|---|---|")
    for name, shares in zip(names, zip(*rows, strict=True), strict=True):
        print(f"| {name} | {1e5 * np.mean(shares):.1f} | {1e5 * max(shares):.1f} |")


def _ours(example: Example, **more: float) -> np.ndarray:
    return ours.dense_crf_marginals(
        example.image,
        example.labels,
        LABELS,
        gt_prob=CRF.gt_prob,
        gaussian_sxy=CRF.gaussian_sxy,
        gaussian_weight=CRF.gaussian_weight,
        bilateral_sxy=CRF.bilateral_sxy,
        bilateral_srgb=CRF.bilateral_srgb,
        bilateral_weight=CRF.bilateral_weight,
        iterations=CRF.iterations,
        **more,
    )


_ours_near = partial(_ours, certain_beyond=2 * CRF.bilateral_sxy)
"""As the segments stage calls it."""


def _image_kernel(image: np.ndarray) -> object:
    return ours._image_kernel(image.tobytes(), *image.shape[:2], CRF.bilateral_sxy, CRF.bilateral_srgb)


def _position_kernel(height: int, width: int) -> object:
    return ours._position_kernel.__wrapped__(height, width, CRF.gaussian_sxy)


def _theirs(pydensecrf: Any, example: Example) -> np.ndarray:
    model = judge_crf.model(pydensecrf, example.image, example.labels, LABELS, CRF)
    return judge_crf.marginals(model, example.labels, CRF)


def _theirs_in_our_order(pydensecrf: Any, example: Example) -> np.ndarray:
    model = judge_crf.model_y_first(pydensecrf, example.image, example.labels, LABELS, CRF)
    return judge_crf.marginals(model, example.labels, CRF)


def _examples(images: Path | None, objects: Path | None) -> Iterator[Example]:
    for image, mask in drawn_objects(images, objects, size=IMAGE_SIZE, an_image=1):
        small = resize_longest(image, IMAGE_SIZE)
        inside = resize_mask(mask, *small.shape[:2])
        if np.count_nonzero(inside) > 100 * GRID**2:
            yield Example(small, np.where(inside, _segments(small, inside), 0))


def _segments(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """1..K on a grid as coarse as an encoder's maps: k-means of colour and position of the object's cells."""
    rows, columns = (math.ceil(size / GRID) for size in inside.shape)
    y, x = np.mgrid[:rows, :columns] / max(rows, columns)
    cells = np.dstack([image[::GRID, ::GRID] / 255, y, x]).reshape(rows * columns, -1)
    clusters = KMeans(K, n_init=3, random_state=0).fit(cells[inside[::GRID, ::GRID].reshape(-1)])
    labels = clusters.predict(cells).reshape(rows, columns) + 1
    height, width = inside.shape
    return np.asarray(labels.repeat(GRID, axis=0).repeat(GRID, axis=1)[:height, :width].astype(np.int64))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--objects", type=Path)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
