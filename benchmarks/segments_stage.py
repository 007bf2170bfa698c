"""The segments stage after its encoder, against the encoder and against the released code's order.

    python benchmarks/segments_stage.py [--size 640] [--no-theirs]

One drawing with one object, Swin-L with random weights, one thread, the paper's settings. The other side does
what the released code does in its order, written from its description: the features of both levels at image
size, then resized once more; scikit-learn's k-means with 10 restarts on the feature pixels; dot products of
the object's pixels, gathered at image size, with the centroids; pydensecrf on the image. Without pydensecrf
(`pip install pydensecrf2`, which needs a compiler) our CRF stands in for it. That side takes 4 GB at 640, and
refuses to start where 7 aren't free.

Times are those of the steps that `partdistill segments --profile` shows: CPU seconds, medians over the
repeats. Reading the image, which comes before the encoder, isn't compared.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # scikit-learn's k-means reads it once

import judge_crf
import numpy as np
import torch
from PIL import Image
from sklearn.cluster import KMeans
from swin_l import swin_encoder
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from timing import machine, peak_memory
from torch.nn import functional

from partdistillation.config import SegmentsConfig
from partdistillation.functional.dense_crf import dense_crf
from partdistillation.functional.grouping import combine_levels, mask_at
from partdistillation.functional.masks import encode
from partdistillation.part_shapes import PartShapes
from partdistillation.runs.profiling import profiled, span
from partdistillation.runs.records import Object, ObjectRow, SegmentRow
from partdistillation.runs.shards import ImageRef, Shard
from partdistillation.runs.store import encode_shard
from partdistillation.stages import segments
from partdistillation.stages.pixel_features import PixelFeatures

CONFIG = SegmentsConfig()
REPEATS = 3
GB_AT_640 = 7
STRIDES = (8, 16)
"""Of the encoder's levels."""

STEPS = {
    "encode": "levels combined",
    "grow": "features to image size, and resized again",
    "group": "k-means, 10 restarts (ours with the assignment)",
    "assign": "pixels gathered and assigned",
    "refine": "dense CRF",
    "resize": "to the working size and back",
    "encode masks": "masks encoded",
    "write": "row written",
}
"""The names of the profile's steps, and what they are."""


class Given(NamedTuple):
    """What both sides start from, and where they write."""

    levels: list[torch.Tensor]
    image: np.ndarray
    mask: np.ndarray
    folder: Path
    """With the image in it."""

    @property
    def row(self) -> ObjectRow:
        """The one object, as the stage before hands it over."""
        height, width = self.mask.shape
        whole = Object(0, "object", 1.0, int(self.mask.sum()), (0, 0, width, height), encode(self.mask))
        return ObjectRow("0", self.file.name, width, height, "ok", "", (whole,))

    @property
    def file(self) -> Path:
        return self.folder / f"{len(self.image)}.png"


def ours(inputs: Given) -> None:
    """What the stage does with an image; its encoder has been run."""
    row = segments.segment_row(
        inputs.row, inputs.folder, PixelFeatures(lambda _: combine_levels(inputs.levels)), CONFIG
    )
    with span("write"):
        written = encode_shard(Shard("one", (ImageRef("0"),)), [row], SegmentRow)
        (inputs.folder / "ours.parquet").write_bytes(written)


def theirs(inputs: Given) -> None:
    """The released code's order of operations."""
    size = inputs.mask.shape
    with span("encode"):
        small = combine_levels(inputs.levels)
    with span("grow"):
        features = functional.interpolate(small[None], size=size, mode="bilinear")
        features = functional.interpolate(features, size=size, mode="bilinear")[0]
    with span("group"):
        points = small[:, mask_at(torch.from_numpy(inputs.mask), *small.shape[1:])].T.numpy()
        centroids = KMeans(CONFIG.k, n_init=10, random_state=0).fit(points).cluster_centers_
    with span("assign"):
        pixels = features.movedim(0, -1)[torch.from_numpy(inputs.mask)]
        best = (pixels @ torch.from_numpy(centroids).T).argmax(dim=1)
        labels = np.zeros(size, np.int64)
        labels[inputs.mask] = best.numpy() + 1
    with span("refine"):
        labels = _their_crf(inputs.image, labels)
    with span("encode masks"):
        regions = ((labels == label) & inputs.mask for label in range(1, CONFIG.k + 1))
        masks = [encode(region) for region in regions]
    with span("write"):
        (inputs.folder / "theirs").write_bytes(b"\n".join(masks))


def _their_crf(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    module, crf, count = judge_crf.find(), CONFIG.crf, int(labels.max()) + 1
    if module is None:
        settings = {name: value for name, value in asdict(crf).items() if name != "enabled"}
        return dense_crf(image, labels, count, **settings)
    made = judge_crf.model(module, image, labels, count, crf)
    return np.asarray(judge_crf.marginals(made, labels, crf).argmax(axis=0))


def drawing(size: int) -> tuple[np.ndarray, np.ndarray]:
    """An image and the mask of its largest object."""
    scene = PartShapes(seed=0, size=size)[0]
    return scene.image, max((instance.mask for instance in scene.objects), key=np.count_nonzero)


def given(size: int, folder: Path) -> Given:
    """The drawing, written to the folder, and its levels that lie there."""
    image, mask = drawing(size)
    with np.load(folder / "levels.npz") as saved:
        levels = [
            torch.from_numpy(level)[:, : size // stride, : size // stride].contiguous()
            for level, stride in zip(saved.values(), STRIDES, strict=True)
        ]
    inputs = Given(levels, image, mask, folder)
    Image.fromarray(image).save(inputs.file)
    return inputs


Side = Callable[[Given], None]


def prepared(side: Side, folder: Path, size: int) -> Callable[[], object]:
    """A side's call with its inputs, in a process where all is loaded and compiled."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        side(given(96, folder))
    inputs = given(size, folder)
    return lambda: side(inputs)


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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "levels.npz", *(level.numpy() for level in levels))
        del levels
        taken = {side.__name__: _timed(prepared(side, folder, arguments.size), side) for side in sides}
        memory = {side.__name__: peak_memory(prepared, side, folder, arguments.size) for side in sides}
    _print(encoder_time, taken, memory)


def _timed(call: Callable[[], object], side: Side) -> dict[str, float]:
    """CPU seconds by step, the medians over repeated profiles."""
    repeats = []
    with threadpool_limits(1):
        for _ in range(REPEATS if side is ours else 1):
            with profiled() as profile:
                call()
            repeats.append({place[-1]: cost.cpu for place, cost in profile.costs.items()})
    return {name: statistics.median(times[name] for times in repeats) for name in STEPS if name in repeats[0]}


def _print(encoder: float, taken: dict[str, dict[str, float]], memory: dict[str, float]) -> None:
    mine, others = taken["ours"], taken.get("theirs", {})
    print("| step | ours, CPU s | theirs, CPU s | ratio |\n|---|---|---|---|")
    for name, what in STEPS.items():
        print(_line(what, mine.get(name), others.get(name), 3))
    print(_line("**all after the encoder**", sum(mine.values()), sum(others.values()) or None, 3))
    print(_line("peak memory, MiB", memory["ours"], memory.get("theirs"), 0))
    share = sum(mine.values()) / encoder
    an_object = sum(mine.values()) - mine["encode"]
    print(f"\nThe encoder takes {encoder:.2f} CPU s; all that we do after it is {share:.1%} of that, and")
    print(f"stays below 10 % up to {(0.1 * encoder - mine['encode']) / an_object:.0f} such objects an image.")
    if others and judge_crf.find() is None:
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
