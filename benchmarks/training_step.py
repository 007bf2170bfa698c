"""A training step of stage 3 against transformers' own Mask2Former: forward, loss and backward.

    python benchmarks/training_step.py [demo frozen large] [--repeats 5]

Both sides have the same weights, images, targets, frozen modules and random points. `demo` is what
`partdistill demo` trains, its encoder too; `frozen` is its network with a frozen encoder, as the paper has
it; `large` is a Swin-T of random weights, frozen, with Mask2Former's usual decoder.
Time is that of one thread, memory what a step takes beyond weights and inputs, in a process of its own. The
encoder's convolutions are PyTorch's on both sides: what it takes by itself bounds what can be gained.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any, NamedTuple
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from timing import compare, machine, peak_memory
from torch import Tensor
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

from partdistillation.functional import matching
from partdistillation.functional.criterion import criterion
from partdistillation.functional.matching import Points, Targets
from partdistillation.models.encoder import normalize_images
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import ModelInfo
from partdistillation.part_shapes import PartShapes
from partdistillation.recipes import DEMO
from partdistillation.stages.proposals import CLASS, proposal_model

Step = Callable[[], float]
"""Forward, loss and backward; gives the loss."""

_SWIN: Any = SwinConfig  # transformers' configurations are typed for other arguments
_MASK2FORMER: Any = Mask2FormerConfig
_STAGES = ["stage1", "stage2", "stage3", "stage4"]
_MOST_TARGETS = 8


class Setting(NamedTuple):
    """A network, and the size of what it is given."""

    network: Callable[[], PartMask2Former]
    image_size: int
    batch: int
    points: int


def demo_network() -> PartMask2Former:
    """The network of the demo's stage 3."""
    return proposal_model(DEMO, DEMO.proposals)


def frozen_network() -> PartMask2Former:
    """The same, with the encoder and the pixel decoder's encoder frozen."""
    network = demo_network()
    network.set_frozen("official")
    return network


def large_network() -> PartMask2Former:
    """Swin-T, six layers in the pixel decoder, nine in the transformer decoder, 100 queries."""
    swin = _SWIN(embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], out_features=_STAGES)
    config = _MASK2FORMER(backbone_config=swin, num_queries=100)
    network = PartMask2Former.create(config, ModelInfo((CLASS,)), seed=0)
    network.set_frozen("official")
    return network


SETTINGS = {
    "demo": Setting(
        demo_network, DEMO.proposals.image_size, DEMO.proposals.batch_size, DEMO.proposals.points
    ),
    "frozen": Setting(frozen_network, 256, 8, 1_024),
    "large": Setting(large_network, 384, 2, 12_544),
}


def main() -> None:
    """Print the table."""
    arguments = _parse()
    torch.set_num_threads(1)
    print(machine(), "\n")
    print("| | ours | transformers | ratio |\n|---|---|---|---|")
    for name in arguments.settings:
        _print_rows(name, arguments.repeats)


def _print_rows(name: str, repeats: int) -> None:
    sides = ("ours", "transformers")
    steps = {side: prepare(name, side) for side in sides}
    ours, theirs = (steps[side]() for side in sides)
    print(f"| {name}: loss | {ours:.6f} | {theirs:.6f} | difference {abs(ours - theirs) / abs(theirs):.1e} |")
    taken = compare(steps | {f"{side}, encoder": _encoder_step(name, side) for side in sides}, repeats)
    ours, theirs = (1e3 * taken[side].cpu for side in sides)
    print(f"| {name}: CPU ms a step | {ours:.0f} | {theirs:.0f} | {theirs / ours:.2f}x faster |")
    ours_encoder, theirs_encoder = (1e3 * taken[f"{side}, encoder"].cpu for side in sides)
    rest = (theirs - theirs_encoder) / (ours - ours_encoder)
    print(
        f"| {name}: of it the encoder | {ours_encoder:.0f} | {theirs_encoder:.0f} | the rest: {rest:.2f}x |"
    )
    solver = 1e3 * _solver_seconds(steps["ours"])
    print(f"| {name}: of it the Hungarian solver, ms | {solver:.2f} | | {solver / ours:.2%} |")
    ours, theirs = (peak_memory(prepare, name, side) for side in sides)
    print(
        f"| {name}: peak memory, MiB | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} of theirs |",
        flush=True,
    )


