"""The one training loop: step, log, save, resume exactly.

Nothing that a step does depends on the steps before it but through the weights and the optimizer: which
images are seen, how they are augmented and which points are drawn are functions of (seed, step, position in
the batch). A run that goes on from a checkpoint therefore ends with the same bytes as one that was never
stopped (on a CPU with the same number of threads).

Under torchrun every process takes its share of the batch, gradients are averaged, and process 0 writes.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, Dataset

from partdistillation.atomic import locked, replace_file, sync_folder
from partdistillation.config import TrainingConfig
from partdistillation.data.transforms import augmentation_rng
from partdistillation.errors import SettingsChanged, StoreError
from partdistillation.manifest import Json, differences
from partdistillation.models.optim import LAZY_PARAMETERS, Optimizer, learning_rate_factor
from partdistillation.progress import progress

E = TypeVar("E")

NOT_DECISIVE = ("checkpoint_every", "keep_checkpoints", "log_every", "data_workers")
"""Settings of training that don't change what is learned."""

METRICS = "metrics.jsonl"
TRAINING = "training.json"
"""In a trained model's folder: what it was trained from, so that it isn't reused for anything else."""


class Samples(Protocol[E]):
    """What is learned from: examples by index, augmented by a generator of their own."""

    def __len__(self) -> int: ...

    def example(self, index: int, rng: np.random.Generator) -> E:
        """The example at `index`; all chance comes from `rng`."""
        ...


class Objective(Protocol[E]):
    """Loss of a batch and the numbers to log. `generator` is seeded for the step, on the model's device."""

    def __call__(
        self, examples: Sequence[E], generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, float]]: ...


@dataclass(frozen=True)
class Run:
    """Where a training writes, and what it depends on."""

    out: Path
    """The run's folder: checkpoints go to `out/checkpoints/name`, losses to `out/metrics.jsonl`."""
    name: str
    """Stage, as in the log and the progress bar."""
    model_dir: Path
    """Folder of the finished model. Where it exists and was trained from the same, nothing is done."""
    depends_on: Mapping[str, Json]
    """Settings and upstream hashes: a run with others is refused."""

    @property
    def checkpoints(self) -> Path:
        return self.out / "checkpoints" / self.name


def decisive(config: TrainingConfig) -> dict[str, Json]:
    """The settings that decide what is learned."""
    return {name: value for name, value in config.to_dict().items() if name not in NOT_DECISIVE}


def is_trained(run: Run) -> bool:
    """Whether the finished model is there.

    Raises:
        SettingsChanged: it is, but was trained with other settings or from other inputs.
    """
    path = run.model_dir / TRAINING
    if not path.exists():
        if (run.model_dir / "config.json").exists():
            raise StoreError(
                f"expected {run.model_dir} to be absent or a model trained by this run, found a model without "
                f"{TRAINING}. Move it away, or choose another --out."
            )
        return False
    _check_unchanged(run.model_dir, json.loads(path.read_text(encoding="utf-8")), run.depends_on)
    return True


def train(
    model: nn.Module,
    samples: Samples[E],
    objective: Objective[E],
    config: TrainingConfig,
    run: Run,
    *,
    save: Callable[[Path], None],
    device: torch.device,
) -> Path:
    """Train `model` in place, or go on where an earlier call was stopped, and write it with `save`.

    Returns the model's folder. Raises SettingsChanged where the checkpoints are of other settings or inputs;
    KeyboardInterrupt leaves the last checkpoint, from which the same call goes on.
    """
    if is_trained(run):
        return run.model_dir
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    with locked(run.checkpoints) if _rank() == 0 else _unlocked():
        _prepare(run)
        optimizer = Optimizer(
            model,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            backbone_multiplier=config.backbone_multiplier,
            clip_norm=config.clip_norm,
        )
        start = _resume(run, model, optimizer)
        _loop(model, optimizer, samples, objective, config, run, start, device)
        if _rank() == 0:
            _finish(run, save)
    if run.checkpoints.exists() and _rank() == 0:
        shutil.rmtree(run.checkpoints)
    return run.model_dir


def sample_index(seed: int, position: int, count: int) -> int:
    """Which of `count` samples stands at `position` of an endless list of shuffled epochs."""
    epoch, place = divmod(position, count)
    return int(_permutation(seed, epoch, count)[place])


_shuffled: dict[tuple[int, int, int], np.ndarray] = {}


def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """An epoch's order. The last one asked for is kept: a step asks for it once a sample."""
    key = (seed, epoch, count)
    if key not in _shuffled:
        generator = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64)))
        _shuffled.clear()
        _shuffled[key] = generator.permutation(count)
    return _shuffled[key]


def step_generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """The generator of one step's points, another one on every process."""
    words = np.random.SeedSequence([seed, step, _rank()]).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed(int(words[0]) << 31 ^ int(words[1]))


