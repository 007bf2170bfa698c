"""What TensorBoard, W&B and MLflow are sent: the losses of metrics.jsonl, each step once."""

import json
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from partdistillation.config import TrainingConfig
from partdistillation.errors import ConfigError
from partdistillation.training import trackers
from partdistillation.training.checkpoints import Run
from partdistillation.training.loop import train
from partdistillation.training.trackers import watched_by

CONFIG = TrainingConfig(
    steps=6, batch_size=1, learning_rate=0.1, clip_norm=1.0, checkpoint_every=2, log_every=1
)
Curve = list[tuple[int, float]]


class Numbers:
    def __len__(self) -> int:
        return 3

    def example(self, index: int, rng: np.random.Generator) -> float:  # noqa: ARG002
        return float(index)


def fit(out: Path, stop_at: int = -1) -> None:
    """Train a number; stopped as by Ctrl-C before the step `stop_at` is done."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Linear(1, 1)
    seen = iter(range(CONFIG.steps))

    def objective(
        examples: Sequence[float], generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, float]]:
        if next(seen) == stop_at:
            raise KeyboardInterrupt
        return model(torch.tensor([examples])).square().mean(), {"mask": 1.0}

    run = Run(out, "proposals", out / "model", {})
    train(model, Numbers(), objective, CONFIG, run, save=saved(model), device=torch.device("cpu"))


def saved(model: nn.Module) -> Any:
    from safetensors.torch import save_file

    def save(folder: Path) -> None:
        folder.mkdir()
        save_file(model.state_dict(), folder / "model.safetensors")

    return save


def fit_with_a_stop(out: Path, name: Any) -> Curve:
    """Stopped after the steps 0 to 4, of which the checkpoint holds 4; returns what metrics.jsonl has."""
    for stop_at in (5, -1):
        with watched_by(name):
            if stop_at > 0:
                with pytest.raises(KeyboardInterrupt):
                    fit(out, stop_at)
            else:
                fit(out)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(6))
    return [(line["step"], line["loss"]) for line in lines]


def close(curve: Curve) -> Any:
    return [(step, pytest.approx(loss, abs=1e-5)) for step, loss in curve]


def test_tensorboard_has_every_step_once(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    curve = fit_with_a_stop(tmp_path, "tensorboard")
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "proposals")).Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "mask", "gradient_norm"}
    assert [(event.step, event.value) for event in events.Scalars("loss")] == close(curve)


def test_tensorboard_forgets_what_was_trained_before(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with watched_by("tensorboard"):
        for _ in range(2):
            fit(tmp_path)
            for path in (tmp_path / "model").iterdir():
                path.unlink()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "proposals")).Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(6))


@pytest.mark.filterwarnings("default")  # MLflow's own, of SQLAlchemy
def test_mlflow_has_every_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    curve = fit_with_a_stop(tmp_path, "mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("partdistillation")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == f"{tmp_path.name} proposals"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert sorted((metric.step, metric.value) for metric in history) == close(curve)


def test_wandb_offline_has_every_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    curve = fit_with_a_stop(tmp_path, "wandb")
    logged: Curve = []
    for path in sorted(tmp_path.glob("wandb/offline-run-*/*.wandb")):
        logged += read_offline(path)
    assert sorted(logged) == close(curve)


def read_offline(path: Path) -> Iterator[tuple[int, float]]:
    """Records in LevelDB's log format, behind a header of 7 bytes, none longer than a block of 32 KB."""
    from wandb.proto import wandb_internal_pb2

    data, place = path.read_bytes(), 7
    while place + 7 <= len(data):
        _, length, kind = struct.unpack_from("<IHB", data, place)
        if kind == 0:  # the end of a block
            place = -(-(place + 1) // 32768) * 32768
            continue
        assert kind == 1
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data[place + 7 : place + 7 + length])
        items = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
        if "loss" in items:
            yield int(items["_step"]), float(items["loss"])
        place += 7 + length


class FakeRun:
    def __init__(self, calls: list[Any]) -> None:
        self.id, self.calls = "abc", calls

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self.calls.append((step, numbers["loss"]))

    def finish(self) -> None:
        self.calls.append("finished")


def pretend(monkeypatch: pytest.MonkeyPatch, name: str, **values: Any) -> None:
    module = ModuleType(name)
    vars(module).update(values, __spec__=SimpleNamespace(name=name))
    monkeypatch.setitem(sys.modules, name, module)


def test_a_wandb_run_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def init(**options: Any) -> FakeRun:
        calls.append((options["id"], options["resume"], options["project"], options["name"]))
        return FakeRun(calls)

    pretend(monkeypatch, "wandb", init=init)
    curve = close(fit_with_a_stop(tmp_path, "wandb"))
    title = ("partdistillation", f"{tmp_path.name} proposals")
    assert calls == [
        (None, None, *title), *curve[:5], "finished", ("abc", "allow", *title), *curve[5:], "finished"
    ]  # fmt: skip


def test_a_tracker_that_fails_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(numbers: Mapping[str, float], step: int) -> None:
        raise OSError("no route")

    lost = SimpleNamespace(id="a", log=refuse, finish=lambda: None)
    pretend(monkeypatch, "wandb", init=lambda **_: lost)
    with watched_by("wandb"):
        fit(tmp_path)
    assert (tmp_path / "model").is_dir()
    assert [record.getMessage() for record in caplog.records] == [
        "wandb gets no more losses (no route); metrics.jsonl goes on"
    ]


def test_a_tracker_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: Any) -> None:
        raise RuntimeError("not logged in")

    pretend(monkeypatch, "wandb", init=init)
    with watched_by("wandb"), pytest.raises(ConfigError, match=r"--log wandb: .* not logged in"):
        fit(tmp_path)


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install mlflow-skinny"), watched_by("mlflow"):
        pass


def test_without_a_tracker_nothing_is_left(tmp_path: Path) -> None:
    fit(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "model", "checkpoints"}
