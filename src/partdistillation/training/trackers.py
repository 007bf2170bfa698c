"""Losses in the tools that trainings are watched with: TensorBoard, Weights & Biases, MLflow.

A tracker gets the lines of `metrics.jsonl`, which is written whether there is one or not, and can't end a
training. One that goes on from a checkpoint repeats steps; what the tracker has isn't sent again:
`tracked.json` beside the checkpoints says which of its runs this is, and how far that has got.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from partdistillation.config import Tracker as Name
from partdistillation.errors import ConfigError, pip_install
from partdistillation.runs import terminal
from partdistillation.runs.notes import read_note, write_note
from partdistillation.training.checkpoints import Run

NOTE = "tracked.json"
PROJECT = "partdistillation"
"""What W&B calls a project and MLflow an experiment, unless their own variables name another."""

_PACKAGES: Mapping[Name, str] = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    # The whole MLflow of today can't be installed beside what is needed here.
    "mlflow": "mlflow-skinny sqlalchemy alembic",
}

_log = terminal.logger(__name__)
_chosen: ContextVar[Name | None] = ContextVar("_chosen", default=None)

Send = Callable[[int, Mapping[str, float]], None]
"""Sends the numbers of a step."""


@contextmanager
def watched_by(name: Name | None) -> Iterator[None]:
    """Within, the losses of trainings go to this tracker too; None: to no tracker.

    Raises:
        ConfigError: its package isn't installed.
    """
    if name is not None and find_spec(name) is None:
        raise _missing(name)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


@contextmanager
def tracker(run: Run) -> Iterator[Send]:
    """What sends a training's numbers to the tracker that watches; nothing, where none does.

    Raises:
        ConfigError: the tracker can't be reached, or wants to be logged in to.
    """
    name = _chosen.get()
    if name is None:
        yield unsent
        return
    path = run.checkpoints / NOTE
    note = read_note(path)
    before = note.get(name, {})
    known, last = before.get("run", ""), before.get("step", -1)
    try:
        opened = _TRACKERS[name](run, known, last)
    except ImportError as error:
        raise _missing(name) from error
    except Exception as error:  # each has its own, and their causes are the user's: a login, an address
        raise ConfigError(f"--log {name}: expected to reach it, found: {error}") from error
    with closing(opened):
        failed = False

        def send(step: int, numbers: Mapping[str, float]) -> None:
            nonlocal failed
            if failed or step <= last:
                return
            try:
                opened.send(step, numbers)
            except Exception as error:  # as above; hours of training are worth more than a curve
                failed = True
                _log.warning("%s gets no more losses (%s); metrics.jsonl goes on", name, error)
            else:
                write_note(path, {**note, name: {"run": opened.run, "step": step}})

        yield send


def unsent(step: int, numbers: Mapping[str, float]) -> None:
    """Sends nothing: for a process that doesn't log."""
    del step, numbers


def _missing(name: Name) -> ConfigError:
    return ConfigError(
        f"--log {name}: expected its packages, found some missing; `{pip_install(_PACKAGES[name])}`"
    )


class _Tracker(Protocol):
    run: str
    """What the tracker calls this training; given back to it when the training goes on."""

    def send(self, step: int, numbers: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class _TensorBoard:
    """Event files in `OUT/tensorboard/NAME`."""

    def __init__(self, run: Run, known: str, last: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.run = known
        # What an earlier training of this name has left from there on is hidden.
        self._writer = SummaryWriter(str(run.out / "tensorboard" / run.name), purge_step=last + 1)

    def send(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # or a kill loses what the note says is there

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    """A run of W&B, whose files are in `OUT/wandb`; `WANDB_MODE=offline` needs no network."""

    def __init__(self, run: Run, known: str, last: int) -> None:
        import wandb

        del last
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=_title(run),
            dir=str(run.out),
            id=known or None,
            resume="allow" if known else None,
        )
        self.run = str(self._run.id)

    def send(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        self._run.finish()


class _MlFlow:
    """A run of MLflow, where `MLFLOW_TRACKING_URI` says, else in the file `OUT/mlflow.db`."""

    def __init__(self, run: Run, known: str, last: int) -> None:
        from mlflow import MlflowClient

        del last
        address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(run.out / 'mlflow.db').absolute()}"
        self._client: Any = MlflowClient(address)
        self.run = known or self._begun(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT), _title(run))
        self._client.update_run(self.run, status="RUNNING")

    def _begun(self, name: str, title: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        place = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        return str(self._client.create_run(place, run_name=title).info.run_id)

    def send(self, step: int, numbers: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value in numbers.items()]
        self._client.log_batch(self.run, metrics=metrics)

    def close(self) -> None:
        self._client.set_terminated(self.run)


_TRACKERS: Mapping[Name, Callable[[Run, str, int], _Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _WeightsAndBiases,
    "mlflow": _MlFlow,
}


def _title(run: Run) -> str:
    return f"{Path(run.out).absolute().name} {run.name}"
