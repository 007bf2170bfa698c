"""What an accelerator does with the stages: images, steps and objects a second. Run it when there is a GPU.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --small
    python benchmarks/gpu.py --rates rates.json   # for `partdistill plan --rates`

Needs nothing but the repository: Swin-L with random weights, drawings as photographs, 640 x 640, one object
an image. `--small` is a trial on any machine: few blocks, small images, two of everything. Times are wall
time, after a call to warm up, from the same profile as `partdistill ... --profile`.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from class_head import FEW, MANY, our_step
from swin_l import swin_backbone, swin_config
from timing import machine
from transformers import Mask2FormerConfig

from partdistillation.config import SegmentsConfig, TrainingConfig
from partdistillation.data.examples import Example
from partdistillation.experiments.rates import Labelling, Rates, Training
from partdistillation.models.encoder import Encoder
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import ModelInfo
from partdistillation.part_shapes import PartShapes
from partdistillation.runs.profiling import Profile, profiled, span
from partdistillation.stages import segments
from partdistillation.stages.pixel_features import PixelFeatures, encoder_features
from partdistillation.training.objective import SetPrediction
from partdistillation.training.optim import Optimizer

PARTS = 8
_CONFIG: Any = Mask2FormerConfig


@dataclass(frozen=True)
class Size:
    """How much is measured, on what."""

    image: int = 640
    depths: tuple[int, ...] = (2, 2, 18, 2)
    layers: int = 9
    """Of the transformer decoder; the pixel decoder has two thirds as many."""
    queries: int = 100
    points: int = 12_544
    batch: int = 8
    """Images of a training step, and of an encoder's batch."""
    repeats: int = 20


SMALL = Size(image=64, depths=(1, 1, 1, 1), layers=3, queries=8, points=64, batch=2, repeats=2)


class Measured:
    """Lines of the table."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.lines: list[tuple[str, str, str]] = []
        self.labelling: dict[str, Labelling] = {}
        self.training: dict[str, Training] = {}

    def say(self, what: str, value: str, wanted: str = "") -> None:
        self.lines.append((what, value, wanted))

    @property
    def name(self) -> str:
        """Of the device."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"

    def rates(self, size: Size) -> Rates:
        """What `partdistill plan` can make use of: nothing is known here of stages 1 and 4."""
        source = f"benchmarks/gpu.py on {self.name}: Swin-L, {size.image} pixels, one object"
        return Rates(source, 1.0, float(SegmentsConfig().k), 1, self.labelling, self.training)

    def __str__(self) -> str:
        rows = "\n".join(f"| {what} | {value} | {wanted} |" for what, value, wanted in self.lines)
        return f"| | {self.name} | wanted |\n|---|---|---|\n{rows}"


def profile_of(call: Callable[[int], object], repeats: int) -> Profile:
    """Costs of `repeats` calls, each within the step "all"; the one that warms up isn't counted."""
    call(0)
    with profiled() as profile:
        for repeat in range(repeats):
            with span("all"):
                call(repeat)
    return profile


def seconds(profile: Profile, *place: str) -> float:
    """Mean wall time of a step's calls."""
    cost = profile.costs[("all", *place)]
    return cost.wall / cost.calls


# ---------------------------------------------------------------------- stage 2


def measure_segments(size: Size, report: Measured) -> None:
    encoder = Encoder(swin_backbone(size.depths), device=report.device)
    scenes = PartShapes(seed=0, size=size.image)
    config = SegmentsConfig(image_size=size.image)
    extract = partial(encoder_features, [encoder], unit=False, stride=encoder.stride)
    features = PixelFeatures(extract)

    def label(index: int) -> None:
        image, masks = scenes[index].image, object_masks(scenes, index)
        with span("stage"):
            segments.segment_objects(
                image,
                masks,
                features,
                config,
                range(len(masks)),
            )

    def encode(_: int) -> None:
        encoder.levels(np.stack([scenes[0].image] * size.batch))

    profile = profile_of(label, size.repeats)
    report.say("segments stage, images/s", f"{1 / seconds(profile, 'stage'):.1f}", ">= 200")
    report.say("encoder, an image at a time, images/s", f"{1 / seconds(profile, 'stage', 'encode'):.1f}")
    of_an_object = sum(seconds(profile, "stage", step) for step in ("group", "refine"))
    report.labelling["segments"] = Labelling(seconds(profile, "stage") - of_an_object, of_an_object)
    whole = seconds(profile_of(encode, size.repeats))
    report.say(f"encoder, batches of {size.batch}, images/s", f"{size.batch / whole:.1f}")
    report.say("k-means and assignment, ms an image", f"{1e3 * seconds(profile, 'stage', 'group'):.1f}")
    report.say("CRF, ms an image", f"{1e3 * seconds(profile, 'stage', 'refine'):.1f}", "<= 20 an object")