def prepare(name: str, side: str) -> Step:
    """The step of a side, after one of a small image: what is imported and compiled is so already."""
    torch.set_num_threads(1)
    setting = SETTINGS[name]
    network = setting.network().train()
    make = _our_step if side == "ours" else _their_step
    make(network, *_inputs(setting._replace(image_size=64, batch=1)))()
    network.zero_grad()
    return make(network, *_inputs(setting))


def _our_step(network: PartMask2Former, images: Tensor, targets: Sequence[Targets], points: Points) -> Step:
    def step() -> float:
        network.zero_grad()
        output = network(images)
        total = criterion(
            output.mask_embeddings, output.mask_features, network.class_logits(output), targets, points
        ).total
        torch.autograd.backward(total)
        return float(total.detach())

    return step


def _their_step(network: PartMask2Former, images: Tensor, targets: Sequence[Targets], points: Points) -> Step:
    judge = as_transformers(network, points.shared.shape[1])
    masks, labels = [target.masks.float() for target in targets], [target.labels for target in targets]

    def step() -> float:
        judge.zero_grad()
        with _given(points.shared, [len(of_image) for of_image in labels]):
            loss = judge(images, mask_labels=masks, class_labels=labels).loss
        torch.autograd.backward(loss)
        return float(loss.detach())

    return step


def _encoder_step(name: str, side: str) -> Callable[[], object]:
    """The backbone by itself, forward and, unless it is frozen, backward: the same arithmetic on both."""
    setting = SETTINGS[name]
    network, (images, _, points) = setting.network().train(), _inputs(setting)
    judge = as_transformers(network, points.shared.shape[1])
    backbone = judge.model.pixel_level_module.encoder
    trained = network.frozen == "none"

    def step() -> None:
        network.zero_grad()
        judge.zero_grad()
        with torch.set_grad_enabled(trained):
            maps = network.encode(images) if side == "ours" else backbone(images).feature_maps
        if trained:
            torch.autograd.backward(list(maps), [torch.ones_like(level) for level in maps])

    return step


def as_transformers(network: PartMask2Former, points: int) -> Any:
    """The same weights in transformers' own class, with the same modules frozen, and uniform points."""
    config = Mask2FormerConfig.from_dict(network.model.config.to_dict())
    config.id2label = dict(enumerate(network.info.class_names))
    config.train_num_points, config.oversample_ratio, config.importance_sample_ratio = points, 1.0, 0.0
    judge: Any = Mask2FormerForUniversalSegmentation(config)
    judge.load_state_dict(network.state_dict(), strict=False)
    trained = {name: weight.requires_grad for name, weight in network.named_parameters()}
    for name, parameter in judge.named_parameters():
        parameter.requires_grad_(trained[name])
    for mine, theirs in zip(network.model.modules(), judge.model.modules(), strict=True):
        theirs.training = mine.training
    return judge


@contextmanager
def _given(shared: Tensor, counts: Sequence[int]) -> Iterator[None]:
    """Let transformers "draw" these points: an image's for its matcher, then the same for each target."""
    per_target = torch.cat(
        [points.expand(count, -1, -1) for points, count in zip(shared, counts, strict=True)]
    )
    images = cycle(torch.split(shared, 1))

    def rand(*shape: int, **_: object) -> Tensor:
        return next(images) if shape[0] == 1 and len(per_target) > 1 else per_target

    with patch.object(torch, "rand", rand):
        yield


def _solver_seconds(step: Step) -> float:
    """Seconds that a step spends in the Hungarian solver."""
    taken = []

    def timed(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        start = time.process_time()
        pairs = linear_sum_assignment(costs)
        taken.append(time.process_time() - start)
        return pairs

    with patch.object(matching, "linear_sum_assignment", timed):
        step()
    return sum(taken)


def _inputs(setting: Setting) -> tuple[Tensor, list[Targets], Points]:
    """PartShapes drawings, the parts of their objects, and points."""
    drawings = PartShapes(seed=3, size=setting.image_size)
    scenes = [drawings[index] for index in range(setting.batch)]
    images = torch.from_numpy(np.stack([scene.image for scene in scenes]))
    info = ModelInfo((CLASS,))
    targets = []
    for scene in scenes:
        parts = [part.mask for instance in scene.objects for part in instance.parts][:_MOST_TARGETS]
        none = torch.zeros(len(parts), dtype=torch.int64)
        targets.append(Targets(torch.from_numpy(np.stack(parts)), none, none))
    shared = torch.rand(setting.batch, setting.points, 2, generator=torch.Generator().manual_seed(0))
    return normalize_images(images, info.pixel_mean, info.pixel_std), targets, Points(shared)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", default=list(SETTINGS), choices=[*SETTINGS, []])
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
