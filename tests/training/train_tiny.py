"""Tiny networks that learn random masks, for the tests of training, and a program that runs processes.

    python train_tiny.py once KIND FOLDER           train (torchrun starts several of these)
    python train_tiny.py dies RANK HOW FOLDER       the same, but this process dies in the middle
    python train_tiny.py kill KIND KILLS FOLDER     kill -9 at random moments; prints how many files differ
    python train_tiny.py together KIND FOLDER       two processes: straight, stopped and gone on with
    python train_tiny.py worlds KIND FOLDER         1, 2 and 4 processes, the batch whole and in parts

The last three fork, so that nothing heavy is imported twice.
"""

import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Mask2FormerConfig, ResNetConfig, SwinConfig

from partdistillation.config import PretrainConfig, TrainingConfig
from partdistillation.data.examples import Example
from partdistillation.errors import InputError, PartDistillationError
from partdistillation.models.part_mask2former import PartMask2Former
from partdistillation.models.pretrained import ModelInfo
from partdistillation.training.loop import Divisible, Objective, Run, processes, train
from partdistillation.training.objective import SetPrediction

WORLDS = ((1, 1), (1, 4), (2, 2), (4, 1))
"""Numbers of processes, and of parts in which each takes its images of a step."""
STAGES = ["stage1", "stage2", "stage3", "stage4"]
CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    steps=4,
    batch_size=2,
    learning_rate=1e-2,
    warmup_steps=2,
    clip_norm=1.0,
    image_size=32,
    points=16,
    checkpoint_every=1,
    log_every=1,
)
PRETRAIN = replace(
    PretrainConfig(), **{entry.name: getattr(CONFIG, entry.name) for entry in fields(CONFIG)}
).updated({"importance_sampling": True, "freeze": "none"})


def network(kind: str) -> PartMask2Former:
    """`frozen`: as stage 3. `parts`: as stage 5. `resnet`, `swin`: as stage 0, where all is trained."""
    backbone: Any = ResNetConfig(  # type: ignore[call-arg]
        layer_type="basic", embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, out_features=STAGES
    )
    if kind == "swin":
        backbone = SwinConfig(  # type: ignore[call-arg]
            embed_dim=8,
            depths=[1, 2, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            drop_path_rate=0.5,
            out_features=STAGES,
        )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_layers=1,
        encoder_feedforward_dim=16,
        decoder_layers=2,
        dim_feedforward=16,
        num_queries=4,
        num_attention_heads=2,
    )
    info = ModelInfo(("car", "cat", "tree"), num_parts=2) if kind == "parts" else ModelInfo(("part",))
    model = PartMask2Former.create(config, info, seed=1)
    model.set_frozen("none" if kind in ("resnet", "swin") else "official")
    return model


class RandomMasks:
    """Noise, with 0 to 2 masks of noise an image."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return 5

    def example(self, index: int, rng: np.random.Generator) -> Example:
        own = np.random.default_rng(index)
        image = (own.integers(0, 200, (32, 32, 3)) + rng.integers(0, 56)).astype(np.uint8)
        masks = own.random((index % 3, 32, 32)) < rng.random()
        labels = np.arange(len(masks)) % (2 if self.kind == "parts" else 1)
        classes = (index % 3,) if len(masks) else ()
        return Example(image, masks, labels.astype(np.int64), np.zeros(len(masks), np.int64), classes)


class Unreadable(RandomMasks):
    """Image 1 isn't there any more."""

    def example(self, index: int, rng: np.random.Generator) -> Example:
        if index == 1:
            raise InputError("image 1 is gone")
        return super().example(index, rng)


