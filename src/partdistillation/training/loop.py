"""The one training loop: step, log, save, resume exactly.

Nothing that a step does depends on the steps before it but through the weights and the optimizer: which
images are seen, how they are augmented, which points are drawn and what dropout drops are functions of
(seed, step, position in the batch). A run that goes on from a checkpoint therefore ends with the same bytes
as one that was never stopped (on a CPU, with the same numbers of threads and processes).

Under torchrun every process takes its share of the batch, gradients are averaged, and process 0 writes. A
share may be taken in parts, one after the other (`accumulation`). With set prediction neither changes the
loss but by rounding, as long as the network draws nothing and normalises nothing by the batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from partdistillation.config import TrainingConfig
from partdistillation.data.transforms import augmentation_rng
from partdistillation.errors import ConfigError, PartDistillationError
from partdistillation.runs.profiling import span, span_each
from partdistillation.runs.progress import Advance, progress
from partdistillation.runs.workers import WorkerContext
from partdistillation.training.checkpoints import (
    TRAINED,
    Run,
    finish,
    is_finished,
    is_trained,
    load_checkpoint,
    log,
    opened,
    remove_checkpoints,
    save_checkpoint,
)
from partdistillation.training.optim import LAZY_PARAMETERS, Optimizer, learning_rate_factor
from partdistillation.training.parallel import (
    agree,
    average_gradients,
    average_numbers,
    processes,
    rank,
    wait_for_all,
    world,
)
from partdistillation.training.trackers import Send, tracker, unsent

__all__ = [
    "Objective",
    "Run",
    "Samples",
    "is_finished",
    "is_trained",
    "processes",
    "sample_index",
    "train",
]

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)
E_contra = TypeVar("E_contra", contravariant=True)


@runtime_checkable
class Samples(Protocol[E_co]):
    """What is learned from: examples by index, augmented by a generator of their own."""

    def __len__(self) -> int: ...

    def example(self, index: int, rng: np.random.Generator) -> E_co:
        """The example at `index`; all chance comes from `rng`."""
        ...


@runtime_checkable
class Objective(Protocol[E_contra]):
    """Loss of a batch and the numbers to log, of this process's share of it.

    `generator` is seeded for the step, the same in every process, and on the model's device.
    """

    def __call__(
        self, examples: Sequence[E_contra], generator: torch.Generator, /
    ) -> tuple[Tensor, Mapping[str, Tensor | float]]: ...


@runtime_checkable
class Divisible(Protocol[E_contra]):
    """An objective that can be taken in parts, whose losses and numbers sum up to the batch's."""

    def in_parts(
        self, examples: Sequence[E_contra], generator: torch.Generator, parts: int, /
    ) -> Iterator[tuple[Tensor, Mapping[str, Tensor | float]]]: ...


def train(
    model: nn.Module,
    samples: Samples[E],
    objective: Objective[E],
    config: TrainingConfig,
    run: Run,
    *,
    save: Callable[[Path], None],
    device: torch.device,
    exact_rows: bool = False,
) -> Path:
    """Train `model` in place, or go on where an earlier call was stopped, and write it with `save`.

    `exact_rows` is the optimizer's. Returns the model's folder. KeyboardInterrupt leaves the last checkpoint:
    the same call goes on from it.

    Raises:
        SettingsChanged: the checkpoints or the finished model are of other settings or inputs.
        ConfigError: the processes can't share the batch, or the tracker that is to watch can't be reached.
        PartDistillationError: training has diverged.
        StoreError: another process trains there, or the folder can't be written.
    """
    if config.batch_size % world():
        raise ConfigError(
            f"{config.section}.batch_size: expected a multiple of the {world()} processes that share it, "
            f"found {config.batch_size}"
        )
    if config.accumulation > config.batch_size // world():
        raise ConfigError(
            f"{config.section}.accumulation: expected at most the {config.batch_size // world()} images that "
            f"a process has of a batch, found {config.accumulation}"
        )
    if config.accumulation > 1 and not isinstance(objective, Divisible):
        raise ConfigError(
            f"{config.section}.accumulation: expected 1, as {run.name} can't be taken in parts, found "
            f"{config.accumulation}"
        )
    with opened(run) if rank() == 0 else nullcontext(0) as done:
        start = agree(done, device)
        if start != TRAINED:
            optimizer = Optimizer(
                model,
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                backbone_multiplier=config.backbone_multiplier,
                clip_norm=config.clip_norm,
                exact_rows=exact_rows,
            )
            if start:
                load_checkpoint(run, start, model, optimizer)
            with tracker(run) if rank() == 0 else nullcontext(unsent) as send:
                _Loop(model, optimizer, objective, config, run, device, send).go(
                    _batches(samples, config, start), start
                )
            optimizer.finish()
        if rank() == 0:
            if start != TRAINED:
                finish(run, save)
            remove_checkpoints(run)
        wait_for_all()  # nobody reads the model before it is there
    return run.model_dir