def _loop(
    model: nn.Module,
    optimizer: Optimizer,
    samples: Samples[E],
    objective: Objective[E],
    config: TrainingConfig,
    run: Run,
    start: int,
    device: torch.device,
) -> None:
    batches = _batches(samples, config, start)
    model.train()
    with progress(run.name, config.steps, done=start, unit="steps") as advance:
        for step, examples in zip(range(start, config.steps), batches, strict=True):
            loss, numbers = objective(examples, step_generator(config.seed, step, device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            _average_gradients(model)
            factor = learning_rate_factor(
                config.schedule, step, steps=config.steps, warmup_steps=config.warmup_steps
            )
            optimizer.step(factor)
            last = step + 1 == config.steps
            if step % config.log_every == 0 or last:
                _log(run, step, {"loss": loss.item(), **numbers})
            if (step + 1) % config.checkpoint_every == 0 and not last:
                _checkpoint(run, step + 1, model, optimizer, config.keep_checkpoints)
            advance(note=f"loss {loss.item():.3f}")


# ---------------------------------------------------------------------- data


class _Stream(Dataset[E]):
    """The examples of (step, position) pairs, so that a loader's workers need no state."""

    def __init__(self, samples: Samples[E], seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __getitem__(self, place: tuple[int, int]) -> E:  # type: ignore[override]
        step, position = place
        index = sample_index(self.seed, position, len(self.samples))
        return self.samples.example(index, augmentation_rng(self.seed, step, position))


def _batches(samples: Samples[E], config: TrainingConfig, start: int) -> Iterator[list[E]]:
    world, rank = _world(), _rank()
    if config.batch_size % world:
        raise StoreError(
            f"expected a batch size that {world} processes can share, found {config.batch_size}: choose a "
            "multiple of the number of processes"
        )
    places = [
        [(step, step * config.batch_size + slot) for slot in range(rank, config.batch_size, world)]
        for step in range(start, config.steps)
    ]
    loader: DataLoader[E] = DataLoader(
        _Stream(samples, config.seed),
        batch_sampler=places,  # type: ignore[arg-type]
        num_workers=config.data_workers,
        collate_fn=_as_they_are,
        multiprocessing_context="spawn" if config.data_workers else None,
        persistent_workers=False,
    )
    yield from loader  # type: ignore[misc]


def _as_they_are(examples: list[E]) -> list[E]:
    return examples


# ---------------------------------------------------------------------- processes


def _world() -> int:
    return distributed.get_world_size() if _distributed() else 1


def _rank() -> int:
    return distributed.get_rank() if _distributed() else 0


def _distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


@contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """Join the other processes, where torchrun has started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _distributed():
        yield
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _average_gradients(model: nn.Module) -> None:
    """Mean of the dense gradients over the processes, in one message; `Optimizer` sees to the sparse ones.

    Every process has a gradient for the same parameters or the step would hang: one that is missing on a
    process (a part of the network that its images didn't use) counts as zero.
    """
    if not _distributed():
        return
    parameters = [p for name, p in model.named_parameters() if p.requires_grad and name not in LAZY_PARAMETERS]
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None])
    distributed.all_reduce(flat)
    flat /= _world()
    start = 0
    for parameter in parameters:
        assert parameter.grad is not None
        count = parameter.grad.numel()
        parameter.grad.copy_(flat[start : start + count].view_as(parameter.grad))
        start += count


@contextmanager
def _unlocked() -> Iterator[None]:
    yield


# ---------------------------------------------------------------------- files


def _prepare(run: Run) -> None:
    """Note what this training depends on, or refuse to go on with checkpoints of another."""
    path = run.checkpoints / TRAINING
    if path.exists():
        _check_unchanged(run.checkpoints, json.loads(path.read_text(encoding="utf-8")), run.depends_on)
    elif _rank() == 0:
        replace_file(path, _dump(run.depends_on))


def _check_unchanged(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Json]) -> None:
    changes = differences(found, json.loads(_dump(wanted)))
    if changes:
        raise SettingsChanged(
            f"{folder} was trained with other settings or inputs:\n  "
            + "\n  ".join(changes)
            + f"\nGo back to the old ones, choose another --out, or delete {folder} to train again."
        )


def _checkpoint(run: Run, step: int, model: nn.Module, optimizer: Optimizer, keep: int) -> None:
    """Write a checkpoint whole or not at all, then remove those that are too old."""
    if _rank() != 0:
        return
    temporary = run.checkpoints / "writing"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, temporary / "model.safetensors")
    save_file(optimizer.state_tensors(), temporary / "optimizer.safetensors")
    _sync(temporary)
    temporary.rename(run.checkpoints / f"step-{step:08d}")
    sync_folder(run.checkpoints)
    for old in _steps(run)[:-keep]:
        shutil.rmtree(old)


def _resume(run: Run, model: nn.Module, optimizer: Optimizer) -> int:
    """Load the newest checkpoint, if there is one, and return the step to go on with."""
    found = _steps(run)
    start = int(found[-1].name.removeprefix("step-")) if found else 0
    if found:
        model.load_state_dict(load_file(found[-1] / "model.safetensors"))
        optimizer.load_state_tensors(load_file(found[-1] / "optimizer.safetensors"))
    if _rank() == 0:
        _forget_log(run, start)
    return start


def _steps(run: Run) -> list[Path]:
    return sorted(run.checkpoints.glob("step-*"))


def _finish(run: Run, save: Callable[[Path], None]) -> None:
    """Write the model beside its checkpoints, and move it to its place in one step."""
    finished = run.checkpoints / "finished"
    shutil.rmtree(finished, ignore_errors=True)
    save(finished)
    replace_file(finished / TRAINING, _dump(run.depends_on))
    finished.rename(run.model_dir)
    sync_folder(run.model_dir.parent)


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def _log(run: Run, step: int, numbers: Mapping[str, float]) -> None:
    if _rank() == 0:
        rounded = {name: round(float(value), 6) for name, value in numbers.items()}
        line = json.dumps({"stage": run.name, "step": step, **rounded})
        with (run.out / METRICS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _forget_log(run: Run, start: int) -> None:
    """Drop the lines of steps that will be done again, and a last line that a kill tore."""
    path = run.out / METRICS
    if not path.exists():
        return
    lines = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    kept = []
    for line in lines:
        entry = json.loads(line)
        if entry["stage"] != run.name or entry["step"] < start:
            kept.append(line)
    replace_file(path, "".join(kept).encode())


def _dump(values: Mapping[str, Json]) -> bytes:
    return (json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
