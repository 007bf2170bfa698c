"""Detic's time and memory by the number of class names, and its time by part, on random weights.

    python benchmarks/detic_classes.py [--classes 1 100 1000 21000] [--longest 640] [--repeats 2] [--small]

The network has the published Swin-B's size (`--small`: a tiny one, to try the script), the image 3:4 as the
network sees it, and as many proposals as there can be. Random weights score every class over the threshold
in every region, where a trained network scores few: passing "all" is the worst case. For "1 %" the threshold
is raised until one pair of a region and a class in a hundred passes.

Scoring classes in chunks is compared with scoring all at once: medians of CPU seconds on one thread, by
turns, and the peak of a fresh process over what it held before (network, regions, embeddings). Whole images
are measured in the same ways.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from timing import compare, machine, peak_memory
from torch import Tensor

from partdistillation.objects.detic.cascade import Candidates, Regions, best_detections, candidates
from partdistillation.objects.detic.config import DeticConfig
from partdistillation.objects.detic.network import DeticNetwork

CHUNK = 1024  # as `DeticNetwork.detect`
SMALL = DeticConfig(
    embed_dim=16,
    depths=(1, 1, 1, 1),
    num_heads=(1, 2, 4, 8),
    pyramid_channels=64,
    proposal_convs=1,
    fc_dims=(32, 32),
    mask_convs=1,
    mask_channels=32,
)


class Setting(NamedTuple):
    """What is measured."""

    longest: int
    small: bool

    def network(self) -> DeticNetwork:
        """With boxes of some cells' size, as a trained network starts from."""
        network = DeticNetwork.create(SMALL if self.small else DeticConfig(), seed=0)
        torch.nn.init.constant_(network.proposals.distances.get_parameter("bias"), 8.0)
        return network

    def image(self) -> np.ndarray:
        shape = (self.longest * 3 // 4, self.longest, 3)
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@torch.no_grad()
def main() -> None:
    """Print the tables of parts, of classes alone, and of whole images."""
    arguments = _parse()
    torch.set_num_threads(1)
    setting = Setting(arguments.longest, arguments.small)
    print(f"{machine()}, one thread\n")
    network, image = setting.network(), setting.image()
    regions = _print_parts(network, image)
    _print_classes(regions, arguments.classes, arguments.repeats)
    _print_images(network, image, setting, arguments.classes, arguments.repeats)


def _print_parts(network: DeticNetwork, image: np.ndarray) -> Regions:
    levels = network.levels(network.pixels([image]))
    proposals = network.proposals.decode(network.proposals(levels))
    sizes = [(image.shape[0], image.shape[1])]
    regions: Regions = network.cascade(levels, proposals, sizes)[0]
    top = network.config.max_detections
    pairs = _score(regions, _embeddings(100), 0.02, CHUNK)
    boxes = regions.boxes[pairs.rows]
    taken = compare(
        {
            "Swin and feature pyramid": lambda: network.levels(network.pixels([image])),
            "proposals": lambda: network.proposals.decode(network.proposals(levels)),
            f"cascade, {len(regions.boxes)} regions": lambda: network.cascade(levels, proposals, sizes),
            "classes and suppression, 100 names": lambda: _score(regions, _embeddings(100), 0.02, CHUNK, top),
            f"masks, {len(boxes)} objects": lambda: network.masks(levels, [boxes]),
        },
        repeats=1,
    )
    whole = sum(timing.cpu for timing in taken.values())
    print(f"An image of {image.shape[1]} x {image.shape[0]}\n\n| part | s | share |\n|---|---|---|")
    for name, timing in taken.items():
        print(f"| {name} | {timing.cpu:.2f} | {100 * timing.cpu / whole:.0f} % |")
    return regions


def _print_classes(regions: Regions, counts: list[int], repeats: int) -> None:
    print(f"\nClasses of {len(regions.boxes)} regions, with suppression\n")
    print("| names | passing | chunks, s | all at once, s | chunks, MiB | all at once, MiB |")
    print(f"|{'---|' * 6}")
    for count in counts:
        embeddings = _embeddings(count)
        for name, share in (("all", 1.0), ("1 %", 0.01)):
            threshold = _threshold(regions, embeddings, share)
            chunks = (CHUNK, max(count, CHUNK + 1))
            sides = {str(chunk): partial(_score, regions, embeddings, threshold, chunk) for chunk in chunks}
            times = compare(sides, repeats)
            memory = [
                peak_memory(_prepared_classes, tuple(regions), count, threshold, chunk) for chunk in chunks
            ]
            cells = [f"{timing.cpu:.3f}" for timing in times.values()] + [f"{peak:.0f}" for peak in memory]
            print(f"| {count:,} | {name} | {' | '.join(cells)} |", flush=True)


def _print_images(
    network: DeticNetwork, image: np.ndarray, setting: Setting, counts: list[int], repeats: int
) -> None:
    print("\nWhole images (every pair passes)\n\n| names | s | MiB |\n|---|---|---|")
    sides = {
        f"{count:,}": partial(network.detect_resized, [image], _embeddings(count), min_score=0.02)
        for count in counts
    }
    times = compare(sides, repeats)
    for count, (name, timing) in zip(counts, times.items(), strict=True):
        memory = peak_memory(_prepared_image, setting, count)
        print(f"| {name} | {timing.cpu:.2f} | {memory:.0f} |", flush=True)


def _score(regions: Regions, embeddings: Tensor, threshold: float, chunk: int, top: int = 300) -> Candidates:
    unit = embeddings.expand(len(regions.vectors), -1, -1)
    pairs = candidates(regions, unit, min_score=threshold, chunk=chunk)
    return best_detections(regions.boxes, pairs, iou_threshold=0.5, top=top)


def _threshold(regions: Regions, embeddings: Tensor, share: float) -> float:
    """The score over which this share of all pairs is."""
    if share == 1:
        return 0.02
    some = embeddings[:1000].expand(len(regions.vectors), -1, -1)
    scores = candidates(regions, some, min_score=0.0, chunk=CHUNK).scores
    return float(scores[min(int(share * len(scores)), len(scores) - 1)])


def _embeddings(count: int) -> Tensor:
    rows = torch.randn(count, DeticConfig().embedding_dim, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(rows, dim=1)


def _prepared_classes(
    regions: tuple[Tensor, ...], count: int, threshold: float, chunk: int
) -> Callable[[], object]:
    torch.set_num_threads(1)
    embeddings = _embeddings(count)
    _score(Regions(*regions), embeddings[:1], threshold, chunk)
    return partial(_score, Regions(*regions), embeddings, threshold, chunk)


def _prepared_image(setting: Setting, count: int) -> Callable[[], object]:
    torch.set_num_threads(1)
    network, embeddings = setting.network(), _embeddings(count)
    return partial(network.detect_resized, [setting.image()], embeddings, min_score=0.02)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--classes", type=int, nargs="+", default=[1, 100, 1000, 21000])
    parser.add_argument("--longest", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--small", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