@dataclass(frozen=True)
class _Loop(Generic[E]):
    model: nn.Module
    optimizer: Optimizer
    objective: Objective[E]
    config: TrainingConfig
    run: Run
    device: torch.device
    send: Send

    def go(self, batches: Iterator[list[E]], start: int) -> None:
        config = self.config
        self.model.train()
        with (
            _shown(self.run, config.steps, start) as advance,
            _own_chance(self.device),
            span(self.run.name),
        ):
            steps = range(start, config.steps)
            for step, examples in zip(steps, span_each("data", batches), strict=True):
                numbers = self._step(step, examples)
                with span("record"):
                    self._record(step, numbers)
                advance(note=f"loss {numbers['loss']:.3f}")

    def _step(self, step: int, examples: Sequence[E]) -> dict[str, float]:
        # What the network itself draws: dropout, stochastic depth.
        torch.manual_seed(_step_seed(self.config.seed, step, rank()))
        factor = learning_rate_factor(
            self.config.schedule, step, steps=self.config.steps, warmup_steps=self.config.warmup_steps
        )
        try:
            self.optimizer.zero_grad()
            logged: dict[str, Tensor | float] = {}
            for loss, numbers in self._parts(step, examples):
                with span("backward"):
                    torch.autograd.backward(loss)
                for name, value in {"loss": loss.detach(), **numbers}.items():
                    logged[name] = logged.get(name, 0.0) + value
            with span("optimizer"):
                average_gradients(self.model, LAZY_PARAMETERS)
                norm = self.optimizer.step(factor)
        except PartDistillationError as error:
            raise type(error)(f"{self.run.name}, step {step}: {error}") from error
        logged["gradient_norm"] = norm
        return {name: torch.as_tensor(value).item() for name, value in logged.items()}

    def _parts(
        self, step: int, examples: Sequence[E]
    ) -> Iterator[tuple[Tensor, Mapping[str, Tensor | float]]]:
        """The objective's loss in as many parts as are wanted; a part's memory is free before the next."""
        generator = torch.Generator(self.device).manual_seed(_step_seed(self.config.seed, step))
        if self.config.accumulation > 1 and isinstance(self.objective, Divisible):
            yield from self.objective.in_parts(examples, generator, self.config.accumulation)
        else:
            yield self.objective(examples, generator)

    def _record(self, step: int, numbers: Mapping[str, float]) -> None:
        config, done, writes = self.config, step + 1, rank() == 0
        if step % config.log_every == 0 or done == config.steps:
            mean = average_numbers(numbers, self.device)
            if writes:
                log(self.run, step, mean)
                self.send(step, mean)
        if writes and (done % config.checkpoint_every == 0 or done == config.steps):
            save_checkpoint(self.run, done, self.model, self.optimizer, keep=config.keep_checkpoints)


@contextmanager
def _shown(run: Run, steps: int, start: int) -> Iterator[Advance]:
    """Progress, in the one process that shows it."""
    if rank() == 0:
        with progress(run.name, steps, done=start, unit="steps") as advance:
            yield advance
    else:
        yield _silent


def _silent(count: int = 1, note: str = "") -> None:
    del count, note


# ---------------------------------------------------------------------- chance


@contextmanager
def _own_chance(device: torch.device) -> Iterator[None]:
    """Leave PyTorch's generators as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _step_seed(seed: int, step: int, process: int = 0) -> int:
    """Seed of one step's chance: of what all processes share, or of one process's own."""
    return int(np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)[0])


def sample_index(seed: int, position: int, count: int) -> int:
    """Which of `count` samples stands at `position` of an endless list of shuffled epochs."""
    epoch, place = divmod(position, count)
    return int(_permutation(seed, epoch, count)[place])


@lru_cache(maxsize=2)  # a step asks for its epoch's order once a sample
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64))).permutation(count)


# ---------------------------------------------------------------------- data


class _Stream(Dataset[E | PartDistillationError]):
    """The examples of (step, position) pairs, so that a loader's workers need no state."""

    def __init__(self, samples: Samples[E], seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __getitem__(self, place: tuple[int, int]) -> E | PartDistillationError:
        step, position = place
        index = sample_index(self.seed, position, len(self.samples))
        try:
            return self.samples.example(index, augmentation_rng(self.seed, step, position))
        except PartDistillationError as error:
            return error  # raised where it is read: a loader would wrap it in its worker's traceback


def _batches(samples: Samples[E], config: TrainingConfig, start: int) -> Iterator[list[E]]:
    """This process's share of every batch, from step `start` on."""
    share = range(rank(), config.batch_size, world())
    places = (
        [(step, step * config.batch_size + slot) for slot in share] for step in range(start, config.steps)
    )
    loader: DataLoader[E | PartDistillationError] = DataLoader(
        _Stream(samples, config.seed),
        batch_sampler=places,
        num_workers=config.data_workers,
        collate_fn=_as_they_are,
        multiprocessing_context=WorkerContext() if config.data_workers else None,
        generator=torch.Generator(),  # or it draws from the global one
    )
    for examples in loader:
        for example in examples:
            if isinstance(example, PartDistillationError):
                raise example
        yield examples


def _as_they_are(examples: list[E]) -> list[E]:
    return examples