def object_masks(scenes: PartShapes, index: int) -> np.ndarray:
    """One object: the drawing's largest."""
    masks = [instance.mask for instance in scenes[index].objects]
    return np.stack([max(masks, key=np.count_nonzero)])


# ---------------------------------------------------------------------- stages 3 and 5


def measure_training(size: Size, report: Measured) -> None:
    for stage, parts in (("3", 0), ("5", PARTS)):
        profile = profile_of(training_step(size, parts, report.device), size.repeats)
        what = f"training, stage {stage}, {size.batch} images a step, steps/s"
        report.say(what, f"{1 / seconds(profile):.2f}")
        update = seconds(profile, "optimizer")
        stage_name = "distillation" if parts else "proposals"
        report.training[stage_name] = Training(update, (seconds(profile) - update) / size.batch)
        steps = ("forward", "loss", "backward", "optimizer")
        shares = (f"{name} {1e3 * seconds(profile, name):.0f}" for name in steps)
        hungarian = 1e3 * seconds(profile, "loss", "matcher", "Hungarian")
        report.say("of that, ms", ", ".join((*shares, f"Hungarian {hungarian:.1f}")))


def training_step(size: Size, num_parts: int, device: torch.device) -> Callable[[int], None]:
    """A step as in `training`, without reading images."""
    model = network(size, num_parts).to(device)
    model.set_frozen("official")
    model.train()
    config = TrainingConfig(points=size.points, image_size=size.image)
    objective, optimizer = SetPrediction(model, config, device), Optimizer(model, learning_rate=1e-4)
    batch = [example(size, index, num_parts) for index in range(size.batch)]

    def step(index: int) -> None:
        loss, _ = objective(batch, torch.Generator(device).manual_seed(index))
        optimizer.zero_grad()
        with span("backward"):
            torch.autograd.backward(loss)
        with span("optimizer"):
            optimizer.step()

    return step


def network(size: Size, num_parts: int) -> PartMask2Former:
    backbone = swin_config(size.depths)
    config = _CONFIG(
        backbone_config=backbone,
        encoder_layers=2 * size.layers // 3,
        decoder_layers=size.layers + 1,
        num_queries=size.queries,
    )
    names = tuple(map(str, range(FEW))) if num_parts else ("part",)
    return PartMask2Former.create(config, ModelInfo(names, num_parts=num_parts), seed=0)


def example(size: Size, seed: int, num_parts: int) -> Example:
    """Four stripes as targets; in stage 5 they are parts of one object class."""
    chance = np.random.default_rng(seed)
    rows = 4 * np.arange(size.image)[:, None] // size.image
    masks = np.stack([np.broadcast_to(rows == stripe, (size.image, size.image)) for stripe in range(4)])
    labels = np.arange(4) if num_parts else np.zeros(4, np.int64)
    image = chance.integers(0, 256, (size.image, size.image, 3), np.uint8)
    return Example(image, masks, labels, np.zeros(4, np.int64), (seed % FEW,))


# ---------------------------------------------------------------------- the head


def measure_head(size: Size, report: Measured) -> None:
    sides = (our_step(classes, device=report.device) for classes in (FEW, MANY))
    few, many = (seconds(profile_of(_each(step), 5 * size.repeats)) for step in sides)
    report.say(f"class head, ms a step at {FEW} classes", f"{1e3 * few:.2f}")
    report.say(f"class head, ms a step at {MANY:,} classes", f"{1e3 * many:.2f}")
    report.say("ratio", f"{many / few:.2f}", "<= 1.2")


def _each(step: Callable[[], object]) -> Callable[[int], object]:
    return lambda _: step()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="a trial: few blocks, small images")
    parser.add_argument("--rates", type=Path, help="write them for `partdistill plan --rates`, as JSON")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("expected a GPU, PyTorch sees none; `--device cpu --small` tries the script out")
    size, report = SMALL if arguments.small else Size(), Measured(torch.device(arguments.device))
    start = time.perf_counter()
    for measure in (measure_segments, measure_training, measure_head):
        measure(size, report)
    if arguments.rates:
        arguments.rates.write_text(json.dumps(report.rates(size).to_dict(), indent=1) + "\n")
    took = f"{time.perf_counter() - start:.0f} s"
    print(f"{machine()}; {size.image} x {size.image} pixels; took {took}\n\n{report}")


if __name__ == "__main__":
    main()
