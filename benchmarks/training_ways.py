"""Loss curves of stage 3 in float32, in bfloat16, and with a batch in parts, and what a step takes.

    python benchmarks/training_ways.py [--steps 200] [--size 96] [--batch 8] [--compiled]

The demo's proposal network, its encoder frozen, learns the parts of drawings. All ways see the same images
in the same order and compare masks at the same points. Another seed says how far curves are apart anyway.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from timing import machine
from torch import Tensor

from partdistillation.config import ProposalsConfig, TrainingConfig
from partdistillation.data.examples import Example
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.part_shapes import PartShapes
from partdistillation.recipes import DEMO
from partdistillation.stages.proposals import proposal_model
from partdistillation.training.loop import Run, train
from partdistillation.training.objective import SetPrediction

CPU = torch.device("cpu")


class Drawings:
    """Samples: all parts of a drawing, of one class."""

    def __init__(self, size: int) -> None:
        self.scenes = PartShapes(seed=0, size=size)

    def __len__(self) -> int:
        return 400

    def example(self, index: int, rng: np.random.Generator) -> Example:
        del rng
        scene = self.scenes[index]
        masks = np.stack([part.mask for thing in scene.objects for part in thing.parts])
        zeros = np.zeros(len(masks), np.int64)
        return Example(scene.image, masks, zeros, zeros, (0,))


class Curve(NamedTuple):
    """Losses of all steps, and the median seconds of one."""

    losses: np.ndarray
    seconds: float


class Timed(SetPrediction):
    """Notes when each step begins."""

    def __init__(self, model: PartMask2Former, config: TrainingConfig) -> None:
        super().__init__(model, config, CPU)
        self.starts: list[float] = []

    def in_parts(
        self, examples: Sequence[Example], generator: torch.Generator, parts: int
    ) -> Iterator[tuple[Tensor, Mapping[str, Tensor]]]:
        self.starts.append(time.perf_counter())
        return super().in_parts(examples, generator, parts)


def learned(config: ProposalsConfig, *, compiled: bool = False) -> Curve:
    """Train, and tell how it went."""
    model = proposal_model(DEMO, config)
    if compiled:
        setattr(model, "forward", torch.compile(model.forward))  # noqa: B010 (a method, as mypy sees it)
    objective = Timed(model, config)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), "training", Path(folder, "model"), {})
        samples = Drawings(config.image_size)
        train(model, samples, objective, config, run, save=model.save_pretrained, device=CPU)
        lines = Path(folder, "metrics.jsonl").read_text().splitlines()
    losses = np.array([json.loads(line)["loss"] for line in lines])
    return Curve(losses, float(np.median(np.diff(objective.starts)[3:])))


def table(curves: Mapping[str, Curve]) -> str:
    """Mean losses of five spans of steps, and what a step takes."""
    first = next(iter(curves.values()))
    rows = ["| | mean loss of each fifth of the steps | ms a step |", "|---|---|---|"]
    for name, curve in curves.items():
        means = ", ".join(f"{span.mean():.2f}" for span in np.array_split(curve.losses, 5))
        rows.append(f"| {name} | {means} | {1e3 * curve.seconds:.0f} |")
    apart = {name: np.abs(curve.losses / first.losses - 1) for name, curve in curves.items()}
    lines = [
        f"{name}: a step's loss differs from the first row's by {far.mean():.2%} in the mean, "
        f"{far[: len(far) // 10].mean():.2%} in the first tenth"
        for name, far in list(apart.items())[1:]
    ]
    return "\n".join([*rows, "", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--size", type=int, default=96, help="side of a drawing in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument(
        "--compiled", action="store_true", help="with torch.compile too: minutes before a step"
    )
    arguments = parser.parse_args()
    config = replace(
        DEMO.proposals,
        steps=arguments.steps,
        batch_size=arguments.batch,
        image_size=arguments.size,
        points=1_024,
        freeze="backbone",
        log_every=1,
        checkpoint_every=arguments.steps,
    )
    curves = {
        "float32": learned(config),
        "float32, another seed": learned(replace(config, seed=1)),
        "float32, in 4 parts": learned(replace(config, accumulation=4)),
        "bfloat16": learned(replace(config, precision="bfloat16")),
    }
    if arguments.compiled:
        curves["float32, compiled"] = learned(config, compiled=True)
    print(machine())
    print(table(curves))


if __name__ == "__main__":
    main()