class StopsAfter:
    """An objective that is interrupted at its call number `calls`."""

    def __init__(self, objective: Objective[Example], calls: int) -> None:
        self.objective, self.left = objective, calls

    def __call__(
        self, examples: Sequence[Example], generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return self.objective(examples, generator)

    def in_parts(
        self, examples: Sequence[Example], generator: torch.Generator, parts: int
    ) -> Iterator[tuple[Tensor, Mapping[str, Tensor | float]]]:
        assert isinstance(self.objective, Divisible)
        return self.objective.in_parts(examples, generator, parts)


def train_tiny(
    out: Path, kind: str, *, stop_after: int = -1, samples: RandomMasks | None = None, **settings: Any
) -> PartMask2Former:
    """Train in `out`, or go on there, until as many steps are done as say."""
    config = (PRETRAIN if kind in ("resnet", "swin") else CONFIG).updated(settings)
    out.mkdir(parents=True, exist_ok=True)
    model = network(kind)
    train(
        model,
        samples or RandomMasks(kind),
        StopsAfter(SetPrediction(model, config, CPU), stop_after),
        config,
        Run(out, kind, out / "model", {"settings": {"steps": config.steps, "seed": config.seed}}),
        save=model.save_pretrained,
        device=CPU,
    )
    return model


def contents(out: Path) -> dict[str, bytes]:
    """All that a run leaves."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def differing(out: Path, reference: Path) -> list[str]:
    found, wanted = contents(out), contents(reference)
    return [name for name in sorted(found.keys() | wanted.keys()) if found.get(name) != wanted.get(name)]


# ---------------------------------------------------------------------- the program


def once(kind: str, out: Path, stop_after: int = -1, **settings: Any) -> None:
    """Train, and leave this process's parameters in `out.parent`."""
    with processes(CPU):
        model = train_tiny(out, kind, stop_after=stop_after, batch_size=4, **settings)
    parameters = {name: value.detach().contiguous() for name, value in model.named_parameters()}
    save_file(parameters, out.parent / f"{out.name}-{os.environ.get('RANK', '0')}.safetensors")


def dies(rank: str, how: str, folder: Path) -> None:
    """Train, but when two steps are done, the first time, that process is killed, or fails."""
    last = 2 if os.environ["RANK"] == rank and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" else -1
    try:
        once("parts", folder / "out", last)
    except KeyboardInterrupt:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        sys.exit("partdistill: image 1 is gone")
    except PartDistillationError as error:
        sys.exit(f"partdistill: {error}")


def fork(function: Callable[[], object], environment: Mapping[str, str] = {}) -> int:
    """Call the function in a child process; its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.environ.update(environment)
        function()
        code = 0
    except KeyboardInterrupt:
        code = 2
    finally:
        os._exit(code)


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(kind: str, kills: int, folder: Path) -> dict[str, Any]:
    chance, started = random.Random(0), time.monotonic()
    assert wait(fork(lambda: train_tiny(folder / "straight", kind))) == 0
    duration, killed, ended, differ, out = time.monotonic() - started, 0, 0, [], folder / "killed-0"
    while killed < kills:
        child = fork(partial(train_tiny, out, kind))
        time.sleep(chance.uniform(0.1, 1) * duration)
        os.kill(child, signal.SIGKILL)
        if (code := wait(child)) == -signal.SIGKILL:
            killed += 1
        else:
            assert code == 0
            differ += differing(out, folder / "straight")
            ended, duration = ended + 1, duration / 2  # the machine was busier when it was measured
            out = folder / f"killed-{ended}"
    assert wait(fork(partial(train_tiny, out, kind))) == 0
    return {"differ": differ + differing(out, folder / "straight"), "killed": killed}


def at_once(count: int, function: Callable[[], object]) -> list[int]:
    """Call the function in so many processes, as torchrun would start them; their exit codes."""
    with socket.create_server(("localhost", 0)) as server:
        address = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(server.getsockname()[1])}
    ranks = [{**address, "RANK": str(rank), "WORLD_SIZE": str(count)} for rank in range(count)]
    return [wait(child) for child in [fork(function, environment) for environment in ranks]]


def worlds(kind: str, folder: Path) -> list[int]:
    return [
        code
        for count, parts in WORLDS
        for code in at_once(count, partial(once, kind, folder / f"{count}-{parts}", accumulation=parts))
    ]


def together(kind: str, folder: Path) -> dict[str, Any]:
    def both(name: str, stop_after: int = -1) -> list[int]:
        return at_once(2, lambda: once(kind, folder / name, stop_after))

    assert wait(fork(lambda: once(kind, folder / "alone"))) == 0
    codes = [both("straight"), both("stopped", 1), both("stopped", 2), both("stopped")]
    return {"codes": codes, "differ": differing(folder / "stopped", folder / "straight")}


if __name__ == "__main__":
    torch.set_num_threads(1)
    match sys.argv[1:]:
        case ["once", kind, folder]:
            once(kind, Path(folder))
        case ["dies", rank, how, folder]:
            dies(rank, how, Path(folder))
        case ["kill", kind, kills, folder]:
            print(json.dumps(kill(kind, int(kills), Path(folder))))
        case ["together", kind, folder]:
            print(json.dumps(together(kind, Path(folder))))
        case ["worlds", kind, folder]:
            print(json.dumps(worlds(kind, Path(folder))))
