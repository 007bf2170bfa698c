"""Pixel k-means against scikit-learn's, 10 restarts each, on one thread.

    python benchmarks/kmeans.py [--images DIR --objects COCO.json] [--encoder MODEL] [--objects-measured 50]

Times: 500, 2,000 and 6,400 feature pixels of 1,152 channels, from a Swin-L of few blocks with random weights.
Inertia: objects of photographs with COCO masks, or of PartShapes drawings, through the encoder that is given
(by default the one in the package) and through that Swin-L.
"""

import argparse
import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # scikit-learn's k-means reads it once

import numpy as np
import torch
from drawn import Drawn, drawn_objects
from sklearn.cluster import KMeans
from swin_l import swin_encoder
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from timing import Timing, compare, machine

from partdistillation.data.transforms import resize_longest
from partdistillation.functional.grouping import mask_at
from partdistillation.functional.kmeans import kmeans
from partdistillation.functional.masks import resize_mask
from partdistillation.models.encoder import Encoder
from partdistillation.models.sources import resolve
from partdistillation.part_shapes import PartShapes
from partdistillation.stages.pixel_features import PixelFeatures, encoder_features

SIZES = (500, 2000, 6400)
K, RESTARTS = 4, 10
IMAGE_SIZE = 640
OBJECTS = 10
"""At most, of an image."""


def main() -> None:
    """Print both tables."""
    arguments = _parse()
    torch.set_num_threads(1)
    print(machine(), "\n")
    wide = swin_encoder(depths=(2, 2, 2, 2))
    with threadpool_limits(1):
        _print_times(wide)
        chosen = Encoder.from_pretrained(resolve(arguments.encoder).path)
        print("\n| encoder | channels | objects | pixels | inertia / scikit-learn's: mean | worst | best |")
        print("|---|---|---|---|---|---|---|")
        for name, encoder in ((arguments.encoder, chosen), ("random, wide", wide)):
            drawn = drawn_objects(arguments.images, arguments.objects, size=IMAGE_SIZE, an_image=OBJECTS)
            _print_inertia(name, encoder, islice(drawn, arguments.measured))


def features_of(encoder: Encoder) -> Callable[[np.ndarray], torch.Tensor]:
    return partial(encoder_features, [encoder], unit=False, stride=encoder.stride)


def points_of(encoder: Encoder, image: np.ndarray, mask: np.ndarray) -> torch.Tensor:
    """The feature pixels of an object, "n channel", as the segments stage has them."""
    small = resize_longest(image, IMAGE_SIZE)
    maps = PixelFeatures(features_of(encoder))
    features, inside = maps(small), maps.padded(resize_mask(mask, *small.shape[:2])[None])[0]
    return features[:, mask_at(inside, *features.shape[1:])].T.contiguous()


def _print_times(encoder: Encoder) -> None:
    image = PartShapes(seed=0, size=IMAGE_SIZE)[0].image
    field = features_of(encoder)(image).movedim(0, -1)
    print("| pixels | ours, CPU s | scikit-learn, CPU s | ratio |\n|---|---|---|---|")
    for size in SIZES:
        rows = math.ceil(size / field.shape[1])  # a band, as wide as the image
        taken = _times(field[:rows].flatten(0, 1)[:size].contiguous())
        ours, theirs = taken["ours"].cpu, taken["scikit-learn"].cpu
        print(f"| {size} | {ours:.3f} | {theirs:.3f} | {ours / theirs:.2f} |")


def _times(points: torch.Tensor) -> dict[str, Timing]:
    array = points.numpy()
    return compare(
        {
            "ours": lambda: kmeans(points, K, restarts=RESTARTS, seed=0),
            "scikit-learn": lambda: KMeans(K, n_init=RESTARTS, random_state=0).fit(array),
        }
    )


def _print_inertia(name: str, encoder: Encoder, drawn: Iterator[Drawn]) -> None:
    ratios, pixels, channels = [], [], 0
    for seed, (image, mask) in enumerate(drawn):
        points = points_of(encoder, image, mask)
        ours = kmeans(points, K, restarts=RESTARTS, seed=seed).inertia
        theirs = KMeans(K, n_init=RESTARTS, random_state=seed).fit(points.numpy()).inertia_
        ratios.append(ours / theirs)
        pixels.append(len(points))
        channels = points.shape[1]
    print(
        f"| {name} | {channels} | {len(ratios)} | {min(pixels)} to {max(pixels)} | "
        f"{np.mean(ratios):.5f} | {max(ratios):.4f} | {min(ratios):.4f} |"
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--objects", type=Path)
    parser.add_argument("--encoder", default="builtin:part-shapes")
    parser.add_argument("--objects-measured", type=int, default=50, dest="measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
