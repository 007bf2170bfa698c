"""The segments stage after its encoder, against the encoder and against the released code's order.

    python benchmarks/segments_stage.py [--size 640] [--no-theirs]

One drawing with one object, Swin-L with random weights, one thread, the paper's settings. The other side does
what the released code does in its order, written from its description: the features of both levels at image
size, then resized once more; scikit-learn's k-means with 10 restarts on the feature pixels; dot products of
the object's pixels, gathered at image size, with the centroids; pydensecrf on the image. Without pydensecrf
(`pip install pydensecrf2`, which needs a compiler) our CRF stands in for it. That side takes 4 GB at 640, and
refuses to start where 7 aren't free.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # scikit-learn's k-means reads it once

import numpy as np
import torch
from sklearn.cluster import KMeans
from swin_l import swin_encoder
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from timing import machine, peak_memory
from torch.nn import functional

from partdistillation.config import SegmentsConfig
from partdistillation.data.part_shapes import PartShapes
from partdistillation.functional.dense_crf import dense_crf
from partdistillation.functional.grouping import combine_levels, group_objects, mask_at
from partdistillation.functional.masks import encode
from partdistillation.records import ObjectSegments, Segment, SegmentRow
from partdistillation.shards import ImageRef, Shard
from partdistillation.stages import segments
from partdistillation.store import encode_shard

CONFIG = SegmentsConfig()
REPEATS = 3
GB_AT_640 = 7

Levels = Sequence[torch.Tensor]


class Steps:
    """CPU seconds by step."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        begun = time.process_time()
        yield
        self.taken[name].append(time.process_time() - begun)

    @property
    def medians(self) -> dict[str, float]:
        return {name: statistics.median(seconds) for name, seconds in self.taken.items()}


COMBINE, GROW, CLUSTER, ASSIGN, CRF, WRITE = (
    "levels combined",
    "features to image size, and resized again",
    "k-means, 10 restarts",
    "pixels gathered and assigned",
    "dense CRF",
    "masks encoded, row written",
)


def ours(levels: Levels, image: np.ndarray, mask: np.ndarray, out: Path, steps: Steps) -> None:
    """What the stage does with an image once the encoder is done."""
    with steps.step(COMBINE):
        features = combine_levels(levels)
    with steps.step(CLUSTER):  # the assignment is in it, a tenth of it or less
        labels = group_objects(
            features,
            segments.padded(mask[None]),
            k=CONFIG.k,
            metric=CONFIG.metric,
            restarts=CONFIG.restarts,
            seeds=[0],
        )[0].numpy()[: mask.shape[0], : mask.shape[1]]
    with steps.step(CRF):
        labels = segments._refine(image, labels, CONFIG.crf)
    with steps.step(WRITE):
        labels = segments.to_size(labels, *mask.shape)
        row = _row(segments._segments(labels, mask), mask)
        out.write_bytes(encode_shard(Shard("one", (ImageRef("0"),)), [row], SegmentRow))


def theirs(levels: Levels, image: np.ndarray, mask: np.ndarray, out: Path, steps: Steps) -> None:
    """The released code's order of operations."""
    size = mask.shape
    with steps.step(COMBINE):
        small = combine_levels(levels)
    with steps.step(GROW):
        features = functional.interpolate(small[None], size=size, mode="bilinear")
        features = functional.interpolate(features, size=size, mode="bilinear")[0]
    with steps.step(CLUSTER):
        points = small[:, mask_at(torch.from_numpy(mask), *small.shape[1:])].T.numpy()
        centroids = KMeans(CONFIG.k, n_init=10, random_state=0).fit(points).cluster_centers_
    with steps.step(ASSIGN):
        pixels = features.movedim(0, -1)[torch.from_numpy(mask)]
        best = (pixels @ torch.from_numpy(centroids).T).argmax(dim=1)
        labels = np.zeros(size, np.int64)
        labels[mask] = best.numpy() + 1
    with steps.step(CRF):
        labels = _their_crf(image, labels)
    with steps.step(WRITE):
        found = ((labels == label) & mask for label in range(1, CONFIG.k + 1))
        masks = [encode(one) for one in found]
        out.write_bytes(b"\n".join(masks))


def _their_crf(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    module = _pydensecrf()
    crf, count = CONFIG.crf, int(labels.max()) + 1
    if module is None:
        return dense_crf(
            image,
            labels,
            count,
            gt_prob=crf.gt_prob,
            gaussian_sxy=crf.gaussian_sxy,
            gaussian_weight=crf.gaussian_weight,
            bilateral_sxy=crf.bilateral_sxy,
            bilateral_srgb=crf.bilateral_srgb,
            bilateral_weight=crf.bilateral_weight,
            iterations=crf.iterations,
        )
    height, width = labels.shape
    model = module.densecrf.DenseCRF2D(width, height, count)
    model.setUnaryEnergy(
        module.utils.unary_from_labels(labels, count, gt_prob=crf.gt_prob, zero_unsure=False)
    )
    model.addPairwiseGaussian(sxy=crf.gaussian_sxy, compat=crf.gaussian_weight)
    model.addPairwiseBilateral(
        sxy=crf.bilateral_sxy, srgb=crf.bilateral_srgb, rgbim=image, compat=crf.bilateral_weight
    )
    marginals = np.array(model.inference(crf.iterations))
    return np.asarray(marginals.argmax(axis=0).reshape(height, width))


def _pydensecrf() -> Any:
    try:
        import_module("pydensecrf.utils")
        import_module("pydensecrf.densecrf")
    except ImportError:
        return None
    return import_module("pydensecrf")


def _row(found: tuple[Segment, ...], mask: np.ndarray) -> SegmentRow:
    return SegmentRow("0", "0.png", mask.shape[1], mask.shape[0], "ok", "", (ObjectSegments(0, found),))


def drawing(size: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and the mask of its largest object."""
    scene = PartShapes(seed=0, size=size)[0]
    return scene.image, max((found.mask for found in scene.objects), key=np.count_nonzero)


Side = Callable[[Levels, np.ndarray, np.ndarray, Path, Steps], None]


def prepared(side: Side, saved: Path, size: int) -> Callable[[], object]:
    """A side's call with its inputs, for a process of its own, where all is loaded and compiled."""
    torch.set_num_threads(1)
    levels = [torch.from_numpy(level) for level in np.load(saved).values()]
    out = saved.with_suffix(f".{side.__name__}")
    with threadpool_limits(1):
        side([level[:, :12, :12] for level in levels], *drawing(96), out, Steps())
    image, mask = drawing(size)
    return lambda: side(levels, image, mask, out, Steps())


def main() -> None:
    """Print the table."""
    arguments = _parse()
    torch.set_num_threads(1)
    image, mask = drawing(arguments.size)
    sides: list[Side] = [ours] if arguments.no_theirs else [ours, theirs]
    if theirs in sides:
        _check_memory(arguments.size)
    print(f"{machine()}; {arguments.size} x {arguments.size}, object of {mask.mean():.0%} of the image\n")
    encoder = swin_encoder()
    begun = time.process_time()
    levels = [level[0] for level in encoder.levels([image])]
    encoder_time = time.process_time() - begun
    del encoder
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "levels.npz"
        np.savez(saved, *(level.numpy() for level in levels))
        taken = {side.__name__: _timed(side, levels, image, mask, Path(folder) / "row") for side in sides}
        del levels
        memory = {side.__name__: peak_memory(prepared, side, saved, arguments.size) for side in sides}
    _print(encoder_time, taken, memory)


def _timed(side: Side, levels: Levels, image: np.ndarray, mask: np.ndarray, out: Path) -> dict[str, float]:
    steps, repeats = Steps(), REPEATS if side is ours else 1
    if side is ours:
        side(levels, image, mask, out, Steps())  # to compile
    with threadpool_limits(1):
        for _ in range(repeats):
            side(levels, image, mask, out, steps)
    return steps.medians


def _print(encoder: float, taken: dict[str, dict[str, float]], memory: dict[str, float]) -> None:
    mine, others = taken["ours"], taken.get("theirs", {})
    print("| step | ours, CPU s | theirs, CPU s | ratio |\n|---|---|---|---|")
    for name in (COMBINE, GROW, CLUSTER, ASSIGN, CRF, WRITE):
        print(_line(name, mine.get(name), others.get(name), 3))
    print(_line("**all after the encoder**", sum(mine.values()), sum(others.values()) or None, 3))
    print(_line("peak memory, MiB", memory["ours"], memory.get("theirs"), 0))
    share = sum(mine.values()) / encoder
    an_object = sum(mine.values()) - mine[COMBINE]
    print(f"\nThe encoder takes {encoder:.2f} CPU s; all that we do after it is {share:.1%} of that, and")
    print(f"stays below 10 % up to {(0.1 * encoder - mine[COMBINE]) / an_object:.0f} such objects an image.")
    if others and _pydensecrf() is None:
        print("pydensecrf isn't installed: on their side our CRF stands in for it.")


def _line(name: str, mine: float | None, others: float | None, digits: int) -> str:
    cells = ["-" if value is None else f"{value:.{digits}f}" for value in (mine, others)]
    ratio = f"{others / mine:.1f}" if mine and others else "-"
    return f"| {name} | {cells[0]} | {cells[1]} | {ratio} |"


def _check_memory(size: int) -> None:
    meminfo = Path("/proc/meminfo")
    needed = GB_AT_640 * (size / 640) ** 2
    if not meminfo.exists():
        return
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) / 2**20
    if free < needed:
        sys.exit(
            f"expected {needed:.0f} GB of free memory, found {free:.0f}: give --size 448, or --no-theirs"
        )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--no-theirs", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
